"""What somebody states of the pixels of a collection: how many channels, and which range.

Without TensorFlow, because configs are checked before it is imported.
"""

import math
import numbers
from typing import Any

import numpy as np

ValueRange = tuple[float, float]

# The least and the greatest positive number that a float32 holds with all its digits.
_TINY, _HUGE = (float(getattr(np.finfo(np.float32), name)) for name in ("tiny", "max"))


def checked_channels(channels: Any) -> int:
    """A number of channels.

    Raises:
        ValueError: it is no whole number >= 1.
    """
    whole = isinstance(channels, numbers.Integral) and not isinstance(channels, bool)
    if not whole or channels < 1:
        raise ValueError(f"channels is {channels!r}: expected a whole number >= 1")
    return int(channels)


def checked_range(value_range: Any) -> ValueRange | None:
    """A stated range as two floats; None, or nothing in it, for none.

    Raises:
        ValueError: it is not two numbers that a float32 can hold, as well as their difference, the
            lower one first.
    """
    if value_range is None or (np.ndim(value_range) == 1 and len(value_range) == 0):
        return None
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (low < high and high - low >= _TINY and max(-low, high, high - low) <= _HUGE):
        raise ValueError(
            f"value_range is {value_range!r}: expected (low, high), the stored values that are "
            "black and white, such as (0, 4095)"
        )
    return low, high
