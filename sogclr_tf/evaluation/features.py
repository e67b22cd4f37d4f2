"""What a frozen encoder makes of images."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files.decode_errors import in_plain_words
from sogclr_tf.models.encoder_checks import check_usable


def extract_features(encoder: Callable, images: Any, batch_size: int = 256) -> np.ndarray:
    """Runs a frozen encoder over images, in inference mode.

    The encoder is compiled once: the last batch is padded to the size of the others, and the
    padding's features are dropped.

    Args:
        encoder: Keras model, float32 images [B, H, W, C] in 0..1 -> features [B, D].
        images: array [N, H, W, C] of uint8 (divided by 255 here) or of floats in 0..1; or a
            `tf.data.Dataset` whose elements are single images [H, W, C] of either kind.
        batch_size: images that the encoder sees at a time.

    Returns:
        float32 [N, D], in the order of the images.

    Raises:
        ValueError: no images; images of another shape, dtype or range, or that cannot be decoded;
            `batch_size` below 1; an encoder that takes or gives more than one tensor; features that
            are not [B, D].

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> images = np.zeros([10, 16, 16, 3], np.uint8)
        >>> sogclr_tf.extract_features(encoder, images).shape
        (10, 8)
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    forward = CompiledEncoder(encoder)
    features: list[np.ndarray] = []
    batches = _batches(images, batch_size)
    while True:
        with in_plain_words(f"the images from number {batch_size * len(features)} on"):
            batch = next(batches, None)
        if batch is None:
            break
        padding = [(0, batch_size - len(batch))] + [(0, 0)] * 3
        output = forward(tf.constant(np.pad(batch, padding)))
        check_output(output)
        features.append(output.numpy()[: len(batch)])
    if not features:
        raise ValueError("There are no images to extract features from: pass at least one.")
    return np.concatenate(features)


def check_output(features: tf.Tensor) -> None:
    """Raises ValueError unless what an encoder returned is features [B, D]."""
    if features.shape.rank != 2:
        raise ValueError(
            f"The encoder must return features [B, D], got shape {features.shape}: "
            "end it with a pooling or a flatten layer."
        )


class CompiledEncoder:
    """An encoder in inference mode, traced once however often it is handed to this module.

    Args:
        encoder: images [B, H, W, C] in 0..1 -> features [B, C], called with training=False; or a
            `CompiledEncoder`, which is taken as it is. One that rescales 0..255 is warned of.
    """

    def __init__(self, encoder: Callable) -> None:
        if isinstance(encoder, CompiledEncoder):
            self._features: Callable = encoder._features
        else:
            check_usable(encoder)
            self._features = tf.function(
                lambda images: tf.cast(encoder(images, training=False), tf.float32)
            )

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:  # noqa: ARG002
        """Features float32 [B, C]."""
        return self._features(images)


def _batches(images: Any, batch_size: int) -> Iterator[np.ndarray]:
    """Yields float32 [B, H, W, C] in 0..1; the last may hold fewer than `batch_size`."""
    if isinstance(images, tf.data.Dataset):
        shape = getattr(images.element_spec, "shape", None)
        if shape is None or shape.rank not in (None, 3):
            raise ValueError(
                "A dataset must yield single images [H, W, C], "
                f"got elements {images.element_spec}: map it to the image, unbatched."
            )
        chunks = images.batch(batch_size).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    else:
        images = np.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"images must be [N, H, W, C], got shape {images.shape}.")
        chunks = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return map(_unit_range, chunks)


def _unit_range(images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images.astype(np.float32) / 255
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images must be uint8 or floats in 0..1, got dtype {images.dtype}.")
    # The margin forgives the rounding of a resize, and still catches floats in 0..255 or -1..1.
    if not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):
        raise ValueError(
            f"Float images must lie in 0..1, got {images.min():.4g}..{images.max():.4g}: "
            "rescale them, or pass uint8."
        )
    return images.astype(np.float32)
