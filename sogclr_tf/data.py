"""The training stream: two augmented views of each example, with its index.

Any tf.data.Dataset whose elements are batches

    {"view_a": uint8 or float in 0..1 [B, H, W, 3], "view_b": the same, "index": int [B]}

trains a `SogCLR` model; "label" int [B] teaches its probe, if it has one, and further keys are
ignored. Index i must always mean the same example, and lie in [0, num_examples). `training_views`
makes such a stream from images.
"""

import collections.abc
import dataclasses
import math
import os

import numpy as np
import tensorflow as tf

from sogclr_tf import augment, data_service, policies, sources

_EPOCHS = 2**31 - 1
# Small images are worked on by several at once, as one call costs more than the work on one.
_TOGETHER, _PIXELS_TOGETHER = 16, 2**16


@dataclasses.dataclass(frozen=True)
class Views:
    """Two views of every example of a source, in a new order each epoch.

    Everything is a function of (seed, epoch, index, view): the order of results, the number of
    threads and the step at which the stream starts change nothing. The last examples of an epoch
    that fill no batch are left out, others each time.

    Made by `training_views`. Pass it to `SogCLR.fit`, or take a tf.data.Dataset from `epoch` or
    `stream`.
    """

    source: sources.Source
    batch_size: int
    policy_a: augment.Policy | collections.abc.Callable
    policy_b: augment.Policy | collections.abc.Callable
    seed: int
    service: str | None = None

    # Of a batch, beside "label" where the source has labels.
    keys = ("view_a", "view_b", "index")

    @property
    def taken(self):
        """What of an example of the source goes into a batch."""
        return ("image", "index", *(["label"] if self.source.labelled else []))

    @property
    def num_examples(self):
        """Indices lie in [0, num_examples)."""
        return self.source.num_examples

    @property
    def steps_per_epoch(self):
        return self.source.size // self.batch_size

    def epoch(self, epoch):
        """The batches of epoch number `epoch` (from 0): a finite tf.data.Dataset."""
        batches = self.stream(epoch * self.steps_per_epoch).take(self.steps_per_epoch)
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps_per_epoch))

    def stream(self, first_step=0, context=None):
        """Batches without end, from step `first_step` (>= 0) of training on.

        Args:
            first_step: steps of training that are behind.
            context: the tf.distribute.InputContext of one host, to have its share alone: of every
                batch the rows of its replicas, in order, a replica's at a time. What belongs to
                other hosts is left out before it is decoded.
        """
        if first_step < 0:
            raise ValueError(f"first_step is {first_step}: the first step of training is 0")
        if self.service:
            return self._served(first_step, context)
        stream = self.examples(first_step)
        rows = self.batch_size
        if context is not None:
            stream = self._share(stream, context)
            rows //= context.num_replicas_in_sync
        stream = self._drawn(stream, rows)
        return stream.prefetch(tf.data.AUTOTUNE).with_options(_by_example())

    def examples(self, first_step=0):
        """The examples of `stream`, in its order, before their images are decoded."""
        return self._epochs(first_step, self._epoch)

    def _epochs(self, first_step, of_epoch):
        """One epoch after another from a step on, each `of_epoch(number, examples behind)`."""
        first_epoch, step = divmod(first_step, self.steps_per_epoch)
        return tf.data.Dataset.range(first_epoch, _EPOCHS).flat_map(
            lambda epoch: of_epoch(
                epoch, tf.where(epoch == first_epoch, tf.cast(step * self.batch_size, tf.int64), 0)
            )
        )

    def samples(self, count):
        """(originals, views a, views b) of the first examples of epoch 0, to look at.

        Lists of `count` images (or as many as there are), uint8 or float32 in 0..1; views
        [size, size, 3].
        """
        examples = tf.data.Dataset.range(1).flat_map(lambda epoch: self._epoch(epoch, 0))
        examples = examples.take(count)
        source = self.source
        with sources.clear_errors(source, lambda: examples):
            originals = [source.decode(source.read(x["image"])).numpy() for x in examples]
            batch = next(iter(examples.map(self._views).batch(count)))
        return originals, list(batch["view_a"].numpy()), list(batch["view_b"].numpy())

    def _epoch(self, epoch, first):
        """The examples of one epoch that fill its batches, from place `first` on.

        Traced by flat_map, never eager.
        """
        # tf.data mixes every shuffle's seed with the graph's, and cannot mix one that varies with
        # a graph seed of 0. In a traced function this sets the seed of that function alone.
        tf.random.set_seed(1)
        examples = self.source.examples(self._order(epoch), first)
        examples = examples.take(self.steps_per_epoch * self.batch_size - first)
        return self._taken(examples, epoch)

    def _served(self, first_step, context):
        """Batches of views that the workers of a tf.data service make."""
        if context is not None and context.num_input_pipelines > 1:
            raise ValueError(
                f"service is '{self.service}' on {context.num_input_pipelines} hosts: a tf.data "
                "service serves one host here; leave it out, as each host makes its own share"
            )

        def of_epoch(epoch, first):
            tf.random.set_seed(1)
            examples = self._taken(self.source.examples(self._order(epoch)), epoch)
            # Workers share an epoch out, so that what is behind can only be left out here.
            views = data_service.served(examples, self._views, self.service)
            return views.take(self.steps_per_epoch * self.batch_size).skip(first)

        rows = self.batch_size // (context.num_replicas_in_sync if context else 1)
        stream = self._epochs(first_step, of_epoch).batch(rows, drop_remainder=True)
        return stream.prefetch(tf.data.AUTOTUNE).with_options(_by_example())

    def _order(self, epoch):
        """The seed of an epoch's order."""
        return tf.bitwise.left_shift(tf.constant(self.seed, tf.int64), 32) + epoch

    def _taken(self, examples, epoch):
        return examples.map(
            lambda example: {**{key: example[key] for key in self.taken}, "epoch": epoch}
        )

    def _share(self, stream, context):
        """The rows of every batch that belong to the host of `context`."""
        hosts, host = context.num_input_pipelines, context.input_pipeline_id
        if hosts == 1:
            return stream
        rows = self.batch_size // hosts
        numbered = stream.enumerate().filter(
            lambda place, _: place % self.batch_size // rows == host
        )
        return numbered.map(lambda _, example: example)

    @property
    def _policies(self):
        """Of the views of an example, in order."""
        return (self.policy_a, self.policy_b)

    def _batch(self, views, examples):
        """What the model is given, of the views that `_policies` made."""
        others = {key: examples[key] for key in self.taken if key != "image"}
        return {"view_a": views[0], "view_b": views[1], **others}

    def _drawn(self, stream, rows):
        """Batches of `rows` examples with their views."""
        together = self._together()
        if together == 1:
            stream = stream.map(self._views, tf.data.AUTOTUNE, deterministic=True)
            return stream.batch(rows, drop_remainder=True)
        stream = stream.map(self._decoded, tf.data.AUTOTUNE, deterministic=True)
        stream = stream.batch(together, drop_remainder=True)
        stream = stream.map(self._views_together, tf.data.AUTOTUNE, deterministic=True)
        return stream.rebatch(rows, drop_remainder=True)

    def _together(self):
        """How many examples to make views of at once: many small ones, large ones alone."""
        if self.source.image_size is None or any(map(callable, self._policies)):
            return 1
        largest = max(math.prod(self.source.image_size), *(p.size**2 for p in self._policies))
        return max(1, min(_TOGETHER, _PIXELS_TOGETHER // largest))

    def _decoded(self, example):
        image = self.source.decode(self.source.read(example["image"]))
        return {**example, "image": tf.ensure_shape(image, [*self.source.image_size, 3])}

    def _views_together(self, examples):
        """The views of a batch of decoded images of one size."""
        images = tf.unstack(examples["image"])
        shapes = tf.repeat([self.source.image_size], len(images), axis=0)
        rows = augment.draws(self.seed, examples["epoch"], examples["index"])
        views = []
        for place, policy in enumerate(self._policies):
            boxes = tf.unstack(augment.crop_boxes(shapes, rows[:, place], policy))
            crops = [augment.part(image, box) for image, box in zip(images, boxes, strict=True)]
            views.append(augment.views(crops, rows[:, place], policy))
        return self._batch(views, examples)

    def _views(self, example):
        """The views of one example, of whose image only what they show is decoded."""
        image = self.source.read(example["image"])
        key = (self.seed, example["epoch"], example["index"])
        rows, seeds = augment.draws(*key), augment.seeds(*key)
        shape = self.source.shape(image)
        boxes = [_box(shape, rows[place], policy) for place, policy in enumerate(self._policies)]
        around = _around(boxes)
        image = self.source.crop(image, around)
        corner = tf.concat([around[:2], [0, 0]], 0)
        views = []
        for place, (box, policy) in enumerate(zip(boxes, self._policies, strict=True)):
            crop = augment.part(image, box - corner)
            if callable(policy):
                views.append(_own_view(policy, self.source, crop, seeds[place]))
            else:
                views.append(augment.views([crop], rows[place : place + 1], policy)[0])
        return self._batch(views, example)


def training_views(
    images,
    *,
    batch_size,
    policy=None,
    policy_b=None,
    seed=0,
    data_dir=None,
    on_error="raise",
    service=None,
):
    """The training stream of a collection of images.

    Args:
        images: one of
            an array, uint8, uint16 or float in 0..1, [N, H, W, C] (C in 1, 3, 4) or [N, H, W];
            a finite tf.data.Dataset of images, (image, label) pairs or {"image", ...}
            dictionaries, unbatched and unshuffled;
            the path of a folder of images, with or without a sub-folder per class, or of TFRecord
            files with "image/encoded" ("./pets", "gs://bucket/train-*.tfrecord"): str that begins
            with /, ./, ../ or ~ or has ://, or pathlib.Path;
            the name of a TFDS data set, such as "cifar10" (its train split);
            a `sogclr_tf.sources.Source`.
        batch_size: B, over all replicas; at least 2, at most the number of images.
        policy: how the first view is drawn and, unless `policy_b` is given, the second; one of
            a `sogclr_tf.augment.Policy`, by default SimCLR's for images of this size, without blur;
            the name of a method in `sogclr_tf.policies`, for both views of images of one size;
            a function (image, seed) -> view of TensorFlow's operations, where image is uint8, or
            float in 0..1, [H, W, 3], seed is int64 [2], for `tf.image.stateless_*`, and view is
            uint8 or float in 0..1 [h, w, 3], whose h and w are always the same.
        policy_b: of the second view, a `Policy` or a function.
        seed: int in [0, 2**31), of the order and of every random choice.
        data_dir: where TFDS keeps its data, if `images` is a name.
        on_error: what becomes of images that cannot be decoded: "raise" stops the training that
            comes to one, with its name; "skip" leaves them out, as `sogclr_tf.sources.readable`
            does, before the training.
        service: address of the dispatcher of a tf.data service, "grpc://host:port", whose workers
            are to make the views. They need to reach the images by the same paths. Views and
            indices stay what they are without it; the order in which they come, and which examples
            fill no batch, are then not the same in every run.

    Returns:
        `Views`.

    Raises:
        ValueError: an argument is out of range, or the images cannot be used.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is '{on_error}': expected raise or skip")
    source = _source(images, data_dir)
    if on_error == "skip":
        source = sources.readable(source)
    if batch_size != int(batch_size) or batch_size < 2:
        raise ValueError(
            f"batch_size is {batch_size}: expected a whole number >= 2, as an example "
            "needs another to contrast with"
        )
    if source.size < batch_size:
        raise ValueError(
            f"{source.name} has {source.size} examples, fewer than batch_size {batch_size}"
        )
    if seed != int(seed) or not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}: expected a whole number in [0, 2**31)")
    pair = _policies(policy, policy_b, source)
    if service:
        data_service.check_address(service)
    return Views(source, int(batch_size), *pair, int(seed), service or None)


def evaluation_set(source, size):
    """(tf.data.Dataset of float32 [size, size, 3] in 0..1, labels int32 [N] or None)."""
    images, labels = source.images_and_labels()
    resized = images.map(
        lambda image: augment.whole(image, size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return resized, labels


def evaluation_sample(source, size, count, seed=0):
    """As `evaluation_set`, of `count` examples drawn by `seed` (of all where there are fewer).

    What is left out is not decoded, nor read where the source can help it.
    """

    def drawn(_):
        tf.random.set_seed(1)
        return source.examples(tf.constant(seed, tf.int64)).take(count)

    examples = tf.data.Dataset.range(1).flat_map(drawn)
    images = examples.map(
        lambda example: augment.whole(source.decode(source.read(example["image"])), size),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if not source.labelled:
        return images, None
    labels = examples.map(lambda example: example["label"]).as_numpy_iterator()
    return images, np.fromiter(labels, np.int32)


def _policies(policy, policy_b, source):
    if isinstance(policy, str):
        if policy_b is not None:
            raise ValueError(
                f"policy '{policy}' stands for both views: leave policy_b out, or replace one of "
                "the two that sogclr_tf.policies.by_name gives"
            )
        return policies.by_name(policy, _side(source))
    policy = policy or augment.Policy(size=_side(source))
    pair = (policy, policy_b or policy)
    for one in pair:
        if callable(one):
            _check_function(one, source)
        elif not isinstance(one, augment.Policy):
            raise ValueError(
                f"policy is {one!r}: expected a sogclr_tf.augment.Policy, a name or a function "
                "(image, seed) -> view"
            )
    return pair


def _check_function(function, source):
    """Raises ValueError unless `function` makes views of one size of the images of `source`."""

    def view_of(example):
        # Not a constant seed: shapes that depend on it would look fixed.
        seed = tf.cast(tf.stack([example["index"]] * 2), tf.int64)
        return function(source.decode(source.read(example["image"])), seed)

    view = source.examples().map(view_of).element_spec
    shape = view.shape if isinstance(view, tf.TensorSpec) else None
    if shape is None or not shape.is_fully_defined() or shape.rank != 3 or shape[-1] != 3:
        raise ValueError(
            f"{_name(function)} gives {view}: expected one view [h, w, 3] of a size known "
            "beforehand (tf.ensure_shape states it)"
        )
    if not (view.dtype == tf.uint8 or view.dtype.is_floating):
        raise ValueError(
            f"{_name(function)} gives {view.dtype.name}: expected uint8 or float in 0..1"
        )


def _name(function):
    return getattr(function, "__name__", repr(function))


def _box(shape, row, policy):
    """The part of an image that a policy shows, int32 [4]; a function is given all of it."""
    if callable(policy):
        return tf.concat([[0, 0], shape], 0)
    return augment.crop_boxes(shape[tf.newaxis], row[tf.newaxis], policy)[0]


def _around(boxes):
    """The smallest box that holds all of `boxes`: int32 [4]."""
    boxes = tf.stack(boxes)
    start = tf.reduce_min(boxes[:, :2], axis=0)
    end = tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
    return tf.concat([start, end - start], 0)


def _own_view(function, source, image, seed):
    """A view by a user's function: uint8, or float32 in 0..1."""
    if source.image_size is not None:
        image = tf.ensure_shape(image, [*source.image_size, 3])
    view = function(image, seed)
    return view if view.dtype == tf.uint8 else tf.cast(view, tf.float32)


def _source(images, data_dir):
    named = isinstance(images, (str, os.PathLike))
    if named and not sources.is_path(images):
        return sources.from_name(images, data_dir=data_dir)
    if data_dir is not None:
        raise ValueError(f"data_dir '{data_dir}' is for the name of a TFDS set: leave it out")
    return sources.from_path(images) if named else sources.as_source(images)


def _by_example():
    """Where a strategy splits a stream by itself: by examples, as splitting files would reorder."""
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return options


def _side(source):
    """The side of the views of a source whose images all have one size."""
    if source.image_size is None:
        raise ValueError(
            f"images of {source.name} differ in size: say how large a view is to be, "
            "policy=sogclr_tf.augment.Policy(size=...)"
        )
    return min(source.image_size)
