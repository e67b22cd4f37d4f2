"""The steps of whatever is contrasted, and what they log."""

from typing import Any, Self

import keras
import tensorflow as tf

# The registry, so that Keras knows every loss that a saved model may have.
from sogclr_tf.losses import registry, replica  # noqa: F401
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import input_checks, replica_checks, virtual_batch
from sogclr_tf.models.metrics import FeatureStd, LogMeanExp
from sogclr_tf.models.stream_fit import TrainsOnStreams
from sogclr_tf.networks.image_format import check_channels_last
from sogclr_tf.training import strategy


class ContrastiveModel(TrainsOnStreams):
    """A Keras model of which a loss contrasts two sides of every batch.

    A subclass gives `batch_spec` (what its streams must be), `encode_batch`, `build_from` and,
    where one encoder takes both sides, `feature_sides`; where the host must prepare a stream,
    `prepare_dataset`.

    Args:
        loss: a `ContrastiveLoss`.
        chunks: parts in which a training step takes each replica's batch.
        **kwargs: as for `keras.Model`.

    Raises:
        TypeError: `loss` is no `ContrastiveLoss`.
        ValueError: `chunks` is no whole number from 1 on, Keras is set to images that are not
            channels_last, or another
            `MirroredStrategy` of this process has trained a model.
    """

    # The sides of the batch of which `encode_batch` gives features: "ab", of one encoder, or "a".
    feature_sides = "a"

    def __init__(self, loss: ContrastiveLoss, chunks: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(loss, ContrastiveLoss):
            raise TypeError(
                f"loss is {loss!r}: expected a loss such as sogclr_tf.{self.batch_spec.example}"
            )
        if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
            raise ValueError(f"chunks is {chunks!r}: expected a whole number >= 1")
        check_channels_last()
        replica_checks.check_only_strategy(self.distribute_strategy)
        # Not `loss`, which is what Keras's compile() sets.
        self.contrastive_loss = loss
        self.chunks = chunks
        self._means = [_mean_of(name) for name in ("loss", *loss.metric_names)]
        self._feature_std: FeatureStd | None = None

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

    def track_features(self, width: int) -> None:
        """Makes what watches the features of images, of which there are `width` each."""
        if self._feature_std is None:
            self._feature_std = FeatureStd(width)

    @property
    def metrics(self) -> list[keras.Metric]:
        """Means over an epoch: the loss, what is logged beside it, and `feature_std`."""
        return [*self._means, *filter(None, [self._feature_std])]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        batch = input_checks.unpack(data)
        found = self._gradient(batch) if self.chunks == 1 else virtual_batch.gradient(self, batch)
        # Else both would count a batch that turned out not to exist, at the end of the data.
        with tf.control_dependencies([found.logged["loss"]]):
            self.optimizer.apply_gradients(
                zip(found.by_weights, self.trainable_weights, strict=True)
            )
            self._trained_steps.assign_add(1)
        self.after_step(found.features, batch, training=True)
        return self._log(found.features, found.logged)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        batch = input_checks.unpack(data)
        features, a, b = self.encode_batch(batch, training=False)
        logged = self.contrast(a, b, self.index_of(batch), training=False)
        self.after_step(features, batch, training=False)
        return self._log(features, logged)

    def penalty(self) -> tf.Tensor:
        """The encoders' own losses at their last call, this replica's share: a float32 scalar."""
        return tf.add_n(self.losses or [tf.zeros(())]) / replica.count()

    def after_step(self, features: tf.Tensor, batch: dict[str, tf.Tensor], training: bool) -> None:
        """What else takes part in a step, after it: `features` are as `encode_batch` gave them."""

    def index_of(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """What the loss takes as the index of a batch: int [B]."""
        return batch["index"]

    def contrast(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool
    ) -> dict[str, tf.Tensor]:
        """{name: float32 scalar} of the loss and what is logged beside it, of raw projections."""
        loss, logged = self.contrastive_loss.loss_and_metrics(a, b, index, training=training)
        return {"loss": loss, **logged}

    def _gradient(self, batch):
        with tf.GradientTape() as tape:
            features, a, b = self.encode_batch(batch, training=True)
            # Before the exchange of projections, at which another replica may begin to encode: it
            # adds its losses to the same layers.
            penalty = self.penalty()
            logged = self.contrast(a, b, self.index_of(batch), training=True)
            total = self.optimizer.scale_loss(logged["loss"] + penalty)
        by_weights = tape.gradient(total, self.trainable_weights)
        return virtual_batch.Gradient(features, logged, by_weights)

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
        return {**keras.Model.get_config(self), **config, "chunks": self.chunks}

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
