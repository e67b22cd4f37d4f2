"""Which range of pixels an encoder expects: models here feed every encoder 0..1.

Many networks of `keras.applications` rescale 0..255 by themselves. Fed 0..1, their first
convolution sees an image of nearly one color, and training goes on without an error.
"""

import logging
import weakref
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.models import keras_hooks

RANGES = (1, 255)
_LOG = logging.getLogger("sogclr_tf")
# Halfway, by ratio, between what 0..1 and 0..255 make of the same rescaling.
_SMALL, _LARGE = 1 / 16, 16
# Where an encoder takes images of any size.
_SIDE = 32
# Encoders of which a person said that they take 0..1; and those that were warned of.
_accepted: Any = weakref.WeakSet()
_warned: Any = weakref.WeakSet()


def in_unit_range(encoder: keras.layers.Layer, encoder_range: int | None) -> keras.layers.Layer:
    """An encoder that takes images in 0..1: as it is, or behind a multiplication by 255.

    Args:
        encoder: images [B, H, W, C] in 0..`encoder_range` -> features [B, C].
        encoder_range: 1 or 255; None for 1, which `settled_range` is to check.

    Returns:
        Keras layer; for 255 a `keras.Sequential` whose last layer is `encoder`.

    Raises:
        ValueError: the range is another.
    """
    if encoder_range not in (None, *RANGES):
        raise ValueError(
            f"encoder_range is {encoder_range!r}: choose 255 for an encoder that takes pixels in "
            "0..255, or 1 for one that takes 0..1"
        )
    if encoder_range == 1:
        _accepted.add(encoder)
    if encoder_range != 255:
        return encoder
    # In float32, since 16 bits do not hold the 256 levels of a pixel between 0 and 1.
    layers = [keras.layers.Rescaling(255.0, dtype="float32", name="to_0_255"), encoder]
    shape = getattr(encoder, "input_shape", None) if encoder.built else None
    if shape is not None:
        layers.insert(0, keras.Input(batch_shape=shape))
    return keras.Sequential(layers, name=f"{encoder.name}_of_0_1")


def own_encoder(encoder: keras.layers.Layer, encoder_range: int | None) -> keras.layers.Layer:
    """The encoder that `in_unit_range` was given, from what it returned."""
    return encoder.layers[-1] if encoder_range == 255 else encoder


def settled_range(encoder: keras.layers.Layer, encoder_range: int | None) -> int:
    """The range of the pixels that an encoder was made for: as said, or 1 where it was left open.

    Warns where 255 was said of an encoder that leaves its pixels as they are.

    Args:
        encoder: a built Keras layer, as `in_unit_range` returned it.
        encoder_range: as `in_unit_range` was given it.

    Raises:
        ValueError: it was left open, and the encoder's first layers tell of 255.
    """
    if encoder_range == 255 and _is_unscaled(encoder):
        _LOG.warning(
            "encoder_range is 255, but nothing in '%s' rescales 0..255 before its first weights: "
            "leave encoder_range out unless they were trained on such pixels",
            own_encoder(encoder, 255).name,
        )
    if encoder_range is not None:
        return encoder_range
    if expects_255(encoder):
        raise ValueError(
            f"the encoder '{encoder.name}' rescales pixels of 0..255 by itself, but models feed "
            "0..1: pass encoder_range=255, or build it with include_preprocessing=False where it "
            "has that option (encoder_range=1 takes it as it is)"
        )
    return 1


def warn_of_range(encoder: Any) -> None:
    """Warns, once, where an encoder that is to be fed 0..1 seems to expect pixels in 0..255."""
    if not isinstance(encoder, keras.layers.Layer):
        return
    if encoder not in _accepted and encoder not in _warned and expects_255(encoder):
        _warned.add(encoder)
        _LOG.warning(
            "the encoder '%s' rescales pixels of 0..255 by itself, but is fed 0..1 here: pass "
            "model.encoder of a model with encoder_range=255, or "
            "keras.Sequential([keras.layers.Rescaling(255.0), encoder])",
            encoder.name,
        )


def expects_255(encoder: keras.layers.Layer) -> bool:
    """Whether the first weights of an encoder see of 0..255 what they should see of 0..1.

    Told by what its layers without weights, such as Rescaling and Normalization, make of images
    that are 0, 1 and 255 everywhere, down to the first layers with weights. Of a subclassed model
    the layers are not known to follow each other, and nothing is told.
    """
    return any(_spans_255(*levels) for _, levels in _levels_seen(encoder))


def _is_unscaled(encoder: keras.layers.Layer) -> bool:
    """Whether a layer with weights, which is none that might rescale, is given 0..255 for 0..1."""
    return any(
        abs(one - black) > _LARGE
        # No mean is subtracted either.
        and abs(black) < _SMALL * abs(one - black)
        and len(keras_hooks.layers_below(layer)) == 1
        for layer, (black, one, _) in _levels_seen(encoder)
    )


def _levels_seen(encoder: keras.layers.Layer) -> list[tuple[keras.layers.Layer, Any]]:
    """[(layer, what it is given of 0, of 1 and of 255)] of an encoder's first layers with weights.

    Empty where one of those before them cannot compute such images.
    """
    shape = getattr(encoder, "input_shape", None) if encoder.built else None
    if not isinstance(shape, tuple) or len(shape) != 4:
        shape = (None, None, None, 3)
    height, width, channels = (
        size or default for size, default in zip(shape[1:], (_SIDE, _SIDE, 3), strict=True)
    )
    levels = tf.constant([0.0, 1.0, 255.0])[:, None, None, None]
    images = tf.broadcast_to(levels, (3, height, width, channels))
    try:
        seen = list(_seen_by_weights(encoder, images))
    except Exception:
        # Whatever a layer of somebody's raises.
        return []
    return [(layer, _levels(values)) for layer, values in seen]


def _levels(images: tf.Tensor) -> np.ndarray:
    """float64 [3]: what the three images are, at the place where they differ most."""
    pixels = np.asarray(tf.cast(images, tf.float64)).reshape(3, -1)
    # The border may be a constant.
    return pixels[:, np.argmax(abs(pixels[2] - pixels[0]))]


def _spans_255(black: float, one: float, white: float) -> bool:
    """Whether what became of 0, 1 and 255 shows that 0..255 was expected."""
    squeezed = abs(one - black) < _SMALL < abs(white - black)
    # A mean such as 103.9 is subtracted, and no deviation divided by.
    shifted = one != black and -black / (one - black) > _LARGE
    return bool(squeezed or shifted)


def _seen_by_weights(
    layer: keras.layers.Layer, images: Any
) -> Iterator[tuple[keras.layers.Layer, tf.Tensor]]:
    """The first layers with weights, of those below a layer, each with what it is given."""
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            if _has_weights(inner):
                yield from _seen_by_weights(inner, images)
                return
            images = inner(images, training=False)
        return
    if not keras_hooks.is_graph(layer):
        yield layer, images
        return
    values = {id(tensor): images for tensor in layer.inputs}
    for call in keras_hooks.graph_calls(layer):
        known = [values[key] for key in call.inputs if key in values]
        if not known:
            continue
        if _has_weights(call.operation):
            yield from _seen_by_weights(call.operation, known[0])
        elif len(known) == len(call.inputs):
            values.update(call.run(values))


def _has_weights(operation: Any) -> bool:
    """Whether there are weights in an operation beside those of a Normalization."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    parts = keras_hooks.layers_below(operation)
    own = [part for part in parts if isinstance(part, keras.layers.Normalization)]
    return len(operation.weights) > sum(len(part.weights) for part in own)
