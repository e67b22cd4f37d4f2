"""The TPU's compiler for tests: an environment that is found, or made, or missing with a reason."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.paths import ROOT

sys.path.append(str(ROOT / "tools"))

from tpu_compiler import hlo_text, program, recipe
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


def run_on_cpu(compiler, model, batches, cores, folder):
    """What training steps leave that are run by XLA, as the program of every core on a CPU.

    Args:
        compiler: a `Compiler`.
        model: compiled, with an optimizer that is built.
        batches: list of global batches, dictionaries of arrays.
        folder: for files.

    Returns:
        {path of a weight that the step writes: array [cores, ...]}.
    """
    share = {
        key: tf.TensorSpec([len(value) // cores, *value.shape[1:]], value.dtype)
        for key, value in batches[0].items()
    }
    variables = recipe.variables_of(model)
    lowered = program.lower(model.train_step, share, variables, cores)
    keys = [one.name for one in lowered.batch]
    given = {
        f"{step}/{number}": np.reshape(batch[key], (cores, -1, *batch[key].shape[1:]))
        for step, batch in enumerate(batches)
        for number, key in enumerate(keys)
    }
    paths = {number: one.name for number, one in enumerate(lowered.state, len(keys))}
    held = {str(number): variables[path].numpy() for number, path in paths.items()}
    updates = sorted(hlo_text.aliases(lowered.text).items())
    np.savez(folder / "batches.npz", **given)
    np.savez(folder / "state.npz", updates=np.array(updates), **held)
    files = {name: folder / f"{name}.npz" for name in ("batches", "state", "outputs")}
    compiler.run(lowered, cores, **files)
    with np.load(files["outputs"]) as file:
        return {paths[int(number)]: values for number, values in file.items()}
