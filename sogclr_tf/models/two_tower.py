"""The Keras model that learns an image encoder and a text encoder by contrasting pairs."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.data import augment
from sogclr_tf.data.finishing import finished_view
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import caption_checks, encoder_checks, input_checks, unit_range
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.networks.projection_head import linear_projector


@keras.saving.register_keras_serializable(package="sogclr_tf")
class TwoTowerSogCLR(ContrastiveModel):
    """Two encoders, a projection of each and a loss between them, trained by `fit`.

        text_encoder = TextEncoder(sogclr_tf.vocabulary(captions))
        loss = TwoWayGlobalContrastiveLoss(num_examples=len(images))
        model = TwoTowerSogCLR(image_encoder, text_encoder, loss)
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
        model.fit(sogclr_tf.training_pairs(images, captions, batch_size=32), epochs=100)

    A temperature that the loss learns is one of the model's weights, as its tables are. Texts may
    be strings: `fit` has them tokenized in tf.data, on the host, so that the step is one of token
    ids, which every accelerator knows. Batches with a "caption_index" are of images with several
    captions, for a loss with `num_captions` or one without a table. Under a `tf.distribute`
    strategy, build the model in its scope.

    Args:
        image_encoder: any Keras model from images [B, H, W, C] in 0..1 to features [B, C].
        text_encoder: `sogclr_tf.TextEncoder`, or any Keras model from token ids int [B, L] to
            features [B, C]. For texts that are strings it needs a method `tokenize`, from strings
            [B] to token ids; where that reads a lookup table, the layer that holds it is its
            attribute `vectorization`, so that an export can take it along.
        loss: a loss, such as `TwoWayGlobalContrastiveLoss` or `CLIPLoss`.
        image_projector: a Keras layer or model from image features to projections [B, D]; None for
            a linear map to 128 without bias, as CLIP's.
        text_projector: likewise from text features, to the same D.
        encoder_range: the largest value of the pixels that `image_encoder` was made for, 255 or 1,
            as for `SogCLR`; 255 puts a multiplication before it, in `model.image_encoder`.
        chunks: parts in which a training step takes each replica's batch, as for `SogCLR`.
        name: of the model.

    Raises:
        TypeError: `loss` is no `ContrastiveLoss`.
        ValueError: an encoder takes more than one tensor, its output is not [B, C], or it expects
            pixels in 0..255 and `encoder_range` does not say so; the projections differ in width;
            or as for `ContrastiveModel`.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.random.default_rng(0).integers(0, 256, [32, 16, 16, 3], np.uint8)
        >>> texts = ["a cat", "a dog"] * 16
        >>> pairs = sogclr_tf.training_pairs(images, texts, batch_size=16)
        >>> image_encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> text_encoder = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(texts), length=4, width=16)
        >>> loss = sogclr_tf.TwoWayGlobalContrastiveLoss(num_examples=32)
        >>> model = sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, loss)
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> history = model.fit(pairs, epochs=1, verbose=0)
        >>> model.embed_texts(["a cat"]).shape
        TensorShape([1, 128])
    """

    batch_spec = input_checks.PAIRS

    def __init__(
        self,
        image_encoder: keras.Model,
        text_encoder: keras.Model,
        loss: ContrastiveLoss,
        image_projector: keras.layers.Layer | None = None,
        text_projector: keras.layers.Layer | None = None,
        encoder_range: int | None = None,
        chunks: int = 1,
        name: str = "two_tower",
        **kwargs: Any,
    ) -> None:
        super().__init__(loss, chunks, name=name, **kwargs)
        encoder_checks.check_one_tensor(image_encoder)
        encoder_checks.check_one_tensor(text_encoder, "token ids")
        self.image_encoder = unit_range.in_unit_range(image_encoder, encoder_range)
        self.encoder_range = encoder_range
        self.text_encoder = text_encoder
        self.image_projector = image_projector or linear_projector(name="image_projector")
        self.text_projector = text_projector or linear_projector(name="text_projector")
        shapes: list[Any] = [
            getattr(encoder, "input_shape", None) if encoder.built else None
            for encoder in (self.image_encoder, text_encoder)
        ]
        if None not in shapes:
            self.build(*shapes)

    def build(
        self, image_shape: tuple[int | None, ...], text_shape: tuple[int | None, ...]
    ) -> None:
        """Makes all weights, for images [B, H, W, C] and token ids [B, L] of these shapes."""
        widths = []
        for encoder, projector, shape, dtype in (
            (self.image_encoder, self.image_projector, image_shape, "float32"),
            (self.text_encoder, self.text_projector, text_shape, "int32"),
        ):
            features = encoder_checks.features_of(encoder, keras.KerasTensor(tuple(shape), dtype))
            if encoder is self.image_encoder:
                self.track_features(features)
            if not projector.built:
                projector.build((None, features))
            widths.append(projector.compute_output_shape((None, features))[-1])
        if widths[0] != widths[1]:
            raise ValueError(
                f"projections of images are {widths[0]} wide, of texts {widths[1]}: give both "
                "projectors the same output"
            )
        self.encoder_range = unit_range.settled_range(self.image_encoder, self.encoder_range)
        self.built = True

    def build_from(self, elements: dict[str, Any]) -> None:
        input_checks.check_encoder("image", elements["image"].shape, self.image_encoder)
        input_checks.check_encoder("text", elements["text"].shape, self.text_encoder)
        if not self.built:
            self.build(elements["image"].shape, elements["text"].shape)

    def prepare_dataset(self, stream: tf.data.Dataset | dict) -> tf.data.Dataset | dict:
        """The stream with token ids where it has strings."""
        if isinstance(stream, tf.data.Dataset):
            if input_checks.unpack(stream.element_spec)["text"].dtype != tf.string:
                return stream
            return stream.map(
                lambda *parts: self._tokenized(input_checks.unpack(parts)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            ).prefetch(tf.data.AUTOTUNE)
        if tf.as_dtype(stream["text"].dtype) == tf.string:
            return self._tokenized(stream)
        return stream

    def _tokenized(self, elements: dict[str, Any]) -> dict[str, Any]:
        return {**elements, "text": self.tokenize(elements["text"])}

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.Tensor:
        """Token ids int [B, L] of strings [B], as the text encoder's own `tokenize` has them.

        Raises:
            ValueError: the text encoder has none.
        """
        if not hasattr(self.text_encoder, "tokenize"):
            raise ValueError(
                f"the text encoder '{self.text_encoder.name}' has no tokenize(texts): give token "
                "ids [B, L], or an encoder that has it, such as sogclr_tf.TextEncoder"
            )
        return self.text_encoder.tokenize(texts)

    def call(self, batch: dict[str, tf.Tensor], training: bool = False) -> tuple[tf.Tensor, ...]:
        """Embeddings (of images, of texts) of {"image", "text"}, L2-normalized [B, D] each.

        Images are uint8 or float in 0..1, texts token ids.
        """
        return tuple(_normalized(side) for side in self.sides(batch, training=training))

    def embed_images(self, images: tf.Tensor) -> tf.Tensor:
        """Embeddings float32 [B, D], L2-normalized, of images uint8 or float in 0..1."""
        features = self.image_encoder(augment.as_float(images), training=False)
        return _normalized(self.image_projector(features, training=False))

    def embed_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """Embeddings float32 [B, D], L2-normalized, of token ids int [B, L]."""
        return _normalized(self._project_tokens(tokens))

    def embed_texts(self, texts: tf.Tensor | Sequence[str]) -> tf.Tensor:
        """Embeddings float32 [B, D], L2-normalized, of strings [B]."""
        return self.embed_tokens(self.tokenize(texts))

    def image_tower(self, image_shape: tuple | None = None) -> keras.Model:
        """The image encoder with its projector, as one Keras model.

            sogclr_tf.export_keras(model.image_tower(), "image_tower.keras")

        It shares the weights of this model, and maps images float32 [B, H, W, C] in 0..1 to
        embeddings float32 [B, D], L2-normalized, as `embed_images` has them.

        Args:
            image_shape: (H, W, C), for an image encoder that does not know its input shape.
        """
        images = keras.Input(image_shape or self.image_encoder.input_shape[1:], name="images")
        projections = self.image_projector(self.image_encoder(images))
        normalize = keras.layers.UnitNormalization(dtype="float32", name="embeddings")
        return keras.Model(images, normalize(projections), name="image_tower")

    def encode_batch(
        self, batch: dict[str, tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images = augment.as_float(finished_view(batch, "image"))
        features = self.image_encoder(images, training=training)
        a = self.image_projector(features, training=training)
        return features, a, self._project_tokens(batch["text"], training=training)

    def index_of(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """The images' index, int [B]; with a "caption_index" both, int32 [B, 2]."""
        if caption_checks.KEY not in batch:
            return batch["index"]
        columns = (batch["index"], batch[caption_checks.KEY])
        return tf.stack([tf.cast(column, tf.int32) for column in columns], axis=1)

    def _project_tokens(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.text_projector(self.text_encoder(tokens, training=training), training=training)

    def get_config(self) -> dict[str, Any]:
        config = self._config_of(
            image_encoder=unit_range.own_encoder(self.image_encoder, self.encoder_range),
            text_encoder=self.text_encoder,
            image_projector=self.image_projector,
            text_projector=self.text_projector,
        )
        return {**config, "encoder_range": self.encoder_range}


def _normalized(x: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.cast(x, tf.float32), axis=-1, epsilon=1e-24)
