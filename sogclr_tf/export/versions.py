"""Numbered versions of a served model: each appears whole or not at all."""

import operator
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

# TF Serving reads only folders whose name is an integer, so it never sees one of these.
TEMPORARY_PREFIX = ".exporting-"


def publish(
    path: str | os.PathLike,
    version: int | None,
    write: Callable[[pathlib.Path], None],
    keep: int | None,
) -> pathlib.Path:
    """Writes `path/<version>/` by `write(folder)`, whole or not at all; its path."""
    path = pathlib.Path(path)
    target = path / str(free_version(path, version, keep))
    path.mkdir(parents=True, exist_ok=True)
    for leftover in path.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path) as temporary:
        # A folder inside, because the temporary one is closed to other users, TF Serving's too.
        written = pathlib.Path(temporary) / "model"
        write(written)
        os.rename(written, target)
    if keep is not None:
        _remove_old(path, keep)
    return target


def _remove_old(path, keep):
    """Removes all but the highest versions, each hidden first: a server never sees half of one."""
    versions = _versions(path)
    for number in sorted(versions)[:-keep]:
        hidden = path / f"{TEMPORARY_PREFIX}{number}"
        os.rename(versions[number], hidden)
        shutil.rmtree(hidden)


def _versions(path):
    """{number: folder} of the versions that are there."""
    return {int(entry.name): entry for entry in path.glob("*") if entry.name.isdecimal()}


def free_version(path: pathlib.Path, version: int | None, keep: int | None) -> int:
    """The number of the version to write, as given or the next free one.

    Raises:
        FileExistsError: the version is there already.
        TypeError: it is no integer.
        ValueError: it is negative, `keep` is below 1, or the version would not be kept.
    """
    existing = _versions(path)
    if keep is not None and keep < 1:
        raise ValueError(f"keep is {keep}: at least 1 version must be kept.")
    if version is None:
        return max(existing, default=0) + 1
    try:
        number = operator.index(version)
    except TypeError:
        number = None
    if number is None or isinstance(version, bool):
        raise TypeError(f"version must be an integer from 0, got {version!r}.")
    if number < 0:
        raise ValueError(f"version must be an integer from 0, got {version}.")
    if number in existing:
        raise FileExistsError(
            f"{path} already holds version {number}: pass another, or none for the next free one."
        )
    if keep is not None and sum(other > number for other in existing) >= keep:
        raise ValueError(
            f"version {number} is below the {keep} highest of {path}, which alone are kept: "
            "pass a higher version, or a larger keep."
        )
    return number
