"""Image files that Python libraries decode, in a pipeline beside those that TensorFlow decodes.

The same functions as of `decoding`, for collections that hold TIFF, `.npy`, AVIF or HEIC files.
They call Python, which a tf.data service and a SavedModel cannot.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files import decoding, image_header, python_files
from sogclr_tf.data.files.decode_errors import UNREADABLE, UnreadableImageError
from sogclr_tf.data.pixel_format import PixelFormat, expected_channels, full_range
from sogclr_tf.data.reduced import Reduced


def shape(encoded: tf.Tensor) -> tf.Tensor:
    """As `decoding.shape`."""

    def of_python():
        return _called(_shape, [encoded], tf.TensorSpec([2], tf.int32))

    return _dispatched(encoded, lambda: decoding.shape(encoded), of_python)


def decode(encoded: tf.Tensor, max_pixels: int, pixel_format: PixelFormat) -> tf.Tensor:
    """As `decoding.decode`, with as many channels as the files have.

    An image of other channels than the format's is refused, but gray is repeated for 3; one of
    more than 8 bits where the format is not deep, and one of 8 bits where its range is wider.
    """

    def of_python():
        def stored(data):
            return python_files.decode(data, max_pixels)

        return _pixels(stored, [encoded], pixel_format)

    def of_tensorflow():
        return decoding.decode(encoded, max_pixels, pixel_format)

    return _dispatched(encoded, of_tensorflow, of_python, pixel_format)


def decode_crop(
    encoded: tf.Tensor, box: tf.Tensor, max_pixels: int, pixel_format: PixelFormat
) -> tf.Tensor:
    """As `decoding.decode_crop`; of a TIFF the strips or tiles that the box touches are decoded."""

    def of_python():
        def stored(data, box):
            return python_files.decode_crop(data, tuple(box.tolist()), max_pixels)

        return _pixels(stored, [encoded, box], pixel_format)

    def of_tensorflow():
        return decoding.decode_crop(encoded, box, max_pixels, pixel_format)

    return _dispatched(encoded, of_tensorflow, of_python, pixel_format)


def decode_reduced(
    encoded: tf.Tensor,
    box: tf.Tensor | None,
    ratio: tf.Tensor | int,
    max_pixels: int,
    pixel_format: PixelFormat,
) -> Reduced:
    """As `decoding.decode_reduced`."""

    def of_python():
        if box is None:
            pixels, corner = decode(encoded, max_pixels, pixel_format), tf.zeros([2], tf.int32)
        else:
            pixels, corner = decode_crop(encoded, box, max_pixels, pixel_format), box[:2]
        return Reduced(pixels, corner, tf.constant(1))

    def of_tensorflow():
        return decoding.decode_reduced(encoded, box, ratio, max_pixels, pixel_format)

    if tf.get_static_value(ratio) == 1:
        return of_python()._replace(ratio=1)
    return _dispatched(encoded, of_tensorflow, of_python, pixel_format)


def _dispatched(
    encoded: tf.Tensor,
    of_tensorflow: Callable,
    of_python: Callable,
    pixel_format: PixelFormat | None = None,
) -> Any:
    """What the decoder of a file's kind gives."""
    if pixel_format is not None and pixel_format.channels not in decoding.FILE_CHANNELS:
        return of_python()
    return tf.cond(image_header.is_of_tensorflow(encoded), of_tensorflow, of_python)


def _pixels(stored: Callable, arguments: list, pixel_format: PixelFormat) -> tf.Tensor:
    """Pixels in a format, by a function from `arguments` to an array as it is stored."""
    channels = pixel_format.channels
    dtype = tf.float32 if pixel_format.deep else tf.uint8

    def in_format(*values):
        return _in_format(stored(*values), pixel_format)

    return _called(in_format, arguments, tf.TensorSpec([None, None, channels], dtype))


def _in_format(image: np.ndarray, pixel_format: PixelFormat) -> np.ndarray:
    """A stored array [H, W, stored channels] as float32 [H, W, C], or as uint8."""
    channels = pixel_format.channels
    if image.shape[-1] != channels:
        if (image.shape[-1], channels) != (1, 3):
            raise UnreadableImageError(
                f"it has {image.shape[-1]} channels: {expected_channels(channels)}"
            )
        image = np.repeat(image, 3, axis=-1)
    if not pixel_format.deep:
        if image.dtype != np.uint8:
            raise UnreadableImageError(
                f"it is {image.dtype} among images of 8 bits: state value_range=(low, high), which "
                "must hold for all of them"
            )
        return image
    low, high = pixel_format.value_range or full_range(tf.as_dtype(image.dtype))
    if image.dtype == np.uint8 and pixel_format.value_range and high > 255:
        raise UnreadableImageError(
            f"an image of 8 bits, but value_range is {pixel_format.value_range}"
        )
    if image.dtype == np.int16 and not pixel_format.value_range:
        raise UnreadableImageError("it is int16: state value_range=(low, high)")
    # float64 far from 0 has levels that float32 has not.
    image = image if image.dtype == np.float64 else image.astype(np.float32)
    ends = np.array([low, high], image.dtype)
    return ((image - ends[0]) / (ends[1] - ends[0])).astype(np.float32, copy=False)


def _shape(data: bytes) -> np.ndarray:
    header = python_files.header(data)
    return np.array([header.height, header.width], np.int32)


def _plain(value: Any) -> Any:
    """The bytes of a scalar, which comes as an array outside of a graph."""
    return value.item() if isinstance(value, np.ndarray) and not value.ndim else value


def _called(function: Callable, arguments: list, spec: tf.TensorSpec) -> tf.Tensor:
    """What a function of Python gives; the line of an UnreadableImageError stops the pipeline."""
    nothing = np.zeros([side or 0 for side in spec.shape], spec.dtype.as_numpy_dtype)

    def guarded(*values: Any) -> tuple[np.ndarray, bytes]:
        try:
            return function(*map(_plain, values)), b""
        except UnreadableImageError as error:
            return nothing, str(error).encode()

    found, problem = tf.numpy_function(guarded, arguments, (spec.dtype, tf.string), stateful=False)
    check = tf.debugging.Assert(problem == b"", [tf.strings.join([UNREADABLE, problem])])
    with tf.control_dependencies([check]):
        return tf.ensure_shape(tf.identity(found), spec.shape)
