"""How large a view is: the side of a square, or a rectangle's (height, width)."""

import numbers
from typing import Any

Size = int | tuple[int, int]


def height_and_width(size: Any, name: str = "size") -> tuple[int, int]:
    """(height, width) in pixels.

    Args:
        size: whole number >= 1, the side of a square, or two of them, (height, width).
        name: of what was given, for the message.

    Raises:
        ValueError: `size` is neither.
    """
    sides = (size, size) if isinstance(size, numbers.Integral) else size
    if isinstance(sides, str) or not hasattr(sides, "__len__") or len(sides) != 2:
        raise _no_size(size, name)
    height, width = sides
    if not all(_is_length(side) for side in (height, width)):
        raise _no_size(size, name)
    return int(height), int(width)


def _is_length(side: Any) -> bool:
    return isinstance(side, numbers.Integral) and not isinstance(side, bool) and int(side) >= 1


def _no_size(size: Any, name: str) -> ValueError:
    return ValueError(
        f"{name} is {size!r}: expected a whole number of pixels >= 1, or two of them as "
        "(height, width)"
    )
