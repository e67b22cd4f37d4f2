"""Batch normalization whose statistics are those of the global batch."""

import keras

from sogclr_tf.models import keras_hooks


def synchronize_batch_norm(encoder: keras.layers.Layer) -> keras.layers.Layer:
    """Makes every `BatchNormalization` of a network take statistics of all replicas' examples.

        encoder = keras.applications.MobileNetV2(include_top=False, pooling="avg")
        model = sogclr_tf.SogCLR(sogclr_tf.synchronize_batch_norm(encoder), loss)

    Several devices then train as one, at the cost of an exchange of two numbers per channel in each
    such layer. It is Keras's argument `synchronized`, set on layers that are built already, those
    of nested models too; the weights stay, and `get_config` and `.keras` files keep it. On one
    device nothing changes. Call it before `fit`.

    Args:
        encoder: a Keras layer or model; it is changed.

    Returns:
        `encoder`.
    """
    for layer in batch_norms(encoder):
        layer.synchronized = True
    return encoder


def unsynchronized(model: keras.layers.Layer) -> list[keras.layers.BatchNormalization]:
    """The batch normalizations of a network that train on statistics of their replica alone."""
    return [layer for layer in batch_norms(model) if layer.trainable and not layer.synchronized]


def batch_norms(model: keras.layers.Layer) -> list[keras.layers.BatchNormalization]:
    """The batch normalizations of a network, those of nested models too."""
    layers = keras_hooks.layers_below(model)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
