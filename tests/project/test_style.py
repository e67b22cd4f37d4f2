"""Lint, format and spelling are part of the suite."""

import subprocess
import sys

import pytest
from support.paths import ROOT


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(arguments):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_spelling():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    files = [name for name in listed.stdout.split("\0") if name.endswith((".py", ".md", ".toml"))]
    if not files:
        pytest.skip("the files of the project are listed by git: this is no checkout")
    files = [name for name in files if (ROOT / name).exists()]
    spelled = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *files], cwd=ROOT, capture_output=True, text=True
    )
    assert spelled.returncode == 0, spelled.stdout
