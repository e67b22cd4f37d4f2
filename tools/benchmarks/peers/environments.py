"""Environments of peers: made on first use, kept while what they must hold stays the same."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parents[3] / ".venv-peers"
REQUIREMENTS = pathlib.Path(__file__).parent / "requirements"
# What is installed, one after another: (a file of REQUIREMENTS, more options of pip). LibAUC asks
# for a dozen packages that its losses do not use, among them builds of PyTorch's for accelerators.
STEPS = {
    "torch": [("torch.txt", [])],
    "libauc": [("torch.txt", []), ("libauc.txt", []), ("libauc_itself.txt", ["--no-deps"])],
}
_DONE = "requirements.sha256"


class PeerMissingError(Exception):
    """A peer cannot be had, or it ended. The message is one line."""


def python(name, folder=FOLDER, requirements=REQUIREMENTS):
    """The interpreter of a peer's environment, which is made where there is none of its kind.

    Args:
        name: a key of `STEPS`.
        folder: of all environments.
        requirements: the folder of the files that `STEPS` names.

    Raises:
        PeerMissingError: it cannot be made.
    """
    place = folder / name
    interpreter, done = place / "bin" / "python", place / _DONE
    wanted = digest(name, requirements)
    if done.exists() and done.read_text() == wanted:
        return interpreter
    print(f"making the environment of {name} in {place}", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    _call(sys.executable, "-m", "venv", place)
    for file, options in STEPS[name]:
        pip = (interpreter, "-m", "pip", "--disable-pip-version-check", "install", "-q")
        _call(*pip, *options, "-r", requirements / file)
    # Last, so that what was interrupted is made anew.
    done.write_text(wanted)
    return interpreter


def digest(name, requirements=REQUIREMENTS):
    """Hexadecimal digits that differ where the environment to be made does."""
    parts = [sys.version]
    for file, options in STEPS[name]:
        parts += [(requirements / file).read_text(), *options]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def without_paths(*paths):
    """This process's environment variables, with `paths` alone as PYTHONPATH."""
    joined = os.pathsep.join(map(str, paths))
    others = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**others, "PYTHONPATH": joined} if joined else others


def _call(*command):
    process = subprocess.run(command, capture_output=True, text=True, env=without_paths())
    if process.returncode:
        raise PeerMissingError(f"not installed: {last_line(process.stderr or process.stdout)}")


def last_line(text):
    """The last line that says something, without what would end a cell of a table."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].replace("|", "/") if lines else "nothing was said"
