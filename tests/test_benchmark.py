"""The benchmarks run and fill their tables; what they measure is for a quiet machine."""

import json
import pathlib
import subprocess
import sys

from sogclr_tf.objectives import objective_names

BENCHMARK = pathlib.Path(__file__).parents[1] / "tools" / "benchmark.py"


def test_loss(tmp_path):
    arguments = ["--batch", "8", "--examples", "1e2", "1e3", "--rounds", "2", "--json", "found"]
    process = subprocess.run(
        [sys.executable, str(BENCHMARK), "loss", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads((tmp_path / "found").read_text())
    assert {row["objective"] for row in found} == set(objective_names())
    assert {row["examples"] for row in found} == {100, 1000}
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in found)
    assert "| simclr | 8 | 1e+02 |" in process.stdout


def test_monitors(tmp_path):
    arguments = ["--batch", "4", "--bank", "40", "--queries", "20", "--rounds", "2"]
    process = subprocess.run(
        [sys.executable, str(BENCHMARK), "monitors", *arguments, "--json", "found"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads((tmp_path / "found").read_text())
    assert list(found) == ["bare", "readings", "readings and probe", "kNN"]
    assert all(row["median"] > 0 for row in found.values())
    assert "| bare |" in process.stdout


def test_input(tmp_path):
    arguments = ["--size", "32", "--rounds", "2", "--seconds", "0.1", "--json", "found"]
    process = subprocess.run(
        [sys.executable, str(BENCHMARK), "input", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    speeds = json.loads((tmp_path / "found").read_text())["sizes"]["32"]
    assert {"tf.image", "all: sogclr_tf"} <= speeds.keys()
    assert all(len(turns) == 2 and min(turns) > 0 for turns in speeds.values())
    assert "| all: sogclr_tf |" in process.stdout
