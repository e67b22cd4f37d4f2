"""The images of a tf.data.Dataset."""

from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import pixel_format, pixel_range
from sogclr_tf.data.sources import label_range, repeatable, shuffle_bound
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.stated_pixels import ValueRange


class DatasetSource(Source):
    """The images of a tf.data.Dataset; the index is the position.

    Args:
        dataset: finite, of images, (image, label) pairs or dictionaries with "image" and, where
            there are, "label" and "text" (a string), one example each (not batched). It must give
            the same every time it is iterated, in the same order: leave shuffling and augmentation
            to the training stream. The first 64 examples are read twice to see to it. A shuffle
            with `reshuffle_each_iteration=False` and a seed keeps to one order.
        shuffle_buffer: how many examples the order of an epoch is drawn from at a time.
        buffer_bytes: how many bytes these may take, decoded, if each is as large as the largest of
            the first; where fewer fit, the order is drawn from fewer at a time.
        channels, value_range: as for `sogclr_tf.ArraySource`.
        name: what to call the images in messages.

    Raises:
        ValueError: the data set is endless, empty, or its elements are no single images; it gives
            other examples, or the same in another order, when it is read again; an image among the
            first lies outside 0..1, or `value_range`, or those of uint16 use a small part of its
            range, and none is stated (one further on stops the stream that comes to it); a buffer
            is no whole number >= 1.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> numbers = tf.data.Dataset.range(100, output_type=tf.uint8)
        >>> images = numbers.map(lambda number: tf.fill([16, 16, 3], number))
        >>> source = sogclr_tf.DatasetSource(images, name="shades")
        >>> source.num_examples
        100
        >>> [int(example["index"]) for example in source.examples(first=97)]
        [97, 98, 99]
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        *,
        shuffle_buffer: int = 10_000,
        buffer_bytes: int = shuffle_bound.BUFFER_BYTES,
        channels: int | None = None,
        value_range: ValueRange | None = None,
        name: str = "the data set",
    ) -> None:
        parts = _image_and_label(dataset.element_spec, name)
        _check_specs(parts, name)
        image = parts["image"]
        pixel_format.check_axes(image.shape.as_list(), channels, name)
        stored = 1 if image.shape.rank == 2 else image.shape[-1]
        kind = pixel_format.of_stored(channels, value_range, stored, image.dtype, name)
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"{name} is endless: an example index needs a finite set, so take(n)")
        repeatable.check_graph(dataset, name)
        dataset = repeatable.in_fixed_order(dataset)
        super().__init__(
            name,
            _length(dataset),
            image_size=image.shape[:2],
            labeled="label" in parts,
            has_text="text" in parts,
            pixel_format=kind,
        )
        self._largest, self._most_bytes = 0.0, 0
        repeatable.check_passes(dataset, self.size, self._checked_parts, name)
        if kind.value_range is None:
            pixel_format.check_used(self._largest, image.dtype, name)
        self._dataset = dataset
        self._shuffle_buffer = shuffle_bound.bounded(
            shuffle_buffer, buffer_bytes, [self._most_bytes * self.size], [self.size], name
        )

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        examples = self._dataset.enumerate().map(self._example)
        if seed is not None:
            examples = examples.shuffle(
                self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False
            )
        return examples.skip(first)

    def _checked_parts(self, place, element):
        parts = _image_and_label(element, self.name)
        images = parts["image"].numpy()[np.newaxis]
        stated = self.pixel_format.value_range
        self._largest = max(self._largest, float(images.max(initial=0)))
        self._most_bytes = max(self._most_bytes, images.nbytes)
        pixel_range.check_array(images, self.name, np.array([place]), stated)
        return parts

    def _example(self, position, element):
        parts = _image_and_label(element, self.name)
        return {**label_range.as_int32(parts), "index": tf.cast(position, tf.int32)}


def _image_and_label(element: Any, name: str) -> dict[str, Any]:
    if isinstance(element, dict):
        if "image" not in element:
            raise ValueError(f"elements of {name} have keys {sorted(element)}: expected 'image'")
        return {key: element[key] for key in ("image", "label", "text") if key in element}
    if isinstance(element, tuple):
        return dict(zip(("image", "label"), element, strict=False))
    return {"image": element}


def _check_specs(parts: dict[str, tf.TensorSpec], name: str) -> None:
    spec = parts["image"]
    good_rank = spec.shape.rank == 2 or (spec.shape.rank == 3 and spec.shape[-1])
    if not good_rank or spec.dtype.name not in pixel_format.DTYPES:
        raise ValueError(
            f"elements of {name} are {spec.dtype.name} {spec.shape}: expected one image, uint8, "
            "uint16, int16 or float in 0..1, [H, W, C] with a known C (use unbatch() on batches, "
            "and tf.ensure_shape where C is unknown)"
        )
    label = parts.get("label")
    if label is not None and (label.shape.rank != 0 or not label.dtype.is_integer):
        raise ValueError(
            f"labels of {name} are {label.dtype.name} {label.shape}: expected one whole number each"
        )
    text = parts.get("text")
    if text is not None and (text.shape.rank != 0 or text.dtype != tf.string):
        raise ValueError(
            f"texts of {name} are {text.dtype.name} {text.shape}: expected one string each"
        )


def _length(dataset: tf.data.Dataset) -> int:
    known = int(dataset.cardinality())
    return known if known >= 0 else int(dataset.reduce(np.int64(0), lambda n, _: n + 1))
