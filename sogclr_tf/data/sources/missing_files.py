"""Whether files are there, asked of many at a time and for a bounded time."""

import concurrent.futures
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence

import tensorflow as tf

from sogclr_tf.error_line import first_line
from sogclr_tf.printable import printable

_LOG = logging.getLogger("sogclr_tf")
# Questions that wait for a file system at a time, and how many one thread asks in turn: a remote
# one answers each in tens of milliseconds.
_ASKING, _IN_TURN, _IN_TURN_REMOTE = 32, 256, 4
# After so many seconds the rest is left to those who read the files.
_SECONDS = 10.0


def missing(name: str, paths: Sequence[bytes]) -> dict[int, str]:
    """{place: why} of those of `paths` that are no file, as many as were asked for in time.

    Args:
        name: what to call the paths in a message.
        paths: whole ones, local or such as tf.io.gfile knows.
    """
    remote = any(b"://" in path for path in paths)
    step = _IN_TURN_REMOTE if remote else _IN_TURN
    begins = iter(range(0, len(paths), step))
    deadline = time.monotonic() + _SECONDS
    found: dict[int, str] = {}

    def ask() -> int:
        asked = 0
        for begin in _until(deadline, begins):
            for place, path in enumerate(paths[begin : begin + step], begin):
                why = _why_missing(path)
                if why is not None:
                    found[place] = why
            asked += len(paths[begin : begin + step])
        return asked

    with concurrent.futures.ThreadPoolExecutor(_ASKING) as pool:
        asked = sum(pool.map(lambda _: ask(), range(min(_ASKING, -(-len(paths) // step)))))
    if asked < len(paths):
        _LOG.info(
            "%s: looked for %d of %d files in %g s; the others are told when they are read",
            *(name, asked, len(paths), _SECONDS),
        )
    return dict(sorted(found.items()))


def _until(deadline: float, begins: Iterator[int]) -> Iterator[int]:
    for begin in begins:
        yield begin
        if time.monotonic() > deadline:
            return


def _why_missing(path: bytes) -> str | None:
    if b"://" in path:
        return _why_missing_remotely(os.fsdecode(path))
    try:
        # A pipe would be waited for.
        good = stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no file '{printable(os.fsdecode(path))}'"
    except (OSError, ValueError) as error:
        return f"'{printable(os.fsdecode(path))}' cannot be read ({printable(error)})"
    return None if good else f"'{printable(os.fsdecode(path))}' is no file"


def _why_missing_remotely(path: str) -> str | None:
    try:
        return None if tf.io.gfile.exists(path) else f"there is no file '{printable(path)}'"
    except (tf.errors.OpError, UnicodeError) as error:
        return f"'{printable(path)}' cannot be read ({printable(first_line(error))})"
