"""The program that kills trainings, with few kills: what it does any number of times."""

import subprocess
import sys

import pytest
from support.exhaustive import exhaustive
from support.paths import ROOT

SOAK = ROOT / "tools" / "soak.py"
EPOCHS = f"--epochs={exhaustive(8, 25)}"
MIRRORED = ("--strategy=mirrored", "--devices=2")


@pytest.mark.slow(reason="a training that is killed, and one that is not")
@pytest.mark.parametrize(("kills", "options"), [(1, MIRRORED), *exhaustive([], [(2, ())])])
def test_nothing_is_lost_by_killing(kills, options, tmp_path):
    process = subprocess.run(
        [sys.executable, str(SOAK), f"--kills={kills}", EPOCHS, "--seed=1", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert f"{kills} kills in" in process.stdout
    assert "nothing lost" in process.stdout
