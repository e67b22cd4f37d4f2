"""The format of a collection of image files, told by the first of them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from sogclr_tf.data import image_header, png
from sogclr_tf.data import pixel_format as formats
from sogclr_tf.data.decoding import FILE_CHANNELS
from sogclr_tf.data.pixel_format import PixelFormat, ValueRange


class _Stored(NamedTuple):
    """What a file holds."""

    dtype: tf.DType
    largest: float


def pixel_format(
    files: Iterable[bytes], channels: int | None, value_range: ValueRange | None, name: str
) -> PixelFormat:
    """The `PixelFormat` of a collection.

    Args:
        files: bytes of the first files.
        channels, value_range: as they were stated, or None.
        name: what to call the collection in messages.

    Raises:
        ValueError: no file of these kinds has so many channels, or the files have 16 bits of which
            they use few, and no range is stated.
    """
    if channels not in (None, *FILE_CHANNELS):
        raise ValueError(
            f"channels is {channels} for {name}: JPEG, PNG, WebP, BMP and GIF files give 1 or 3"
        )
    channels = channels or 3
    if value_range is not None:
        return PixelFormat(channels, value_range)
    deep = [stored for stored in map(_stored, files) if stored.dtype != tf.uint8]
    if deep:
        formats.check_used(max(stored.largest for stored in deep), tf.uint16, name)
    return PixelFormat(channels, deep=bool(deep))


def _stored(encoded: bytes) -> _Stored:
    if not image_header.is_16_bit_png(encoded[: image_header.HEAD]):
        return _Stored(tf.uint8, 255.0)
    try:
        pixels: Any = png.pixels(tf.constant(encoded), 3)
    except tf.errors.InvalidArgumentError:
        # It is reported where it is needed.
        return _Stored(tf.uint8, 255.0)
    return _Stored(tf.uint16, float(tf.reduce_max(tf.cast(pixels, tf.int32))))
