"""Batch normalizations of a network: whose statistics they take, and how soon averages follow."""

import logging

import keras

from sogclr_tf.models import keras_hooks

_LOG = logging.getLogger("sogclr_tf")
# Keras's default, whose averages forget where they began within some hundreds of steps.
_USUAL_MOMENTUM = 0.99


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

    Examples:
        >>> import keras
        >>> import sogclr_tf
        >>> encoder = keras.applications.MobileNetV3Small(
        ...     (32, 32, 3), include_top=False, pooling="avg", weights=None
        ... )
        >>> encoder = sogclr_tf.synchronize_batch_norm(encoder)
        >>> encoder.output_shape
        (None, 576)
    """
    for layer in batch_norms(encoder):
        layer.synchronized = True
    return encoder


def unsynchronized(model: keras.layers.Layer) -> list[keras.layers.BatchNormalization]:
    """The batch normalizations of a network that train on statistics of their replica alone."""
    return [layer for layer in batch_norms(model) if layer.trainable and not layer.synchronized]


def warn_of_averages(model: keras.layers.Layer, steps: int) -> None:
    """Warns where running averages of a network are, after its training, mostly what they were.

    In inference such a network normalizes by other numbers than in training, and its features are
    those of an untrained one, or worse.

    Args:
        model: a Keras layer or model.
        steps: of training that it has behind it.
    """
    slow = [
        layer
        for layer in batch_norms(model)
        if layer.trainable and layer.momentum > _USUAL_MOMENTUM and layer.momentum**steps > 0.5
    ]
    if slow:
        momentum = max(layer.momentum for layer in slow)
        _LOG.warning(
            "%d BatchNormalization layers (%s, ...) average over more steps than there were: with "
            "momentum %g, %.0f%% of their averages is after %d steps what it was before the first, "
            "so that inference is not what was trained: set layer.momentum to 0.9 before training, "
            "or train longer",
            len(slow),
            slow[0].name,
            momentum,
            100 * momentum**steps,
            steps,
        )


def batch_norms(model: keras.layers.Layer) -> list[keras.layers.BatchNormalization]:
    """The batch normalizations of a network, those of nested models too."""
    layers = keras_hooks.layers_below(model)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
