"""The command on two workers: real processes on this machine that share a run folder."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import time

import keras
import numpy as np
import pytest
from support import processes

import sogclr_tf
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.folder_lock import FolderLock

pytestmark = pytest.mark.slow(reason="two processes that train together, started five times")

ARGUMENTS = [
    "--config.epochs=4",
    "--config.optimizer.warmup_epochs=0.5",
    "--config.encoder.widths=(8,16)",
    "--config.checkpoint.every_steps=5",
]


def free_ports(count):
    """Ports that nobody listens on; held together, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


class Workers:
    """The command, started on two workers."""

    def __init__(self, *arguments, cwd):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        self.processes, self.printed = [], ()
        for index in range(2):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            self.processes.append(
                processes.Process(
                    *("-m", "sogclr_tf.run", "--strategy=multiworker", *arguments),
                    cwd=cwd[index] if isinstance(cwd, list) else cwd,
                    env={**os.environ, "TF_CONFIG": json.dumps(task)},
                )
            )

    def at_step(self, step, folder):
        """Returns when a checkpoint of that step or a later one is there."""
        while newest_step(folder) < step:
            assert all(process.poll() is None for process in self.processes)
            time.sleep(0.05)

    def wait(self, seconds=300):
        """[(exit status, what it wrote to stderr)] of both; nobody is left behind."""
        try:
            written = [process.communicate(timeout=seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        self.printed, errors = zip(*written, strict=True)
        return [(p.returncode, text) for p, text in zip(self.processes, errors, strict=True)]


def newest_step(folder):
    steps = [int(path.stem.split("-")[1]) for path in folder.checkpoints.glob("step-*.index")]
    return max(steps, default=0)


def rows(folder):
    with folder.metrics.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A run that was preempted, lost a worker, lost its chief, and ended: what each start gave."""
    cwd = tmp_path_factory.mktemp("workers")
    folder = RunFolder(cwd / "runs" / "digits")
    found = {"folder": folder}
    for name, number, victim in (
        ("preempted", signal.SIGTERM, 1),
        ("worker lost", signal.SIGKILL, 1),
        ("chief lost", signal.SIGKILL, 0),
    ):
        workers = Workers(*ARGUMENTS, cwd=cwd)
        workers.at_step(newest_step(folder) + 1, folder)
        workers.processes[victim].send_signal(number)
        began = time.monotonic()
        found[name] = workers.wait()
        found[f"{name}, seconds"] = time.monotonic() - began
    last = Workers(*ARGUMENTS, cwd=cwd)
    found["ended"] = last.wait()
    found["printed"] = last.printed
    return found


def test_a_signal_to_one_stops_both_at_the_same_step(history):
    stops = [
        re.search(r"stopped by SIGTERM at step (\d+), which is saved", errors)[1]
        for _, errors in history["preempted"]
    ]
    assert [status for status, _ in history["preempted"]] == [75, 75]
    assert stops[0] == stops[1]
    assert f"resumed at step {stops[0]}," in history["worker lost"][0][1]


@pytest.mark.parametrize(("lost", "survivor"), [("worker lost", 0), ("chief lost", 1)])
def test_the_survivor_of_a_killed_worker_says_so_within_a_minute(history, lost, survivor):
    assert history[lost][1 - survivor][0] == -signal.SIGKILL
    status, errors = history[lost][survivor]
    assert status == 1
    assert "error: the connection to another worker broke" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert history[f"{lost}, seconds"] < 60


def test_the_chief_alone_prints(history):
    chief, other = history["printed"]
    assert "\nbatch      64, 32 on each of 2 replicas\n" in chief
    assert "\ndevice     2 x CPU, strategy multiworker\n" in chief
    assert "\nrun        runs/digits\n" in chief
    assert other == ""


def test_it_ends_as_on_one_device(history, tmp_path):
    assert [status for status, _ in history["ended"]] == [0, 0], history["ended"]
    one = processes.run("-m", "sogclr_tf.run", *ARGUMENTS, cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    alone = RunFolder(tmp_path / "runs" / "digits")
    assert history["folder"].read_result()["steps"] == alone.read_result()["steps"] == 72
    several = rows(history["folder"])
    assert [row["epoch"] for row in several] == ["0", "1", "2", "3"]
    # Adam makes steps of gradients that are nothing but rounding: the runs part slowly.
    for tolerance, mine, other in zip((1e-3, 1e-2, 1e-2, 1e-2), several, rows(alone), strict=True):
        assert float(mine["loss"]) == pytest.approx(float(other["loss"]), abs=tolerance)


def test_the_chief_alone_writes(history):
    folder = history["folder"]
    assert (folder.saved_model / "72").is_dir()
    # One file of events for each start: a worker that wrote too would have doubled them.
    assert len(list(folder.events.rglob("events.out.tfevents*"))) == 4
    assert np.isfinite(float(rows(folder)[-1]["loss"]))


def test_workers_without_a_common_folder_are_told(history, tmp_path):
    """The chief goes on from a checkpoint that the other cannot see."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = Workers(*ARGUMENTS, cwd=[history["folder"].path.parents[1], elsewhere]).wait()
    for status, errors in found:
        assert status == 1
        assert "the workers restored the steps [72, 0]" in errors
        assert "all of them need the same folder" in errors


def test_workers_start_from_the_same_weights(tmp_path):
    """A file of the same name on each one's own disk may be another, or missing."""
    folders = [tmp_path / name for name in ("chief", "other")]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        keras.utils.set_random_seed(seed)
        encoder = sogclr_tf.small_resnet(widths=(8, 16), input_shape=(16, 16, 3))
        sogclr_tf.export_keras(encoder, folder / "start.keras")
    arguments = [*ARGUMENTS, "--mode=train", "--config.encoder.weights=start.keras"]
    for status, said in Workers(*arguments, "--workdir=run", cwd=folders).wait():
        assert status == 1
        assert "the workers do not start alike from start.keras: all of them need the" in said
    (folders[1] / "start.keras").unlink()
    results = Workers(*arguments, "--workdir=run", cwd=folders).wait()
    for (status, said), message in zip(
        results, ("do not start alike", "error: start.keras does not exist"), strict=True
    ):
        assert status == 1
        assert message in said
    shutil.copy(folders[0] / "start.keras", folders[1])
    shared = f"--workdir={tmp_path / 'run'}"
    results = Workers(*arguments, shared, "--config.epochs=1", cwd=folders).wait()
    for status, said in results:
        assert status == 0, said
        assert "encoder starts from start.keras (30 arrays)" in said


def test_a_second_job_in_a_folder_ends_on_every_worker(tmp_path):
    """Its chief is refused, which the other worker notices."""
    folder = RunFolder(tmp_path / "runs" / "digits")
    with FolderLock(folder.lock):
        (status, errors), (other_status, other_errors) = Workers(*ARGUMENTS, cwd=tmp_path).wait()
    assert (status, other_status) == (1, 1)
    assert f"is in use by process {os.getpid()} on" in errors.splitlines()[-1]
    assert "error: the connection to another worker broke" in other_errors.splitlines()[-1]
    assert os.listdir(folder.path) == []
