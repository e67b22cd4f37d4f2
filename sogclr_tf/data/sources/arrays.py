"""Images in memory, scikit-learn's handwritten digits among them."""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import pixel_format, pixel_range
from sogclr_tf.data.chunks import mapped
from sogclr_tf.data.sources import array_texts
from sogclr_tf.data.sources.base import Source, order
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.example_names import ExampleNames

# Bytes of a row's digest that are kept.
_DIGEST = 16
_LARGEST_LABEL = 2**31 - 2
# How many examples are fetched at once, and of how many bytes at most.
_TOGETHER, _BYTES_TOGETHER = 16, 2**20


class ArraySource(Source):
    """Images in memory; the index is the row.

    Args:
        images: uint8, uint16, int16, or float in 0..1: [N, H, W, C], or [N, H, W] for one channel.
        labels: int [N], below 2**31 - 1, or None.
        texts: N strings, or N lists of strings, the captions of each image, or None.
        channels: C of the images as they are trained on; by default their own, but 3 for gray,
            which is repeated. 1 keeps gray as one. More than 4 must be stated where images have
            fewer rows than columns and channels, as those have whose channels stand first.
        value_range: (low, high), the values of `images` that are black and white, such as
            (0, 4095); it must hold all of them. By default the whole range of uint8 and uint16, and
            0..1 of floats; for int16 it must be stated.
        name: what to call the images in messages.
        class_names: list of str, the name of each class; None where they are not known.

    Raises:
        ValueError: shape, dtype, range, labels or texts are not as above, there are no images, some
            values are masked, or those of uint16 use a small part of its range, and none is stated;
            [N, H, W] has 3 or 4 columns, as if N were the rows of one image.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> scans = np.zeros([100, 32, 32, 1], np.uint16)  # 12 bits in use
        >>> source = sogclr_tf.ArraySource(scans, value_range=(0, 4095), channels=1)
        >>> source.num_examples, source.labeled, source.pixel_format.channels
        (100, False, 1)
    """

    in_range = True
    any_order = True

    def __init__(
        self,
        images: Any,
        labels: Sequence | np.ndarray | None = None,
        *,
        texts: Sequence | np.ndarray | None = None,
        channels: int | None = None,
        value_range: ValueRange | None = None,
        name: str = "the array",
        class_names: list[str] | None = None,
    ) -> None:
        images, kind = _checked_images(_unmasked(images, name), channels, value_range, name)
        super().__init__(
            name,
            len(images),
            image_size=images.shape[1:3],
            labeled=labels is not None,
            has_text=texts is not None,
            class_names=class_names,
            pixel_format=kind,
        )
        self._columns = {"image": tf.constant(images)}
        if labels is not None:
            self._columns["label"] = tf.constant(_checked_labels(labels, self.size, name))
        if texts is not None:
            flat, offsets = array_texts.checked(texts, self.size, name)
            self._texts, self.caption_offsets = tf.constant(flat), offsets
            self._starts = None if offsets is None else tf.constant(offsets, tf.int32)

    def example_names(self) -> ExampleNames:
        """What each row holds, image and texts: rows may be sorted anew, but not edited."""
        return self._names

    @functools.cached_property
    def _names(self) -> ExampleNames:
        # A view of the tensor's memory: `numpy()` would copy all images.
        images = np.asarray(memoryview(self._columns["image"]))
        found = [hashlib.sha256(image) for image in images]
        if self.has_text:
            array_texts.add_to(found, self._texts.numpy(), self.caption_offsets)
        digests = b"".join([digest.digest()[:_DIGEST] for digest in found])
        kind = "x".join(map(str, images.shape[1:]))
        return ExampleNames.of_digests(
            f"{images.dtype} {kind} ", np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST)
        )

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices(order(self.size, seed, first))
        image = self._columns["image"][0]
        together = _BYTES_TOGETHER // (image.dtype.size * image.shape.num_elements())
        # Examples with different numbers of texts make no batch.
        together = 1 if self.caption_offsets is not None else max(1, min(_TOGETHER, together))
        return mapped(rows, self.example_at, together)

    def example_at(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = {name: tf.gather(column, row) for name, column in self._columns.items()}
        if self.has_text:
            columns["text"] = array_texts.of_row(self._texts, self._starts, row)
        return {"index": row, **columns}

    def part_at(self, row: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        images = self._columns["image"]
        top, left, height, width = tf.unstack(box)
        channels = images.shape[3:]
        start = tf.stack([row, top, left, *[0 for _ in channels]])
        part = tf.slice(images, start, tf.stack([1, height, width, *channels]))
        return self.decode(tf.ensure_shape(part[0], [None, None, *channels]))


def digits(split: str) -> ArraySource:
    """scikit-learn's 1,797 handwritten digits, 8x8 gray, with labels: no download.

    Args:
        split: "train" (two thirds of each class) or "test" (the rest).
    """
    from sklearn import datasets, model_selection

    bunch = datasets.load_digits()
    rows = model_selection.train_test_split(
        np.arange(len(bunch.target)), test_size=1 / 3, random_state=0, stratify=bunch.target
    )
    splits = dict(zip(("train", "test"), rows, strict=True))
    if split not in splits:
        raise ValueError(f"unknown split '{split}' of digits: choose one of train, test")
    chosen = np.sort(splits[split])
    images = np.round(bunch.images[chosen] * (255 / 16)).astype(np.uint8)
    return ArraySource(
        images,
        bunch.target[chosen],
        name=f"digits[{split}]",
        class_names=[str(name) for name in bunch.target_names],
    )


def _unmasked(images: Any, name: str) -> np.ndarray:
    """The images as an array; a mask is not dropped, as what lies below it may be anything."""
    if np.ma.is_masked(images):
        raise ValueError(
            f"{name} has {np.ma.count_masked(images)} masked values: fill them, such as with "
            "images.filled(0)"
        )
    return np.asarray(images)


def _checked_images(
    images: np.ndarray, channels: int | None, value_range: Any, name: str
) -> tuple[np.ndarray, pixel_format.PixelFormat]:
    """The images with floats as float32, and what their pixels are."""
    shape = images.shape
    if images.ndim not in (3, 4):
        raise ValueError(f"{name} has shape {shape}: expected [N, H, W, C] or [N, H, W]")
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}")
    dtype = pixel_format.known_dtype(images.dtype, name)
    pixel_format.check_axes(shape[1:], channels, name)
    stored = shape[-1] if images.ndim == 4 else 1
    kind = pixel_format.of_stored(channels, value_range, stored, dtype, name)
    if kind.value_range is None:
        pixel_format.check_used(images.max(), dtype, name)
    pixel_range.check_array(images, name, value_range=kind.value_range)
    # float64 is kept where its values are yet to be scaled.
    is_scaled = kind.value_range is None or dtype != tf.float64
    return images.astype(np.float32) if dtype.is_floating and is_scaled else images, kind


def _checked_labels(labels: Any, size: int, name: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels of {name} are {labels.dtype} {labels.shape}: expected whole numbers [{size}]"
        )
    if labels.min() < 0:
        raise ValueError(f"labels of {name} include {labels.min()}: expected 0 and up")
    if labels.max() > _LARGEST_LABEL:
        raise ValueError(
            f"labels of {name} include {labels.max()}: expected at most {_LARGEST_LABEL}"
        )
    return labels.astype(np.int32)
