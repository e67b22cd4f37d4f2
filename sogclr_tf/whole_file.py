"""A file that is the old one or the new one, never half of either."""

import contextlib
import os


@contextlib.contextmanager
def replacing(path):
    """A path beside `path` to write to, which takes its place at the end, if nothing is raised.

        with replacing(path) as temporary:
            temporary.write_text(text)

    Args:
        path: pathlib.Path; its folder exists. The other one ends in the same letters.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
