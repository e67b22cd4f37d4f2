"""Training of whatever is contrasted: the steps, `fit` and what it logs."""

import contextlib
from typing import Any, Self

import keras
import tensorflow as tf

from sogclr_tf.data.sources.readable import clear_errors
from sogclr_tf.data.stream import Stream

# The registry, so that Keras knows every loss that a saved model may have.
from sogclr_tf.losses import registry, replica  # noqa: F401
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import arguments, input_checks, keras_hooks, own_batches
from sogclr_tf.models.metrics import FeatureStd, LogMeanExp
from sogclr_tf.training import strategy
from sogclr_tf.training.callbacks import Progress, StopAtNonFiniteLoss, WarnOfCollapse

# Batches that a stream may have run ahead of the training, and more.
_AHEAD = 100


class ContrastiveModel(keras_hooks.BuildsItself):
    """A Keras model of which a loss contrasts two sides of every batch.

    A subclass gives `batch_spec` (what its streams must be), `encode_batch`, `build_from` and,
    where the host must prepare a stream, `prepare_dataset`.

    Args:
        loss: a `ContrastiveLoss`.
        **kwargs: as for `keras.Model`.

    Raises:
        TypeError: `loss` is no `ContrastiveLoss`.
    """

    batch_spec: input_checks.BatchSpec = None  # type: ignore[assignment]

    def __init__(self, loss: ContrastiveLoss, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(loss, ContrastiveLoss):
            raise TypeError(
                f"loss is {loss!r}: expected a loss such as sogclr_tf.{self.batch_spec.example}"
            )
        # Not `loss`, which is what Keras's compile() sets.
        self.contrastive_loss = loss
        self._means = [_mean_of(name) for name in ("loss", *loss.metric_names)]
        self._feature_std: FeatureStd | None = None
        # Not the optimizer's count, which passes over steps whose float16 gradients overflow: this
        # one says which batch comes next.
        self._trained_steps = self.add_weight(
            name="trained_steps",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def encode_batch(
        self, batch: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """(features, a, b) of a batch.

        features: float [n, C] of its images, from which the projections were made, to be watched.
        a, b: float [B, D] each, the raw projections that the loss compares.
        """
        raise NotImplementedError(f"{type(self).__name__} must define encode_batch")

    def sides(
        self, batch: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """(a, b), float [B, D] each: the raw projections that the loss compares."""
        _, a, b = self.encode_batch(batch, training=training)
        return a, b

    def build_from(self, elements: dict[str, Any]) -> None:
        """Makes all weights that do not exist yet, for batches of these specs or arrays.

        Raises:
            ValueError: the model was built for elements of another shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define build_from")

    def prepare_dataset(self, stream: tf.data.Dataset | dict) -> tf.data.Dataset | dict:
        """A tf.data.Dataset or a dictionary of arrays, made ready for the step."""
        return stream

    def track_features(self, width: int) -> None:
        """Makes what watches the features of images, of which there are `width` each."""
        self._feature_std = FeatureStd(width)

    @property
    def metrics(self) -> list[keras.Metric]:
        """Means over an epoch: the loss, what is logged beside it, and `feature_std`."""
        return [*self._means, *filter(None, [self._feature_std])]

    @property
    def trained_steps(self) -> int:
        """Training steps so far, an int: batches of the stream that are behind."""
        return int(keras.ops.convert_to_numpy(self._trained_steps))

    def fit(
        self, x: Any = None, y: None = None, *, initial_step: int | None = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Keras's `fit` on a training stream, checked before the first step.

        Args:
            x: what `sogclr_tf.training_views` (for two towers `training_pairs`) makes, or a
                tf.data.Dataset or a dictionary of arrays that follows the contract of
                `sogclr_tf.data.views` (`sogclr_tf.data.image_text`). The former bring their own
                steps per epoch, each epoch in a new order; `initial_epoch` starts them there.
                Arrays are shuffled each epoch from Keras's global seed, unless `shuffle=False`.
            y: none; contrastive learning has no targets.
            initial_step: steps of training that are behind, in place of `initial_epoch`, such as
                `Checkpoints.restore()` returns. They go on at the very next batch; the epoch
                that it falls into shows the steps it had, and ends with the means of all of them.
            **kwargs: as for `keras.Model.fit`; `validation_data` is of the same kinds as x.
                `batch_size` and `shuffle` are for arrays. Training stops with FloatingPointError
                at a loss that is not finite.

        Raises:
            ValueError: x does not follow the contract, or does not fit the model or its strategy; a
                float image of it lies outside 0..1; a batch holds 1 example, or does not divide
                into the replicas; an argument is unknown, or has no meaning here (`sample_weight`,
                `class_weight`, `validation_split`) or beside x; `steps_per_execution` does not
                divide an epoch, or is above 1 where it cannot be.
        """
        if y is not None:
            raise ValueError("y was given: contrastive learning has no targets, pass views alone")
        input_checks.check_stream(
            x, self.batch_spec, self.contrastive_loss, self.distribute_strategy
        )
        arguments.check_fit(x, kwargs, self._replicas)
        input_checks.check_initial_step(initial_step, x, kwargs)
        first_step = taken = 0
        if isinstance(x, Stream):
            steps = kwargs.setdefault("steps_per_epoch", x.steps_per_epoch)
            first_step = initial_step or kwargs.get("initial_epoch", 0) * steps
            kwargs["initial_epoch"], taken = divmod(first_step, steps)
        input_checks.check_execution(
            kwargs.get("steps_per_epoch"), taken, self.steps_per_execution, self.distribute_strategy
        )
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = self._held_out(kwargs["validation_data"])
        images = self._named_images(x, first_step)
        x = self._prepare(x, first_step)
        callbacks = kwargs.pop("callbacks", None) or []
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            # First, so that nothing is saved after the step that spoilt the weights; the bar last,
            # so that it shows what the others have added.
            callbacks = [StopAtNonFiniteLoss(), *_as_list(callbacks), WarnOfCollapse()]
            if kwargs.get("verbose", "auto"):
                callbacks.append(Progress())
        # Keras shuffles arrays; that of streams is their own, and it warns if left to try.
        with images, input_checks.clear_errors(), keras_hooks.passing_over(self, taken):
            return super().fit(x, callbacks=callbacks, **{"shuffle": isinstance(x, dict), **kwargs})

    def _named_images(self, x: Any, first_step: int) -> contextlib.AbstractContextManager:
        """A context in which an image that cannot be decoded is named."""
        if not isinstance(x, Stream):
            return contextlib.nullcontext()
        trained = self.trained_steps

        def ahead():
            step = first_step + self.trained_steps - trained
            return x.examples(step).take(_AHEAD * x.batch_size)

        return clear_errors(x.source, ahead)

    def _prepare(self, x: Any, first_step: int) -> Any:
        """What Keras is to iterate over: guarded, and a share of it on every host."""
        own = isinstance(x, Stream)
        batches = x.stream(first_step) if own else own_batches.checked(x, self._replicas)
        stream = self.prepare_dataset(batches)
        if not isinstance(stream, tf.data.Dataset):
            self.build_from(stream)
            return stream
        self.build_from(input_checks.unpack(stream.element_spec))
        replicated = self.distribute_strategy
        if own and replicated.num_replicas_in_sync > 1:
            return replicated.distribute_datasets_from_function(
                lambda context: input_checks.guard_indices(
                    self.prepare_dataset(x.stream(first_step, context)), self.contrastive_loss
                )
            )
        return input_checks.guard_indices(stream, self.contrastive_loss)

    def _held_out(self, x: Any) -> tf.data.Dataset | dict:
        """Data to evaluate on, of any kind that `fit` takes."""
        input_checks.check_stream(x, self.batch_spec, None, self.distribute_strategy)
        if isinstance(x, Stream):
            return self.prepare_dataset(x.epoch(0))
        return self.prepare_dataset(own_batches.checked(x, self._replicas))

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
            arguments.check_evaluate(x, y, kwargs, self._replicas)
            x = self._held_out(x)
        with input_checks.clear_errors():
            return super().evaluate(x, y, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Keras's `predict`; a float image outside 0..1 raises ValueError."""
        with input_checks.clear_errors():
            return super().predict(own_batches.checked_images(x), *args, **kwargs)

    @property
    def _replicas(self) -> int:
        return self.distribute_strategy.num_replicas_in_sync

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        batch = input_checks.unpack(data)
        with tf.GradientTape() as tape:
            features, logged = self._contrast(batch, training=True)
            total = self.optimizer.scale_loss(logged["loss"] + self._penalty())
        weights = self.trainable_weights
        gradients = tape.gradient(total, weights)
        # Else both would count a batch that turned out not to exist, at the end of the data.
        with tf.control_dependencies([total]):
            self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
            self._trained_steps.assign_add(1)
        self.after_step(features, batch, training=True)
        return self._log(features, logged)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        batch = input_checks.unpack(data)
        features, logged = self._contrast(batch, training=False)
        self.after_step(features, batch, training=False)
        return self._log(features, logged)

    def after_step(self, features: tf.Tensor, batch: dict[str, tf.Tensor], training: bool) -> None:
        """What else takes part in a step, after it: `features` are as `encode_batch` gave them."""

    def _contrast(self, batch, training):
        """(features of the images, {name: float32 scalar} of the loss and what is read beside)."""
        features, a, b = self.encode_batch(batch, training=training)
        loss, logged = self.contrastive_loss.loss_and_metrics(
            a, b, batch["index"], training=training
        )
        return features, {"loss": loss, **logged}

    def _penalty(self):
        """The encoders' own regularization losses; this replica's share of them."""
        return tf.add_n(self.losses) / replica.count() if self.losses else 0.0

    def _log(self, features, logged):
        for mean in self._means:
            mean.update_state(logged[mean.name])
        self._feature_std.update_state(features)
        logs = self.get_metrics_result()
        if strategy.spans_workers(self.distribute_strategy):
            # Keras averages the logs of several workers over their first axis, so they need one.
            return {name: tf.reshape(value, [1]) for name, value in logs.items()}
        return logs

    def _config_of(self, **parts):
        """`get_config` of a model that is made of these parts and the loss."""
        parts["loss"] = self.contrastive_loss
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**keras.Model.get_config(self), **config}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        parts = {
            name: keras.saving.deserialize_keras_object(part, custom_objects)
            for name, part in config.items()
            if name == "loss" or name.endswith(("encoder", "projector", "probe"))
        }
        return cls(**{**config, **parts})


def _mean_of(name: str) -> keras.Metric:
    """The metric that averages what a loss logs under `name`."""
    return LogMeanExp(name) if name == "uniformity" else keras.metrics.Mean(name)


def _as_list(callbacks: Any) -> list[keras.callbacks.Callback]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
