"""Collections that hold either encoded image files or arrays of pixels."""

import functools

import numpy as np
import tensorflow as tf

from sogclr_tf.data import pixel_format as formats
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.reduced import Reduced
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.encoded import EncodedSource


class FilesOrArraysSource(EncodedSource):
    """A source whose `read` gives the bytes of an image file, or the pixels of an image.

    Pixels are [H, W, C], or [H, W] for one channel, of one dtype and with one C in the whole
    collection. A subclass that holds such ones says so with `_hold_arrays`.
    """

    _dtype: tf.DType | None = None
    _format_of_arrays = PixelFormat()

    def _hold_arrays(self, dtype: tf.DType, channels: int) -> None:
        """Has `read` give pixels.

        Args:
            dtype, channels: of what it gives.

        Raises:
            ValueError: they do not fit what was stated, or a range must be stated.
        """
        self._format_of_arrays = formats.of_stored(
            self._stated_channels, self._stated_range, channels, dtype, self.name
        )
        self._dtype = dtype

    @functools.cached_property
    def pixel_format(self) -> PixelFormat:
        """`PixelFormat` of decoded images.

        Raises:
            ValueError: as of `EncodedSource`; the first arrays, of uint16, use a small part of its
                range, and none is stated.
        """
        if self._dtype is None:
            return super().pixel_format
        if self._dtype == tf.uint16 and self._format_of_arrays.value_range is None:
            # It may be asked for while a pipeline is traced.
            with tf.init_scope():
                # Where none can be read, that is reported where they are needed.
                largest = [int(np.max(array)) for array in self._first_files()] or [tf.uint16.max]
            formats.check_used(max(largest), self._dtype, self.name)
        return self._format_of_arrays

    @property
    def reduces(self) -> bool:
        return self._dtype is None

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        return super().decode(image) if self._dtype is None else self.pixel_format.pixels(image)

    def shape(self, image: tf.Tensor) -> tf.Tensor:
        return super().shape(image) if self._dtype is None else tf.shape(image)[:2]

    def crop(self, image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        if self._dtype is None:
            return super().crop(image, box)
        rest = image.shape[2:].as_list()
        begin, size = tf.split(box, 2)
        part = tf.slice(image, tf.pad(begin, [[0, len(rest)]]), tf.concat([size, rest], 0))
        return self.decode(tf.ensure_shape(part, [None, None, *rest]))

    def reduced(self, image: tf.Tensor, box: tf.Tensor | None, ratio: tf.Tensor | int) -> Reduced:
        if self._dtype is None:
            return super().reduced(image, box, ratio)
        return Source.reduced(self, image, box, ratio)
