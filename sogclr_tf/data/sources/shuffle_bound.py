"""How many examples the order of an epoch is drawn from, so that they fit into memory."""

import logging
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

BUFFER_BYTES = 2**30

# Fewer than these mix a collection that is sorted, say by class, poorly.
_MIXED = 1_000

_log = logging.getLogger("sogclr_tf")


def examples_in(
    buffer_bytes: int, sizes: Sequence[int] | np.ndarray, counts: Sequence[int] | np.ndarray
) -> int:
    """How many examples fit, if those of the groups with the largest ones come first.

    Args:
        buffer_bytes: bytes that they may take.
        sizes: bytes of each group of examples, such as a file.
        counts: how many examples each holds.
    """
    held, number = np.asarray(sizes, np.float64), np.asarray(counts, np.float64)
    held, number = held[number > 0], number[number > 0]
    first = np.argsort(-held / number, kind="stable")
    return int(
        np.interp(buffer_bytes, [0, *np.cumsum(held[first])], [0, *np.cumsum(number[first])])
    )


def bounded(
    shuffle_buffer: int,
    buffer_bytes: int,
    sizes: Sequence[int] | np.ndarray,
    counts: Sequence[int] | np.ndarray,
    name: str,
) -> int:
    """The examples of a shuffle: at most `shuffle_buffer`, all there are, and what fits.

    At least 2, where `shuffle_buffer` and the collection allow it, as one alone is no shuffle. A
    warning tells where `buffer_bytes` leaves fewer than 1,000.

    Args:
        shuffle_buffer: how many examples may be held.
        buffer_bytes: how many bytes they may take.
        sizes, counts: as for `examples_in`.
        name: of the collection, for the message.

    Raises:
        ValueError: `shuffle_buffer` or `buffer_bytes` is no whole number >= 1.
    """
    check("shuffle_buffer", shuffle_buffer)
    check("buffer_bytes", buffer_bytes)
    wanted = min(int(shuffle_buffer), int(sum(counts)))
    fitting = max(2, examples_in(buffer_bytes, sizes, counts))
    if fitting < min(wanted, _MIXED):
        _log.warning(
            "%s: buffer_bytes=%s holds %s examples, of %s that are to be shuffled at a time, so "
            "that neighbors train together: raise buffer_bytes, or store the examples in a random "
            "order or in more files",
            name,
            f"{buffer_bytes:,}",
            f"{fitting:,}",
            f"{wanted:,}",
        )
    return min(wanted, fitting)


def check(what: str, value: Any) -> None:
    """Raises ValueError, with the name `what`, unless a value is a whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{what} is {value!r}: expected a whole number >= 1")
