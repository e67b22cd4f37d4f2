"""What the pixels of a collection are: how many channels, and which stored values are 0 and 1."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from sogclr_tf.data.stated_pixels import ValueRange, checked_channels, checked_range

# What images in memory, and raw ones in files, may be.
DTYPES = ("uint8", "uint16", "int16", "float16", "bfloat16", "float32", "float64")
# Of the whole range of a dtype the part that images use at least, where no range is stated.
_USED = 0.5


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """How the stored values of a collection become the pixels of decoded images.

    Decoded images are uint8 [H, W, C], or float32 in 0..1. A float32 holds every level of 16 bits.

    Attributes:
        channels: C, at least 1.
        value_range: (low, high), the stored values that become 0 and 1. None for the whole range
            of an image's dtype, and for 0..1 of floats.
        deep: whether images are decoded to float32, as those of 16 bits are; else to uint8.

    Raises:
        ValueError: a value is not as above.

    Examples:
        >>> import sogclr_tf
        >>> xrays = sogclr_tf.PixelFormat(1, value_range=(0, 4095))  # 12 of 16 bits
        >>> xrays.channels, xrays.value_range
        (1, (0.0, 4095.0))
    """

    channels: int = 3
    value_range: ValueRange | None = None
    deep: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", checked_channels(self.channels))
        stated = checked_range(self.value_range)
        object.__setattr__(self, "value_range", stated)
        object.__setattr__(self, "deep", bool(self.deep or stated))

    def pixels(self, image: tf.Tensor) -> tf.Tensor:
        """Stored values as pixels: uint8, or float32 that is 0..1 within the range; [H, W, C].

        Gray is repeated where there are to be 3 channels.

        Args:
            image: [H, W], or [H, W, stored channels], of one of `DTYPES`.

        Returns:
            uint8 or float32 [H, W, C].

        Raises:
            ValueError: the image has another number of channels.
        """
        if image.shape.rank == 2:
            image = image[..., tf.newaxis]
        image = self._with_channels(image)
        if image.dtype == tf.uint8 and not self.deep:
            return image
        if image.dtype.is_floating and self.value_range is None:
            return tf.cast(image, tf.float32)
        return self.scaled(image, full_range(image.dtype))

    def scaled(self, image: tf.Tensor, full: Any) -> tf.Tensor:
        """Stored values as float32, 0..1 within the stated range.

        Args:
            image: of any shape, of one of `DTYPES`.
            full: (low, high), which stands in for `value_range` where none is stated.

        Returns:
            float32 of the image's shape; not clipped.
        """
        low, high = self.value_range or full
        # Of float64 the levels may lie closer than those of float32 do so far from 0.
        exact = tf.float64 if image.dtype == tf.float64 else tf.float32
        return tf.cast((tf.cast(image, exact) - low) / (high - low), tf.float32)

    def _with_channels(self, image):
        found = image.shape[-1]
        if found == self.channels:
            return image
        if found == 1 and self.channels == 3:
            # Not repeat, which TensorFlow has not for uint16.
            return tf.concat([image] * 3, axis=-1)
        raise ValueError(f"images have {found} channels: {expected_channels(self.channels)}")


def of_stored(
    channels: int | None, value_range: Any, stored_channels: int, dtype: tf.DType, name: str
) -> PixelFormat:
    """The format of images whose stored channels and dtype are known.

    Args:
        channels: as somebody stated them; None for those that are stored, but 3 for gray.
        value_range: as somebody stated it, or None.
        stored_channels: of the images.
        dtype: of the images.
        name: what to call them in messages.

    Raises:
        ValueError: a statement is none, or does not fit; a dtype that is none of `DTYPES`, or
            whose range must be stated.
    """
    if channels is None:
        channels = 3 if stored_channels == 1 else stored_channels
    channels = checked_channels(channels)
    if stored_channels != channels and (stored_channels, channels) != (1, 3):
        raise ValueError(
            f"images of {name} have {stored_channels} channels: {expected_channels(channels)}"
        )
    known_dtype(dtype, name)
    if dtype == tf.int16 and value_range is None:
        raise ValueError(
            f"images of {name} are int16, of which no range is usual: state the values that are "
            "black and white, such as value_range=(-1024, 3071)"
        )
    return PixelFormat(channels, value_range, deep=dtype != tf.uint8)


def check_axes(shape: Sequence[Any], channels: int | None, name: str) -> None:
    """Raises ValueError where the axes of images look like others than they are taken for.

    Args:
        shape: [H, W] or [H, W, C] of an image; an unknown side is None.
        channels: as somebody stated them, which settles what the last of three axes is.
        name: what to call the images in messages.
    """
    known = [side for side in shape if side is not None]
    if len(known) < len(shape):
        return
    height, width, stored = (*known, 1)[:3]
    if len(shape) == 2 and width in (3, 4) and height > width:
        raise ValueError(
            f"images of {name} are {list(shape)}, which is images without channels, of {width} "
            f"columns: give [N, H, W, 1] where they are that narrow; for one image [1, H, W, C]"
        )
    if len(shape) == 3 and channels is None and stored > 4 and height < min(width, stored):
        raise ValueError(
            f"images of {name} are {list(shape)}, which is {height} rows, {width} columns and "
            f"{stored} channels: expected the channels last, as np.moveaxis(images, 1, -1) puts "
            f"them; state channels={stored} where there are so many"
        )


def known_dtype(dtype: Any, name: str) -> tf.DType:
    """The dtype of images, NumPy's or TensorFlow's, as TensorFlow's.

    Raises:
        ValueError: it is none of `DTYPES`.
    """
    found = getattr(dtype, "name", str(dtype))
    if found not in DTYPES:
        raise ValueError(f"images of {name} are {found}: expected uint8, uint16, int16 or float")
    return tf.as_dtype(found)


def full_range(dtype: tf.DType) -> ValueRange:
    """The values of a dtype that are 0 and 1 where no range is stated."""
    return (0.0, 1.0) if dtype.is_floating else (0.0, float(dtype.max))


def check_used(largest: float, dtype: tf.DType, name: str) -> None:
    """Raises ValueError where images of 16 bits without a stated range use a small part of it.

    Such images would be nearly black.

    Args:
        largest: the largest value of them, or of the first of them.
        dtype: of the images; all but uint16 pass.
        name: what to call them in messages.
    """
    if dtype == tf.uint16 and largest < _USED * dtype.max:
        raise ValueError(f"images of {name} {small_part(int(largest))}")


def small_part(largest: int) -> str:
    """What is wrong with images of 16 bits whose largest value is `largest`, and the remedy."""
    return (
        f"have 16 bits, but no value above {largest}: state the values that are black and white, "
        f"such as value_range=(0, {2 ** max(8, largest.bit_length()) - 1}), or value_range="
        "(0, 65535) where they are that dark"
    )


def expected_channels(channels: int) -> str:
    """Of messages about images with another number of channels."""
    return f"expected {channels}; state how many they are (channels=, --config.data.channels=)"
