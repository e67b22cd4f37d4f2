"""From an example of a source to its views."""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from sogclr_tf.data import augment, randomness, reduced
from sogclr_tf.data.autograph import converted
from sogclr_tf.data.changes import changes
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source

# Small images are worked on by several at once, as one call costs more than the work on one.
_TOGETHER, _PIXELS_TOGETHER = 16, 2**16


class Drawer:
    """Draws the views of examples: of each a function of (seed, epoch, index, view).

    Args:
        source: whose examples they are, with "image", "index" and "epoch".
        policies: of each view, a `Policy` or a function (image, seed) -> view.
        seed: int in [0, 2**31).
        finish: whether to finish views here; else they are cropped and resized, and `changes` says
            what is left to do.
    """

    def __init__(
        self,
        source: Source,
        policies: Sequence[Policy | Callable],
        seed: int,
        *,
        finish: bool = True,
    ) -> None:
        self._source, self._policies, self._seed = source, tuple(policies), seed
        self._finish = finish

    @property
    def together(self) -> int:
        """How many examples to make views of at once: many small ones, large ones alone."""
        policies = [policy for policy in self._policies if isinstance(policy, Policy)]
        if self._pixels is None or len(policies) < len(self._policies):
            return 1
        largest = max(self._pixels, *(math.prod(policy.image_size) for policy in policies))
        return max(1, min(_TOGETHER, _PIXELS_TOGETHER // largest))

    @property
    def _pixels(self) -> int | None:
        """Of each image, where all have one size."""
        size = self._source.image_size
        return None if size is None else math.prod(size)

    def decoded(self, example: dict) -> dict:
        """The example with its pixels in place of its file, for `views_together`."""
        image = self._source.decode(self._source.read(example["image"]))
        return {**example, "image": self._sized(image)}

    def decoded_together(self, examples: dict) -> dict:
        """The same of a batch whose images lie in memory, which costs less than to be called."""
        images = [{"image": image} for image in tf.unstack(examples["image"])]
        return {**examples, "image": tf.stack([self.decoded(one)["image"] for one in images])}

    def views_together(self, examples: dict) -> list[tf.Tensor]:
        """The views of a batch of decoded images of one size: of each policy [n, h, w, C]."""
        images = tf.unstack(self._source.checked(examples["image"], examples["index"]))
        shapes = tf.repeat([self._source.image_size], len(images), axis=0)
        rows = randomness.draws(self._seed, examples["epoch"], examples["index"])
        views = []
        for place, policy in enumerate(self._policies):
            boxes = augment.crop_boxes(shapes, rows[:, place], policy)  # type: ignore[arg-type]
            crops = augment.parts(images, boxes)
            views.append(self._made(crops, rows[:, place], policy))  # type: ignore[arg-type]
        return views

    def views(self, example: dict) -> list[tf.Tensor]:
        """The views of one example, of whose image only what they show is decoded."""
        source = self._source
        image = source.read(example["image"])
        # All of floats in memory; of an image that must be decoded no more than is shown.
        whole = image.dtype.is_floating
        if whole:
            image = source.checked(source.decode(image), example["index"])
        key = (self._seed, example["epoch"], example["index"])
        rows, seeds = randomness.draws(*key), randomness.seeds(*key)
        shape = tf.shape(image)[:2] if whole else source.shape(image)
        boxes = [_box(shape, rows[place], policy) for place, policy in enumerate(self._policies)]
        if whole:
            shown = reduced.Reduced(image, tf.zeros([2], tf.int32), 1)
        else:
            shown = source.reduced(image, _around(boxes), self._ratio(shape, boxes))
            shown = shown._replace(pixels=source.checked(shown.pixels, example["index"]))
        views = []
        for place, (box, policy) in enumerate(zip(boxes, self._policies, strict=True)):
            crop = reduced.crop(shown, box, None if callable(policy) else policy.image_size)
            if callable(policy):
                views.append(self._own_view(policy, crop, seeds[place]))
            else:
                views.append(self._made([crop], rows[place : place + 1], policy)[0])
        return views

    def changes(self, examples: dict) -> list[tf.Tensor]:
        """Of each view what `finishing` is to change: float32 [12], or [n, 12] of a batch."""
        rows = randomness.draws(self._seed, examples["epoch"], examples["index"])
        return [
            changes(rows[..., place, :], policy)  # type: ignore[arg-type]
            for place, policy in enumerate(self._policies)
        ]

    def _made(self, crops: list[tf.Tensor], rows: tf.Tensor, policy: Policy) -> tf.Tensor:
        if self._finish:
            return augment.views(crops, rows, policy, self._pixels)
        return augment.resized(crops, policy, self._pixels)

    def _ratio(self, shape: tf.Tensor, boxes: list[tf.Tensor]) -> tf.Tensor | int:
        """By how much an image may be scaled down: not where a function is given all of it."""
        sizes = [policy.image_size for policy in self._policies if isinstance(policy, Policy)]
        if not self._source.reduces or len(sizes) < len(boxes):
            return 1
        return reduced.ratio(shape, tf.stack(boxes), sizes)

    def _sized(self, image: tf.Tensor) -> tf.Tensor:
        """An image of a source whose images all have one size, with that size known."""
        channels = self._source.pixel_format.channels
        return tf.ensure_shape(image, [*self._source.image_size, channels])  # type: ignore[misc]

    def _own_view(self, function: Callable, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A view by a user's function: uint8, or float32."""
        if self._source.image_size is not None:
            image = self._sized(image)
        view = converted(function)(image, seed)
        return view if view.dtype == tf.uint8 else tf.cast(view, tf.float32)


def _box(shape: tf.Tensor, row: tf.Tensor, policy: Policy | Callable) -> tf.Tensor:
    """The part of an image that a policy shows, int32 [4]; a function is given all of it."""
    if callable(policy):
        return tf.concat([[0, 0], shape], 0)
    return augment.crop_boxes(shape[tf.newaxis], row[tf.newaxis], policy)[0]


def _around(boxes: list[tf.Tensor]) -> tf.Tensor:
    """The smallest box that holds all of `boxes`: int32 [4]."""
    boxes = tf.stack(boxes)
    start = tf.reduce_min(boxes[:, :2], axis=0)
    end = tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
    return tf.concat([start, end - start], 0)
