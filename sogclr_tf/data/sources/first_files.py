"""What the first files of a collection of images tell of all."""

from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf

from sogclr_tf.data import pixel_format as formats
from sogclr_tf.data.files import decoding, image_header, npy_files, png, python_files
from sogclr_tf.data.files.decode_errors import UnreadableImageError
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.stated_pixels import ValueRange


class FirstFiles(NamedTuple):
    """What was found.

    Attributes:
        pixel_format: `PixelFormat` of the collection.
        in_python: whether some of the files are decoded by Python libraries.
    """

    pixel_format: PixelFormat
    in_python: bool


class _Stored(NamedTuple):
    """What one file holds."""

    channels: int
    dtype: tf.DType
    data: bytes
    shape: tuple[int, ...] = ()
    in_python: bool = False


def look_at(
    files: Iterable[bytes], channels: int | None, value_range: ValueRange | None, name: str
) -> FirstFiles:
    """What the first files of a collection tell of it.

    Args:
        files: their bytes.
        channels, value_range: as they were stated, or None.
        name: what to call the collection in messages.

    Raises:
        ValueError: the files have other channels than stated, or values of which no range is
            usual and none is stated.
    """
    found = [stored for stored in map(_stored, files) if stored is not None]
    for stored in found:
        # A TIFF says which of its axes is which.
        if stored.data.startswith(npy_files.SIGNATURE):
            formats.check_axes(stored.shape, channels, name)
    channels = channels or _channels(found)
    for stored in found:
        if stored.in_python and stored.channels not in (channels, 1 if channels == 3 else 0):
            raise ValueError(
                f"images of {name} have {stored.channels} channels: "
                f"{formats.expected_channels(channels)}"
            )
        if not stored.in_python:
            check_channels(channels, name)
    if value_range is None:
        _check_range(found, name)
    deep = any(stored.dtype != tf.uint8 for stored in found)
    in_python = any(stored.in_python for stored in found)
    return FirstFiles(PixelFormat(channels, value_range, deep), in_python)


def check_channels(channels: int, name: str) -> None:
    """Raises ValueError where files that TensorFlow decodes cannot have so many channels.

    Args:
        channels: of decoded images.
        name: what to call the collection in the message.
    """
    if channels not in decoding.FILE_CHANNELS:
        raise ValueError(
            f"channels is {channels} for {name}: JPEG, PNG, WebP, BMP and GIF files give 1 or 3"
        )


def _channels(found: list[_Stored]) -> int:
    """As many as the first file has; 3 for gray, which is repeated."""
    return 3 if not found or found[0].channels == 1 else found[0].channels


def _check_range(found: list[_Stored], name: str) -> None:
    for stored in found:
        if stored.dtype == tf.int16:
            formats.of_stored(None, None, stored.channels, stored.dtype, name)
    wide = [_largest(stored) for stored in found if stored.dtype == tf.uint16]
    known = [largest for largest in wide if largest is not None]
    if known:
        formats.check_used(max(known), tf.uint16, name)


def _stored(data: bytes) -> _Stored | None:
    """What a file holds; None where it cannot be read, which is told where it is needed."""
    head = data[: image_header.HEAD]
    if not python_files.is_known(head):
        return _Stored(3, tf.uint16 if image_header.is_16_bit_png(head) else tf.uint8, data)
    try:
        header = python_files.header(data)
    except UnreadableImageError:
        return None
    shape = (header.height, header.width, header.channels)
    return _Stored(header.channels, tf.as_dtype(header.dtype), data, shape, in_python=True)


def _largest(stored: _Stored) -> float | None:
    """The largest value of an image of 16 bits; None where it cannot be decoded."""
    try:
        if stored.in_python:
            return float(python_files.decode(stored.data, decoding.MAX_PIXELS).max())
        pixels = tf.cast(png.pixels(tf.constant(stored.data), 3), tf.int32)
        return float(tf.reduce_max(pixels))
    except (UnreadableImageError, tf.errors.InvalidArgumentError):
        return None
