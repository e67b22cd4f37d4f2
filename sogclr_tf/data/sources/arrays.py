"""Images in memory, scikit-learn's handwritten digits among them."""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import pixel_range
from sogclr_tf.data.sources.base import Source, order
from sogclr_tf.example_names import ExampleNames

# Bytes of a row's digest that are kept.
_DIGEST = 16


class ArraySource(Source):
    """Images in memory; the index is the row.

    Args:
        images: uint8, uint16 (as 8 bits), or float in 0..1: [N, H, W, C] with C in 1, 3,
            4, or [N, H, W].
        labels: int [N], or None.
        texts: N strings, or None.

    Raises:
        ValueError: shape, dtype, range, labels or texts are not as above, or there are no images.
    """

    in_range = True
    any_order = True

    def __init__(
        self,
        images: Any,
        labels: Sequence | np.ndarray | None = None,
        *,
        texts: Sequence | np.ndarray | None = None,
        name: str = "the array",
        class_names: list[str] | None = None,
    ) -> None:
        images = _checked_images(np.asarray(images), name)
        super().__init__(
            name,
            len(images),
            image_size=images.shape[1:3],
            labeled=labels is not None,
            has_text=texts is not None,
            class_names=class_names,
        )
        self._columns = {"image": tf.constant(images)}
        if labels is not None:
            self._columns["label"] = tf.constant(_checked_labels(labels, self.size, name))
        if texts is not None:
            self._columns["text"] = tf.constant(_checked_texts(texts, self.size, name))

    def example_names(self) -> ExampleNames:
        """What each row holds, image and text: rows may be sorted anew, but not edited."""
        return self._names

    @functools.cached_property
    def _names(self) -> ExampleNames:
        # A view of the tensor's memory: `numpy()` would copy all images.
        images = np.asarray(memoryview(self._columns["image"]))
        found = [hashlib.sha256(image) for image in images]
        if self.has_text:
            for digest, text in zip(found, self._columns["text"].numpy(), strict=True):
                digest.update(text)
        digests = b"".join([digest.digest()[:_DIGEST] for digest in found])
        kind = "x".join(map(str, images.shape[1:]))
        return ExampleNames.of_digests(
            f"{images.dtype} {kind} ", np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST)
        )

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        rows = order(self.size, seed, first)
        return tf.data.Dataset.from_tensor_slices(rows).map(self.example_at)

    def example_at(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = {name: tf.gather(column, row) for name, column in self._columns.items()}
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


def _checked_images(images: np.ndarray, name: str) -> np.ndarray:
    shape = images.shape
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[-1] not in (1, 3, 4)):
        raise ValueError(
            f"{name} has shape {shape}: expected [N, H, W, C] with C in 1, 3, 4, or [N, H, W]"
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}")
    if images.dtype in (np.uint8, np.uint16):
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"{name} has dtype {images.dtype}: expected uint8, uint16, or float in 0..1"
        )
    pixel_range.check_array(images, name)
    return images.astype(np.float32)


def _checked_labels(labels: Any, size: int, name: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels of {name} are {labels.dtype} {labels.shape}: expected whole numbers [{size}]"
        )
    if labels.min() < 0:
        raise ValueError(f"labels of {name} include {labels.min()}: expected 0 and up")
    return labels.astype(np.int32)


def _checked_texts(texts: Any, size: int, name: str) -> list[bytes]:
    texts = np.asarray(texts)
    if texts.shape != (size,) or texts.dtype.kind not in "USO":
        raise ValueError(
            f"texts of {name} are {texts.dtype} {texts.shape}: expected {size} strings"
        )
    return [text if isinstance(text, bytes) else str(text).encode() for text in texts]
