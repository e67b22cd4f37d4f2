"""A file that is the old one or the new one, never half of either."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path beside `path` to write to, which takes its place at the end, if nothing is raised.

        with replacing(path) as temporary:
            temporary.write_text(text)

    Args:
        path: pathlib.Path; its folder exists. The other one, this process's own, ends in
            the same letters.
    """
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
