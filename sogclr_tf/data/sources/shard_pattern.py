"""From the patterns of shards, as webdataset writes them, to their names."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from sogclr_tf.printable import printable

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
# Compressed ones too, so that they are refused for what they are.
_TAR = re.compile(r"\.(tar(\.[a-z0-9]+)?|tgz)$", re.IGNORECASE)


def is_shards(path: str | os.PathLike) -> bool:
    """Whether a path or a pattern names tar files, by its suffix."""
    return _TAR.search(os.fspath(path)) is not None


def shards_of(patterns: Sequence[str]) -> list[str]:
    """The files that patterns name, each once, sorted; local ones by their whole paths.

    Args:
        patterns: paths with ranges `{00000..00099}` and choices `{a,b}` in braces, of which every
            file must be there, and with `*`, `?` and `[...]`, of which one must.

    Raises:
        FileNotFoundError: a pattern has no file.
        ValueError: a range runs backwards, or a file has a name that is no UTF-8.
    """
    found: set[str] = set()
    for pattern in patterns:
        for name in expanded(os.path.expanduser(pattern)):
            files = matching([name])
            if not files:
                raise FileNotFoundError(
                    f"there is no shard '{printable(name)}': give the paths of tar files, such as "
                    "./shards/{00000..00099}.tar or ./shards/*.tar"
                )
            # The working directory may change before the files are read.
            found.update(file if "://" in file else os.path.abspath(file) for file in files)
    return sorted(found)


def expanded(pattern: str) -> Iterator[str]:
    """Every path that a pattern with braces stands for, in order.

    >>> list(expanded("a-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    parts = _BRACES.split(pattern)
    choices = [_choices(part, pattern) if place % 2 else [part] for place, part in enumerate(parts)]
    yield from map("".join, itertools.product(*choices))


def matching(patterns: Sequence[str]) -> set[str]:
    """The files that patterns match.

    Raises:
        ValueError: one has a name that is no UTF-8.
    """
    try:
        return {name for pattern in patterns for name in tf.io.gfile.glob(pattern)}
    except UnicodeError:
        raise ValueError(
            f"a file of {printable(', '.join(patterns))} has a name that is no UTF-8: rename it"
        ) from None


def _choices(inside: str, pattern: str) -> Sequence[str]:
    bounds = _RANGE.fullmatch(inside)
    if not bounds:
        return inside.split(",")
    first, last = bounds.groups()
    if int(first) > int(last):
        raise ValueError(
            f"the range {{{inside}}} of '{printable(pattern)}' runs backwards: give the lower "
            "number first"
        )
    width = len(first) if first.startswith("0") or len(first) == len(last) else 0
    return [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
