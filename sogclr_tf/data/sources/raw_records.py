"""Records that hold the pixels of an image as they lie in memory."""

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.pixel_format import DTYPES

_SIDES = ("height", "width", "channels")
_SHAPE = "(height, width, channels), each a number or the name of an int64 feature"


@dataclasses.dataclass(frozen=True)
class RawPixels:
    """What the bytes of a record's image are, as `array.tobytes()` gives them.

    Attributes:
        image: the name of the feature that holds them.
        dtype: one of `pixel_format.DTYPES`.
        shape: (height, width, channels), each a number, or the name of the feature that holds it.
        little_endian: whether the lowest byte of a value comes first.
    """

    image: str
    dtype: tf.DType
    shape: tuple[int | str, ...]
    little_endian: bool = True

    @property
    def image_size(self) -> tuple[int | None, ...]:
        """(height, width), None for one that each record says."""
        return tuple(None if isinstance(side, str) else side for side in self.shape[:2])

    def channels_of(self, record: Mapping[str, tf.train.Feature], name: str) -> int:
        """The channels of a record, the first one of `name`.

        Raises:
            ValueError: it lacks a side that lies in a feature.
        """
        sides = [_side_of(record, *side, name) for side in zip(_SIDES, self.shape, strict=True)]
        return sides[2]

    def with_channels(self, channels: int) -> "RawPixels":
        """The same for records that all have so many channels, as an encoder needs it.

        A record with another number has other bytes than that, as `array` sees.
        """
        return dataclasses.replace(self, shape=(*self.shape[:2], channels))

    def array(self, record: tf.Tensor) -> tf.Tensor:
        """The pixels of a record: [H, W, C] of the dtype, with C known.

        Args:
            record: scalar string, a serialized tf.train.Example.

        Raises:
            tf.errors.InvalidArgumentError: the bytes are not as many as the shape takes.
        """
        named = [side for side in self.shape if isinstance(side, str)]
        wanted = {side: tf.io.FixedLenFeature([], tf.int64, -1) for side in named}
        wanted[self.image] = tf.io.FixedLenFeature([], tf.string, "")
        found = tf.io.parse_single_example(record, wanted)
        sides = [found[s] if isinstance(s, str) else tf.constant(s, tf.int64) for s in self.shape]
        encoded = self._checked(found[self.image], tf.stack(sides))
        values = tf.io.decode_raw(encoded, self.dtype, little_endian=self.little_endian)
        # What is a number is known to whoever builds a graph on it.
        sides = [s if isinstance(s, int) else found[s] for s in self.shape]
        return tf.reshape(values, sides)

    def _checked(self, encoded, sides):
        """`encoded`, once it is known to have the bytes that these sides take."""
        length = tf.strings.length(encoded)
        expected = tf.reduce_prod(sides) * self.dtype.size
        checks = [
            tf.debugging.Assert(
                tf.reduce_all(sides > 0),
                ["raw pixels: height, width and channels are", sides, "(-1 where none is there)"],
            ),
            tf.debugging.Assert(
                tf.cast(length, tf.int64) == expected,
                [f"raw pixels: {self.dtype.name} of height, width and channels", sides]
                + ["take", expected, "bytes, but there are", length],
            ),
        ]
        # What keeps no state waits for no assertion by itself.
        with tf.control_dependencies(checks):
            return tf.identity(encoded)


def raw_pixels(image: str, dtype: Any, shape: Any) -> RawPixels | None:
    """`RawPixels` as somebody stated them; None where they stated nothing.

    Args:
        image: the name of the feature that holds them.
        dtype: NumPy's or TensorFlow's, or its name, such as "uint16"; None, or empty, for encoded
            images. One of NumPy's such as ">u2" has its highest byte first.
        shape: (height, width, channels), or (height, width) for one channel; None, or empty, for
            encoded images.

    Raises:
        ValueError: one of them is none, or is there without the other.
    """
    stated_dtype = not (dtype is None or dtype == "")
    stated_shape = not (shape is None or np.size(shape) == 0)
    if not stated_dtype and not stated_shape:
        return None
    if not stated_dtype:
        raise ValueError(
            f"shape is {shape}, but no dtype is stated: state that of the raw pixels, such as "
            "dtype='uint16', or leave the shape out for encoded images"
        )
    if not stated_shape:
        raise ValueError(f"dtype is {dtype}, but no shape is stated: state {_SHAPE}")
    found = _numpy_dtype(dtype)
    little_endian = found.byteorder != ">"
    return RawPixels(image, tf.as_dtype(found.name), _checked_shape(shape), little_endian)


def _side_of(record: Mapping[str, tf.train.Feature], part: str, side: int | str, name: str) -> int:
    """A side of the first record of `name`, that may lie in a feature of it."""
    if isinstance(side, int):
        return side
    found = record[side].int64_list.value if side in record else []
    if len(found) != 1 or found[0] < 1:
        numbers_found = ", ".join(map(str, found)) or "no whole number"
        raise ValueError(
            f"the first record of {name} has {numbers_found} in '{side}': name the feature of the "
            f"{part}, one int64, among {', '.join(sorted(record))}, or state the number"
        )
    return found[0]


def _numpy_dtype(dtype: Any) -> np.dtype:
    try:
        found = np.dtype(dtype.as_numpy_dtype if isinstance(dtype, tf.DType) else dtype)
    except TypeError:
        found = None
    if found is None or found.name not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}: expected one of {', '.join(DTYPES)}")
    return found


def _checked_shape(shape: Any) -> tuple[int | str, ...]:
    """(height, width, channels)."""
    sides = [shape] if isinstance(shape, str) else [*shape] if np.ndim(shape) == 1 else []
    if len(sides) == 1 and isinstance(sides[0], str):
        # As the command gives names between commas.
        sides = [int(side) if side.isdecimal() else side for side in sides[0].split(",")]
    if len(sides) == 2:
        sides.append(1)
    if len(sides) != 3 or not all(map(_is_side, sides)):
        raise ValueError(f"shape is {shape!r}: expected {_SHAPE}")
    return tuple(side if isinstance(side, str) else int(side) for side in sides)


def _is_side(side: Any) -> bool:
    if isinstance(side, str):
        return bool(side)
    whole = isinstance(side, numbers.Integral) and not isinstance(side, bool)
    return whole and int(side) >= 1
