"""Batches of views of a source's examples, in a new order each epoch."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import tensorflow as tf

from sogclr_tf.data import data_service, finishing, pixel_range
from sogclr_tf.data.autograph import as_it_stands
from sogclr_tf.data.chunks import mapped
from sogclr_tf.data.drawing import Drawer
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.readable import clear_errors

_EPOCHS = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stream:
    """What all training streams have in common.

    Everything is a function of (seed, epoch, index, view): the order of results, the number of
    threads and the step at which the stream starts change nothing. The last examples of an epoch
    that fill no batch are left out, others each time.

    A subclass gives `keys`, `view_keys`, `columns`, `policies` and `_batch`.

    Attributes:
        source: the examples.
        batch_size: B, over all replicas.
        seed: int in [0, 2**31).
        service: address of a tf.data service whose workers make the views; None for this process.
        finish: where views are finished: "host", or "device", as `finishing` says.
        keys: what a batch must hold.
        view_keys: which of these are views, in the order of `policies`.
    """

    source: Source
    batch_size: int
    seed: int = 0
    service: str | None = None
    finish: str = "host"

    keys: ClassVar[tuple[str, ...]] = ()
    view_keys: ClassVar[tuple[str, ...]] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What of an example of the source goes into a batch."""
        raise NotImplementedError(f"{type(self).__name__} must define columns")

    @property
    def policies(self) -> tuple[Policy | Callable, ...]:
        """How the views of an example are drawn, in order."""
        raise NotImplementedError(f"{type(self).__name__} must define policies")

    def _batch(self, views: list, examples: dict) -> dict:
        """What the model is given, of the views that `policies` made of one or of many examples."""
        raise NotImplementedError(f"{type(self).__name__} must define _batch")

    @property
    def num_examples(self) -> int:
        """Indices lie in [0, num_examples)."""
        return self.source.num_examples

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.source.size // self.batch_size

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """The batches of one epoch.

        Args:
            epoch: its number, from 0.

        Returns:
            A tf.data.Dataset of `steps_per_epoch` batches.
        """
        batches = self.stream(epoch * self.steps_per_epoch).take(self.steps_per_epoch)
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps_per_epoch))

    @as_it_stands
    def all_examples(self, epoch: int) -> tf.data.Dataset:
        """The views of epoch number `epoch` (from 0) of every example, each by itself, in order.

        Those that fill no batch of the epoch are among them: a finite tf.data.Dataset.
        """
        one_by_one = dataclasses.replace(self, batch_size=1)
        # What a subclass puts into batches beside the views is left out.
        stream = Stream.stream(one_by_one, epoch * self.source.size).unbatch()
        return stream.take(self.source.size)

    @as_it_stands
    def stream(
        self, first_step: int = 0, context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Batches without end, from step `first_step` (>= 0) of training on.

        Args:
            first_step: steps of training that are behind.
            context: the tf.distribute.InputContext of one host, to have its share alone: of every
                batch the rows of its replicas, in order, a replica's at a time. What belongs to
                other hosts is left out before it is decoded.

        Returns:
            A tf.data.Dataset of batches, dictionaries with `keys`; it does not end.

        Raises:
            ValueError: `first_step` is below 0.
        """
        if first_step < 0:
            raise ValueError(f"first_step is {first_step}: the first step of training is 0")
        rows = self.batch_size // (context.num_replicas_in_sync if context else 1)
        if self.service:
            stream = self._served(first_step, context).batch(rows, drop_remainder=True)
        else:
            examples = self.examples(first_step)
            if context is not None:
                examples = self._share(examples, context)
            stream = self._drawn(examples, rows)
        if any(callable(policy) for policy in self.policies):
            stream = stream.map(pixel_range.checked_batch)
        # tf.data cannot know, and a strategy would prepare for a last batch of unknown size.
        stream = stream.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return stream.prefetch(tf.data.AUTOTUNE).with_options(_by_example())

    @as_it_stands
    def examples(self, first_step: int = 0) -> tf.data.Dataset:
        """The examples of `stream`, in its order, before their images are decoded."""
        return self._epochs(first_step, self._epoch)

    @as_it_stands
    def samples(self, count: int) -> tuple[list, list, list]:
        """Images of the first examples of epoch 0, to look at: (originals, one view, another).

        Lists of `count` images (or as many as there are), uint8 or float32 in 0..1; views
        [height, width, 3].
        """
        examples = tf.data.Dataset.range(1).flat_map(lambda epoch: self._epoch(epoch, 0))
        examples = examples.take(count)
        source = self.source
        with clear_errors(source, lambda: examples):
            originals = list(examples.map(source.pixels).as_numpy_iterator())
            return originals, *self._two_views(examples, count)

    def _two_views(self, examples: tf.data.Dataset, count: int) -> tuple[list, list]:
        """Two views of each example, lists of arrays; the next epoch's where one has a single."""
        raise NotImplementedError(f"{type(self).__name__} must define _two_views")

    def _epochs(self, first_step: int, of_epoch: Callable) -> tf.data.Dataset:
        """One epoch after another from a step on, each `of_epoch(number, examples behind)`."""
        first_epoch, step = divmod(first_step, self.steps_per_epoch)
        return tf.data.Dataset.range(first_epoch, _EPOCHS).flat_map(
            lambda epoch: of_epoch(
                epoch, tf.where(epoch == first_epoch, tf.cast(step * self.batch_size, tf.int64), 0)
            )
        )

    def _epoch(self, epoch: tf.Tensor, first: Any) -> tf.data.Dataset:
        """The examples of one epoch that fill its batches, from place `first` on.

        Traced by flat_map, never eager.
        """
        # tf.data mixes every shuffle's seed with the graph's, and cannot mix one that varies with
        # a graph seed of 0. In a traced function this sets the seed of that function alone.
        tf.random.set_seed(1)
        examples = self.source.examples(self._order(epoch), first)
        examples = examples.take(self.steps_per_epoch * self.batch_size - first)
        return self._with_epoch(examples, epoch)

    def _served(
        self, first_step: int, context: tf.distribute.InputContext | None
    ) -> tf.data.Dataset:
        """Views that the workers of a tf.data service make, one example's at a time."""
        if context is not None and context.num_input_pipelines > 1:
            raise ValueError(
                f"service is '{self.service}' on {context.num_input_pipelines} hosts: a tf.data "
                "service serves one host here; leave it out, as each host makes its own share"
            )

        def of_epoch(epoch, first):
            tf.random.set_seed(1)
            examples = self._with_epoch(self.source.examples(self._order(epoch)), epoch)
            # Workers share an epoch out, so that what is behind can only be left out here.
            views = data_service.served(examples, self._views, self.service)
            return views.take(self.steps_per_epoch * self.batch_size).skip(first)

        return self._epochs(first_step, of_epoch)

    def _order(self, epoch: tf.Tensor) -> tf.Tensor:
        """The seed of an epoch's order."""
        return tf.bitwise.left_shift(tf.constant(self.seed, tf.int64), 32) + epoch

    def _with_epoch(self, examples: tf.data.Dataset, epoch: tf.Tensor) -> tf.data.Dataset:
        def with_epoch(examples):
            index = examples["index"]
            columns = {key: examples[key] for key in self.columns}
            return {**columns, "epoch": tf.fill(tf.shape(index), epoch)}

        return mapped(examples, with_epoch, self._drawer.together)

    def _share(
        self, examples: tf.data.Dataset, context: tf.distribute.InputContext
    ) -> tf.data.Dataset:
        """The rows of every batch that belong to the host of `context`."""
        hosts, host = context.num_input_pipelines, context.input_pipeline_id
        if hosts == 1:
            return examples
        rows = self.batch_size // hosts
        numbered = examples.enumerate().filter(
            lambda place, _: place % self.batch_size // rows == host
        )
        return numbered.map(lambda _, example: example)

    def _drawn(self, examples: tf.data.Dataset, rows: int) -> tf.data.Dataset:
        """Batches of `rows` examples with their views."""
        drawer = self._drawer
        if drawer.together == 1:
            stream = examples.map(self._views, tf.data.AUTOTUNE, deterministic=True)
            return stream.batch(rows, drop_remainder=True)
        image = examples.element_spec["image"]
        in_memory = isinstance(image, tf.TensorSpec) and image.dtype != tf.string
        if not in_memory:
            examples = examples.map(drawer.decoded, tf.data.AUTOTUNE, deterministic=True)

        def drawn(examples):
            decoded = drawer.decoded_together(examples) if in_memory else examples
            return self._with_changes(drawer.views_together(decoded), examples)

        stream = examples.batch(drawer.together, drop_remainder=True)
        stream = stream.map(drawn, tf.data.AUTOTUNE, deterministic=True)
        return stream.rebatch(rows, drop_remainder=True)

    def _views(self, example: dict) -> dict:
        return self._with_changes(self._drawer.views(example), example)

    def _with_changes(self, views: list, examples: dict) -> dict:
        batch = self._batch(views, examples)
        if self.finish == "device":
            keys = map(finishing.key_of, self.view_keys)
            batch.update(zip(keys, self._drawer.changes(examples), strict=True))
        return batch

    @property
    def _drawer(self) -> Drawer:
        return Drawer(self.source, self.policies, self.seed, finish=self.finish == "host")


def _by_example() -> tf.data.Options:
    """Where a strategy splits a stream by itself: by examples, as splitting files would reorder."""
    # Without a warm start, after which TensorFlow 2.21 may wait forever as an iterator is let go.
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.DATA
    options.experimental_distribute.auto_shard_policy = policy
    return options
