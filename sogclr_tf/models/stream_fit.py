"""`fit` and `evaluate` on training streams."""

import functools
import logging
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.data.sources.readable import clear_errors
from sogclr_tf.data.stream import Stream
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import (
    arguments,
    batch_norm,
    caption_checks,
    chunk_checks,
    examples_check,
    input_checks,
    keras_hooks,
    own_batches,
    replica_checks,
)
from sogclr_tf.models.division import Division
from sogclr_tf.models.stream_start import StreamStart
from sogclr_tf.models.training_memory import RemembersTraining
from sogclr_tf.training.averaged_weights import averages_weights
from sogclr_tf.training.callbacks import in_order, swapped_in

_LOG = logging.getLogger("sogclr_tf")
# Batches that a stream may have run ahead of the training, and more.
_AHEAD = 100


class TrainsOnStreams(RemembersTraining):
    """A Keras model that is trained on streams, and goes on in them where it stands.

    A subclass gives `batch_spec` (what its streams must be), `contrastive_loss`, `chunks` (parts in
    which a step takes a batch), `build_from` and, where the host must prepare a stream,
    `prepare_dataset`. Its step counts itself in
    `_trained_steps`.
    """

    batch_spec: input_checks.BatchSpec = None  # type: ignore[assignment]
    contrastive_loss: ContrastiveLoss
    chunks: int

    def build_from(self, elements: dict[str, Any]) -> None:
        """Makes all weights that do not exist yet, for batches of these specs or arrays.

        Raises:
            ValueError: the model was built for elements of another shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define build_from")

    def prepare_dataset(self, stream: tf.data.Dataset | dict) -> tf.data.Dataset | dict:
        """A tf.data.Dataset or a dictionary of arrays, made ready for the step."""
        return stream

    def fit(
        self, x: Any = None, y: None = None, *, initial_step: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Keras's `fit` on a training stream, checked before the first step.

        Args:
            x: what `sogclr_tf.training_views` (for two towers `training_pairs`) makes, or a
                tf.data.Dataset or a dictionary of arrays that follows the contract of
                `sogclr_tf.data.views` (`sogclr_tf.data.image_text`). The former bring their own
                steps per epoch, each epoch in a new order. They go on where the training of this
                model stands, whatever restored it: several calls see what one would have seen, and
                batches of another size go on in the same epoch. An epoch that was begun is
                finished first, and ends with the means of all its steps. Arrays are shuffled each
                epoch from Keras's global seed, unless `shuffle=False`.
            y: none; contrastive learning has no targets.
            initial_step: to begin at this step of training in place of where the model stands;
                `epochs` is then the number of the last, as it is with Keras's `initial_epoch`,
                which begins at an epoch. The model's own count of steps, such as
                `Checkpoints.restore()` returns, is where it stands.
            **kwargs: as for `keras.Model.fit`; `validation_data` is of the same kinds as x.
                `batch_size` and `shuffle` are for arrays. Training stops with FloatingPointError
                at a loss that is not finite.

        Raises:
            ValueError: x does not follow the contract, or does not fit the model or its strategy;
                the loss's table belongs to the examples of another stream; a float image lies
                outside 0..1; a batch holds 1 example, or does not divide into the replicas
                and chunks; the encoder draws at random what chunks could not draw again; an
                argument is unknown, or has no meaning here (`sample_weight`, `class_weight`,
                `validation_split`) or beside x; `steps_per_execution` does not divide an epoch, or
                is above 1 where it cannot be; gradients are to be accumulated on several replicas
                or mirrored variables, or for a loss that takes steps of its own; or another
                `MirroredStrategy` of this process has trained before.
        """
        keras_hooks.forget_backed_up_epoch(self)
        if y is not None:
            raise ValueError("y was given: contrastive learning has no targets, pass views alone")
        if isinstance(x, Stream):
            # Before the number of examples is compared, because this names one that differs.
            examples_check.check(self, x.source)
        input_checks.check_stream(x, self.batch_spec, self.contrastive_loss, self._division)
        arguments.check_fit(x, kwargs, self._division)
        input_checks.check_initial_step(initial_step, x, kwargs)
        replica_checks.check_own_losses(self, self.distribute_strategy)
        replica_checks.warn_of_batch_norm(self, self.distribute_strategy)
        chunk_checks.warn_of_batch_norm(self)
        _, accumulated = keras_hooks.accumulated_batches(self.optimizer)
        replica_checks.check_accumulation(accumulated, self.distribute_strategy)
        self.contrastive_loss.check_accumulation(accumulated)
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self._held_out(kwargs["validation_data"])
        if not isinstance(x, Stream):
            input_checks.check_execution(
                kwargs.get("steps_per_epoch"),
                0,
                self.steps_per_execution,
                self.distribute_strategy,
            )
            self.stream_position = self.stream_position.at_rest(self.trained_steps)
            return self._fit(self._prepare(x), kwargs)
        prepare = functools.partial(self._prepare_stream, x)
        start = StreamStart(self, x, prepare, initial_step, kwargs)
        with start, clear_errors(x.source, functools.partial(self._ahead, x)):
            return self._fit(start.data, kwargs, start)

    def _ahead(self, stream: Stream) -> tf.data.Dataset:
        """The examples that come next, among which is one that could not be read."""
        step = self.stream_position.step_of(stream, self.trained_steps)
        return stream.examples(step).take(_AHEAD * stream.batch_size)

    def _fit(
        self, x: Any, options: dict[str, Any], *last: keras.callbacks.Callback
    ) -> keras.callbacks.History:
        """Keras's `fit` with the callbacks of every training, the `last` behind all others."""
        callbacks = options.pop("callbacks", None)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            for callback in last:
                callbacks.callbacks.append(callback)
        else:
            callbacks = in_order(callbacks, progress=bool(options.get("verbose", "auto")))
            callbacks += last
        replica_checks.check_only_strategy(self.distribute_strategy, trains=True)
        self.averaged_step = None
        self.averages_are_swapped_in = functools.partial(swapped_in, callbacks)
        # Keras shuffles arrays; that of streams is their own, and it warns if left to try.
        with input_checks.clear_errors():
            history = super().fit(
                x, callbacks=callbacks, **{"shuffle": isinstance(x, dict), **options}
            )
        if averages_weights(self.optimizer):
            self.averaged_step = self.trained_steps
        batch_norm.warn_of_averages(self, self.trained_steps)
        _warn_of_accumulated(self.optimizer)
        self.averages_are_swapped_in = bool
        return history

    def _prepare(self, x: Any) -> Any:
        """Data of the caller's own: what Keras is to iterate over."""
        data = self.prepare_dataset(own_batches.checked(x, self._division))
        self._check_endless(data)
        if not isinstance(data, tf.data.Dataset):
            self._build_from(data)
            return data
        self._build_from(input_checks.unpack(data.element_spec))
        data = input_checks.guard_indices(data, self.contrastive_loss)
        return caption_checks.guard_negatives(data, self.contrastive_loss)

    def _prepare_stream(self, x: Stream, first_step: int) -> Any:
        """A stream of ours from a step on, guarded, and a share of it on every host."""
        stream = self.prepare_dataset(x.stream(first_step))
        self._build_from(input_checks.unpack(stream.element_spec))  # type: ignore[union-attr]
        replicated = self.distribute_strategy
        if replicated.num_replicas_in_sync == 1:
            return input_checks.guard_indices(stream, self.contrastive_loss)
        return replicated.distribute_datasets_from_function(
            lambda context: input_checks.guard_indices(
                self.prepare_dataset(x.stream(first_step, context)), self.contrastive_loss
            )
        )

    def _build_from(self, elements: dict[str, Any]) -> None:
        self.build_from(elements)
        if self.chunks > 1:
            chunk_checks.check_replayable(self, elements)

    def _held_out(self, x: Any) -> tf.data.Dataset | dict:
        """Data to evaluate on, of any kind that `fit` takes."""
        division = Division(self._replicas)
        input_checks.check_stream(x, self.batch_spec, None, division)
        data = x.epoch(0) if isinstance(x, Stream) else own_batches.checked(x, division)
        self._check_endless(data)
        return self.prepare_dataset(data)

    def evaluate(
        self, x: Any = None, y: None = None, **kwargs: Any
    ) -> list[float] | dict[str, float]:
        """Loss and what else is logged on a stream, in inference mode; the table is left alone.

        Every example counts as seen for the first time, as for images held out of training.

        Args:
            x: as for `fit`.
            y: none.
            **kwargs: as for `keras.Model.evaluate`.

        Raises:
            ValueError: x does not follow the contract or does not fit the model, or an argument
                means nothing beside it.
        """
        if not keras_hooks.is_validation(kwargs):
            arguments.check_evaluate(x, y, kwargs, Division(self._replicas))
            x = self._held_out(x)
        with input_checks.clear_errors():
            return super().evaluate(x, y, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras's `predict`; a float image outside 0..1 raises ValueError."""
        with input_checks.clear_errors():
            return super().predict(own_batches.checked_images(x), *args, **kwargs)

    def _check_endless(self, data: tf.data.Dataset | dict) -> None:
        steps = self.steps_per_execution
        replica_checks.check_endless(data, steps, self.distribute_strategy)

    @property
    def _division(self) -> Division:
        return Division(self._replicas, self.chunks)

    @property
    def _replicas(self) -> int:
        return self.distribute_strategy.num_replicas_in_sync


def _warn_of_accumulated(optimizer: keras.optimizers.Optimizer) -> None:
    """Says that a fit ended between two updates of the weights."""
    waiting, batches = keras_hooks.accumulated_batches(optimizer)
    if waiting:
        _LOG.warning(
            "fit ended with the gradients of %d batches accumulated, of the %d that make an "
            "update: the next fit of this model goes on with them, without one they are lost",
            waiting,
            batches,
        )
