"""What was learned of files, remembered in the user's cache folder between starts.

A manifest only saves time: without one, or with one that cannot be read or written, the same is
learned again. The folder is `SOGCLR_TF_CACHE`, else `XDG_CACHE_HOME`/sogclr_tf, else
~/.cache/sogclr_tf; whoever keeps a manifest says when it is out of date.
"""

import hashlib
import logging
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from sogclr_tf.atomic_write import replacing

_LOG = logging.getLogger("sogclr_tf")


def load(kind: str, place: str) -> dict[str, np.ndarray] | None:
    """What `save` stored under this name: {name: array}, or None."""
    try:
        with np.load(path_of(kind, place), allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save(kind: str, place: str, **arrays: Any) -> None:
    """Stores arrays under a name, whole or not at all.

    Args:
        kind, place: str; what sort of manifest, and of which files.
        **arrays: arrays without Python objects.
    """
    path = path_of(kind, place)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.savez(temporary, **arrays)
    except OSError as error:
        _LOG.info("%s could not be written (%s): the next start reads the files again", path, error)


def forget(kind: str, place: str) -> None:
    """Removes what `save` stored under this name, if there is any."""
    try:
        path_of(kind, place).unlink(missing_ok=True)
    except OSError as error:
        _LOG.info("%s could not be removed (%s)", path_of(kind, place), error)


def path_of(kind: str, place: str) -> pathlib.Path:
    """The file that `save` writes under a name."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    folder = pathlib.Path(os.environ.get("SOGCLR_TF_CACHE") or cache / "sogclr_tf")
    # A path may hold bytes that are no text.
    digest = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
    return folder / f"{kind}-{digest[:24]}.npz"
