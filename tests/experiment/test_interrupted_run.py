"""A run that is stopped by a signal, or killed."""

import re
import signal
import time

import pytest
from support import processes
from support.command import SMALL, command


@pytest.mark.slow(reason="a run of the command, or several")
def test_sigterm_saves_and_exits_with_a_status_of_its_own(tmp_path):
    arguments = [
        "--mode=train",
        *SMALL,
        "--config.epochs=1000",
        "--config.checkpoint.every_steps=5",
    ]
    process = processes.Process("-m", "sogclr_tf.run", *arguments, cwd=tmp_path)
    folder = tmp_path / "runs" / "digits" / "checkpoints"
    while not list(folder.glob("*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75
    step = re.search(r"stopped by SIGTERM at step (\d+), which is saved", errors)[1]
    assert (folder / f"step-{step}.index").exists()
    assert not (folder.parent / "run.lock").exists()


@pytest.mark.slow(reason="two runs of the command")
def test_killed_it_goes_on_from_the_last_checkpoint(tmp_path):
    """A real process, and a real kill; what comes of many is in `tests/tools/test_soak.py`."""
    arguments = ["--mode=train", *SMALL, "--config.checkpoint.every_steps=2"]
    folder = tmp_path / "runs" / "digits" / "checkpoints"
    process = processes.Process("-m", "sogclr_tf.run", *arguments, cwd=tmp_path)
    while len(list(folder.glob("*.index"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    # Asleep it is alive, and does not end before the second one has started.
    process.send_signal(signal.SIGSTOP)
    second = command("--mode=evaluate", *SMALL, cwd=tmp_path)
    assert second.returncode == 1
    assert f"error: runs/digits is in use by process {process.pid} on " in second.stderr
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "runs" / "digits" / "run.lock").exists()
    again = command(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    step = int(re.search(r"resumed at step (\d+)", again.stderr)[1])
    assert 4 <= step < 36
    rows = (tmp_path / "runs" / "digits" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1"]
