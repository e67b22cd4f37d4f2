"""Checks of what is exported, before anything is written."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.models.encoder_checks import check_usable


def checked_encoder(model: Any) -> keras.layers.Layer:
    """The built encoder that a model is, or holds as `.encoder`.

    Raises:
        TypeError: it is no Keras layer.
        ValueError: it is not built.
    """
    encoder = getattr(model, "encoder", model)
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            f"model must be a Keras encoder or hold one as `.encoder`, got {type(model).__name__}."
        )
    if not encoder.built:
        raise ValueError(
            f"The encoder '{encoder.name}' is not built, so it has no weights to export: "
            "call it once on a batch of images."
        )
    return encoder


def checked_image_shape(encoder: keras.layers.Layer, image_shape: tuple | None) -> tuple:
    """(H, W, C) of the images that an encoder takes, as given or as it knows it.

    Warns where it seems to take them in 0..255, since what is exported takes 0..1.

    Raises:
        ValueError: it is unknown, or not that of the encoder; or the encoder takes or gives more
            than one tensor.
    """
    check_usable(encoder)
    # Keras raises AttributeError from the property where no single input shape is known.
    known: Any = getattr(encoder, "input_shape", None)
    if image_shape is None and not (isinstance(known, tuple) and len(known) == 4):
        raise ValueError(
            f"The encoder '{encoder.name}' does not know its image shape (input_shape is {known}): "
            "pass image_shape=(H, W, C)."
        )
    shape = known[1:] if image_shape is None else tuple(image_shape)
    if len(shape) != 3 or shape[2] is None:
        raise ValueError(f"image_shape must be (H, W, C) with a known C, got {shape}.")
    if known is not None and not tf.TensorShape(known[1:]).is_compatible_with(shape):
        raise ValueError(
            f"image_shape is {shape}, but the encoder '{encoder.name}' takes {known[1:]}: "
            "leave image_shape out."
        )
    return shape
