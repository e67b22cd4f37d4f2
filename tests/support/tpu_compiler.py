"""The TPU's compiler for tests: an environment that is found, or made, or missing with a reason."""

import os
import pathlib
import subprocess
import sys

import pytest
from support.paths import ROOT

sys.path.append(str(ROOT / "tools"))

from tpu_compiler.compiler import VERSIONS, CompilerMissingError, find_python


def interpreter(folder):
    """The Python that has jax and libtpu; skips where neither is installed nor can be had.

    Args:
        folder: where to make an environment, if there is none.
    """
    try:
        return find_python()
    except CompilerMissingError:
        return _made(pathlib.Path(folder, "environment"))


def _made(folder):
    python = folder / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in (
        [sys.executable, "-m", "venv", folder],
        [python, "-m", "pip", "install", "-q", *VERSIONS],
    ):
        process = subprocess.run(command, capture_output=True, text=True, env=environment)
        if process.returncode:
            said = (process.stderr or process.stdout).strip().splitlines()
            pytest.skip(f"{' '.join(VERSIONS)} cannot be installed: {said[-1] if said else ''}")
    return python
