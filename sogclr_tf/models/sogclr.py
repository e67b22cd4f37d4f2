"""The Keras model that learns an encoder by contrasting views."""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.data import augment
from sogclr_tf.data.finishing import finished_views
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import encoder_checks, input_checks, unit_range, virtual_batch
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.online_probe import OnlineProbe
from sogclr_tf.networks.projection_head import projection_head
from sogclr_tf.training.averaged_weights import averages_weights, reading_averages


@keras.saving.register_keras_serializable(package="sogclr_tf")
class SogCLR(ContrastiveModel):
    """An encoder, a projector and a contrastive loss, trained by `fit`.

    Calling the model gives the encoder's features; the projector serves training alone. The
    loss's table is one of the model's weights, so `save_weights`, `tf.train.Checkpoint` and
    `.keras` files keep it. Under a `tf.distribute` strategy, build the model in its scope.

    Args:
        encoder: any Keras model from images [B, H, W, C] in 0..1 to features [B, C].
        loss: a loss, such as `GlobalContrastiveLoss` or `NTXentLoss`.
        projector: a Keras layer or model from features [B, C] to projections [B, D]; None for
            `projection_head(C)`, SimCLR's two layers to 128.
        probe: `sogclr_tf.OnlineProbe`, a linear classifier that learns beside the encoder without
            changing it; None for none. Its batches have "label" int [B], those of both views; or,
            where other images have the labels, "probe_image" uint8 or float in 0..1 [P, H, W, C]
            and "probe_label" int [P]. A negative label is none.
        encoder_range: the largest value of the pixels that `encoder` was made for: 255 for many of
            `keras.applications`, which rescale by themselves, or 1. By default 1, unless the first
            layers tell of 255, which raises. With 255 the model's `.encoder` is one that multiplies
            by 255 first, so that it takes 0..1 in every evaluation and export; `encoder` is its
            last layer, `model.encoder.layers[-1]`.
        chunks: parts in which a training step takes each replica's batch, one after another, to
            hold the activations of one part at a time: a virtual batch. The loss is that of the
            whole global batch, and so is its gradient; it costs one more forward pass. Batch
            normalization takes the statistics of a part (over all replicas, where synchronized),
            and its moving ones take in each part once; a part never holds both views of an example.
            The batch of a replica must divide.
        name: of the model.

    Raises:
        TypeError: `loss` is no `ContrastiveLoss`.
        ValueError: the encoder takes more than images, its output is not [B, C], or it expects
            pixels in 0..255 and `encoder_range` does not say so; as for `ContrastiveModel`.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.random.default_rng(0).integers(0, 256, [64, 16, 16, 3], np.uint8)
        >>> views = sogclr_tf.training_views(images, batch_size=32)
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples=64))
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> history = model.fit(views, epochs=2, verbose=0).history
        >>> sorted(history)[:2]
        ['alignment', 'contrast_accuracy']
        >>> model.predict(images, verbose=0).shape  # features
        (64, 8)
    """

    batch_spec = input_checks.VIEWS
    feature_sides = "ab"

    def __init__(
        self,
        encoder: keras.Model,
        loss: ContrastiveLoss,
        projector: keras.layers.Layer | None = None,
        probe: OnlineProbe | None = None,
        encoder_range: int | None = None,
        chunks: int = 1,
        name: str = "sogclr",
        **kwargs: Any,
    ) -> None:
        super().__init__(loss, chunks, name=name, **kwargs)
        encoder_checks.check_one_tensor(encoder)
        self.encoder = unit_range.in_unit_range(encoder, encoder_range)
        self.encoder_range = encoder_range
        self.projector: keras.layers.Layer = projector
        self.probe = probe
        if self.encoder.built and hasattr(self.encoder, "input_shape"):
            self.build(self.encoder.input_shape)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes all weights, for images of `input_shape` (batch, height, width, channels)."""
        features = encoder_checks.features_of(self.encoder, keras.KerasTensor(tuple(input_shape)))
        self.encoder_range = unit_range.settled_range(self.encoder, self.encoder_range)
        if self.projector is None:
            self.projector = projection_head(features)
        elif not self.projector.built:
            self.projector.build((None, features))
        self.track_features(features)
        if self.probe is not None and not self.probe.built:
            self.probe.build((None, features))
        self.built = True

    @property
    def metrics(self) -> list[keras.Metric]:
        return [*super().metrics, *([self.probe.accuracy] if self.probe else [])]

    def build_from(self, elements: dict[str, Any]) -> None:
        input_checks.check_encoder("view_a", elements["view_a"].shape, self.encoder)
        if self.probe is not None:
            input_checks.check_labels(elements)
        if not self.built:
            self.build(elements["view_a"].shape)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Features float32 [B, C] of images uint8, or float in 0..1, [B, H, W, C]."""
        return self.encoder(augment.as_float(images), training=training)

    def project(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Projections [B, D] of images: what the loss compares, before normalization."""
        return self.projector(self(images, training=training), training=training)

    def encode_batch(
        self, batch: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        (features,) = self._features_of_both(batch, training=training)
        return features, *tf.split(self.projector(features, training=training), 2)

    def _features_of_both(self, batch, training=False):
        """One tensor: those of the views a, then those of the views b."""
        views = finished_views(batch, [*self.batch_spec.checks])
        return [self(views, training=training)]

    def after_step(self, features: tf.Tensor, batch: dict[str, tf.Tensor], training: bool) -> None:
        if self.probe is None:
            return
        work = self.probe.learn if training else self.probe.score
        # In training it learns what it is exported with, and held-out images are classified by.
        averaged = training and averages_weights(self.optimizer)
        reading = reading_averages(self.optimizer) if averaged else contextlib.nullcontext()
        if "probe_image" in batch:
            with reading:
                features = self(batch["probe_image"])
            work(features, batch["probe_label"])
        elif "label" in batch:
            if averaged:
                with reading:
                    (features,) = virtual_batch.in_parts(
                        self, batch, self._features_of_both, ["ab"]
                    )
            work(features, tf.tile(batch["label"], [2]))

    def get_config(self) -> dict[str, Any]:
        encoder = unit_range.own_encoder(self.encoder, self.encoder_range)
        config = self._config_of(encoder=encoder, projector=self.projector, probe=self.probe)
        return {**config, "encoder_range": self.encoder_range}
