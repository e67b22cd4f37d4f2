"""Collections of encoded image files, wherever their bytes come from."""

import functools
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import tensorflow as tf

from sogclr_tf.data.files import decoding, python_decoding
from sogclr_tf.data.files.decode_errors import ERRORS
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.reduced import Reduced
from sogclr_tf.data.sources import first_files
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.stated_pixels import ValueRange, checked_channels, checked_range

# Files that are looked at to tell the bits and channels of a collection.
_LOOKED_AT = 8


class EncodedSource(Source):
    """A source whose `read` gives the bytes of an image file: a scalar string.

    Of which format its pixels are is told by the first files, when it is first asked for, unless it
    was stated.

    Args:
        name, size: as for `Source`.
        channels: C of decoded images; None for what the files have, but 3 for gray.
        value_range: (low, high), the stored values that become 0 and 1, which keeps all levels;
            None for the whole range of the files' dtype.
        **options: of `Source`.

    Attributes:
        max_pixels: height * width above which an image is refused before it is decoded.
    """

    max_pixels = decoding.MAX_PIXELS

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls).keys()
        # What decodes in another way is not to be passed over.
        if own & {"decode", "crop"} and not own & {"reduced", "reduces"}:
            cls.reduces = False  # type: ignore[assignment, method-assign]

    def __init__(
        self,
        name: str,
        size: int,
        *,
        channels: int | None = None,
        value_range: ValueRange | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, size, **options)
        self._stated_channels = None if channels is None else checked_channels(channels)
        self._stated_range = checked_range(value_range)

    def fingerprint(self) -> str:
        """Text that differs where the images may differ."""
        return f"{self.name} {self.size} {self.num_examples} {self._decoded_as()}"

    @property
    def pixel_format(self) -> PixelFormat:
        """`PixelFormat` of decoded images.

        Raises:
            ValueError: the first files have other channels, or a range that must be stated.
        """
        return self._first.pixel_format

    @property
    def in_python(self) -> bool:
        return self._first.in_python

    @property
    def reduces(self) -> bool:
        return True

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        return self._decoder.decode(image, self.max_pixels, self.pixel_format)

    def shape(self, image: tf.Tensor) -> tf.Tensor:
        return self._decoder.shape(image)

    def crop(self, image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        return self._decoder.decode_crop(image, box, self.max_pixels, self.pixel_format)

    def reduced(self, image: tf.Tensor, box: tf.Tensor | None, ratio: tf.Tensor | int) -> Reduced:
        return self._decoder.decode_reduced(image, box, ratio, self.max_pixels, self.pixel_format)

    @property
    def _decoder(self) -> ModuleType:
        return python_decoding if self.in_python else decoding

    @functools.cached_property
    def _first(self) -> first_files.FirstFiles:
        # It may be asked for while a pipeline is traced.
        with tf.init_scope():
            return first_files.look_at(
                self._first_files(), self._stated_channels, self._stated_range, self.name
            )

    def _decoded_as(self) -> str:
        """What of the decoding was stated, for a fingerprint."""
        if self._stated_channels is None and self._stated_range is None:
            return str(self.max_pixels)
        return f"{self.max_pixels} {self._stated_channels} {self._stated_range}"

    def _first_files(self) -> Iterator[bytes]:
        """The bytes of the first files, but for those that cannot be read."""
        examples = iter(self.examples())
        for _ in range(min(_LOOKED_AT, self.size)):
            # What cannot be read is reported where it is needed.
            try:
                example = next(examples)
                encoded = self.read(example["image"]).numpy()
            except (*ERRORS, StopIteration):
                continue
            yield encoded
