"""An image file whose header has been read, and the turns between stored and shown pixels."""

import dataclasses
from collections.abc import Callable

import numpy as np

from sogclr_tf.data.files.decode_errors import UnreadableImageError

# top, left, height, width in pixels
Box = tuple[int, int, int, int]
# Numbers that a pixel may have on average before `max_pixels` refuses the image as too large.
VALUES_PER_PIXEL = 4
UPRIGHT = 1


@dataclasses.dataclass(frozen=True)
class Header:
    """What `decode` gives of a file.

    Attributes:
        height: in pixels, as shown.
        width: in pixels, as shown.
        channels: without alpha, a palette looked up.
        dtype: uint8, uint16, int16, float32 or float64.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype

    def check_size(self, max_pixels: int) -> None:
        """Raises UnreadableImageError where the pixels are too many to be decoded."""
        if self.height * self.width > max_pixels:
            raise UnreadableImageError(
                f"image too large: its height and width {self.height} {self.width} are more than "
                f"max_pixels {max_pixels}"
            )
        check_values(
            self.height * self.width * self.channels, max_pixels, "height, width and channels"
        )


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """A file whose header has been read.

    Attributes:
        header: what decoding will give.
        read: from a box of the image as shown, and max_pixels, to its pixels [height, width,
            channels] of the header's dtype.
    """

    header: Header
    read: Callable[[Box, int], np.ndarray]


def check_values(values: int, max_pixels: int, what: str) -> None:
    """Raises UnreadableImageError where a file's `what` hold too many values."""
    # Little images in tiles of a usual size are fine even where `max_pixels` is small.
    if values > VALUES_PER_PIXEL * max(max_pixels, 1 << 22):
        raise UnreadableImageError(
            f"image too large: its {what} make {values} values, more than "
            f"{VALUES_PER_PIXEL} times max_pixels {max_pixels}"
        )


def float32(pixels: np.ndarray) -> np.ndarray:
    """Floats of any width; what float32 cannot hold becomes infinite, which later checks refuse."""
    with np.errstate(all="ignore"):
        return pixels.astype(np.float32, copy=False)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels as they are to be shown, a view.

    Args:
        pixels: [height, width, channels].
        orientation: 1 to 8, of Exif and TIFF.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if _upside_down(orientation) else 1, :: -1 if _mirrored(orientation) else 1]


def shown_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """(height, width) of the image as shown, from those that are stored."""
    return (width, height) if orientation >= 5 else (height, width)


def stored_box(box: Box, height: int, width: int, orientation: int) -> Box:
    """Where a box of the image as shown is stored; height and width are the stored ones."""
    top, left, rows, columns = box
    height, width = shown_shape(height, width, orientation)
    if _upside_down(orientation):
        top = height - top - rows
    if _mirrored(orientation):
        left = width - left - columns
    return (left, top, columns, rows) if orientation >= 5 else (top, left, rows, columns)


def valid_orientation(value: object) -> int:
    """`value` if it is 1 to 8, else upright."""
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def _upside_down(orientation):
    return orientation in (3, 4, 7, 8)


def _mirrored(orientation):
    return orientation in (2, 3, 6, 7)
