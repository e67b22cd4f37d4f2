"""Encoders that rescale 0..255 by themselves are told before they train."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.exhaustive import exhaustive
from support.ranged_encoders import Subclassed, after
from support.small_model import IMAGES

import sogclr_tf
from sogclr_tf.models import unit_range

layers = keras.layers
# What a deviation of 0.229 and a mean of 0.485 are for pixels of 0..255.
MEAN, VARIANCE = 0.485 * 255, (0.229 * 255) ** 2


def functional_of(call):
    """The functional model of what `call` makes of images."""
    images = keras.Input((8, 8, 3))
    return keras.Model(images, call(images))


def functional(before):
    """An encoder behind a function of its input."""
    return functional_of(lambda images: after()(before(images)))


def adapted():
    layer = layers.Normalization()
    layer.adapt(IMAGES.astype(np.float32))
    return layer


def preprocess(network):
    return getattr(keras.applications, network).preprocess_input


EXPECTS_255 = {
    "1/255": lambda: after(layers.Rescaling(1 / 255)),
    "1/127.5 - 1": lambda: after(layers.Rescaling(1 / 127.5, -1.0)),
    "mean and variance of 0..255": lambda: after(
        layers.Normalization(mean=[MEAN] * 3, variance=[VARIANCE] * 3)
    ),
    "adapted to 0..255": lambda: after(adapted()),
    "in two steps": lambda: after(layers.Rescaling(0.1), layers.Rescaling([0.1, 0.1, 0.2])),
    "behind harmless layers": lambda: after(
        layers.ZeroPadding2D(2), layers.RandomFlip(), layers.Resizing(8, 8), layers.Rescaling(0.01)
    ),
    "in a nested model": lambda: after(
        keras.Sequential([keras.Input((8, 8, 3)), layers.RandomContrast(0.9)]),
        keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)]),
    ),
    "a nested network of its own": lambda: functional_of(after(layers.Rescaling(1 / 255))),
    "in one of two branches": lambda: functional_of(
        lambda x: layers.Add()([after(name="a")(x), after(layers.Rescaling(0.01), name="b")(x)])
    ),
    "an operation": lambda: functional(lambda x: x / 127.5 - 1),
    "a Lambda": lambda: after(layers.Lambda(lambda x: x / 255)),
    "a function of keras.applications": lambda: functional(preprocess("mobilenet_v2")),
    "its mean alone is subtracted": lambda: functional(preprocess("resnet50")),
    "half precision": lambda: after(
        layers.Rescaling(1 / 255, dtype="bfloat16"), layers.Rescaling(4.0, -2.0, dtype="bfloat16")
    ),
    "images of any size": lambda: keras.Sequential(
        [
            *(keras.Input((None, None, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)),
            layers.GlobalAveragePooling2D(),
        ]
    ),
}
EXPECTS_1 = {
    "nothing": after,
    "to -1..1": lambda: after(layers.Rescaling(2.0, -1.0)),
    "mean and variance of 0..1": lambda: after(
        layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)
    ),
    "one that was never adapted": lambda: after(layers.Normalization()),
    "up and down": lambda: after(layers.Rescaling(255.0), layers.Rescaling(1 / 127.5, -1.0)),
    "wrapped": lambda: unit_range.in_unit_range(after(layers.Rescaling(1 / 255)), 255),
    "behind weights": lambda: after(layers.Conv2D(3, 1), layers.Rescaling(1 / 255)),
    "clipped": lambda: after(layers.Lambda(lambda x: tf.clip_by_value(2 * x - 1, -1, 1))),
    "standardized image by image": lambda: after(layers.Lambda(tf.image.per_image_standardization)),
    "cannot be looked into": Subclassed,
    "ours": lambda: sogclr_tf.ResNet(
        18, input_normalization=([0.485] * 3, [0.229] * 3), input_shape=(32, 32, 3)
    ),
}


@pytest.mark.parametrize("name", EXPECTS_255)
def test_encoders_that_expect_255(name):
    assert unit_range.expects_255(EXPECTS_255[name]())


@pytest.mark.parametrize("name", EXPECTS_1)
def test_encoders_that_expect_1(name):
    assert not unit_range.expects_255(EXPECTS_1[name]())


def rescales(network):
    """Whether a network of keras.applications has a layer that rescales, by its own words."""
    kinds = (layers.Rescaling, layers.Normalization)
    flat = [part for layer in network.layers for part in layer._flatten_layers()]
    return any(isinstance(layer, kinds) for layer in flat)


def built(builder, **options):
    """The network for the smallest of some sides that its builder takes."""
    for side in (32, 71, 75, 331):
        try:
            return builder(
                weights=None,
                include_top=False,
                pooling="avg",
                input_shape=(side, side, 3),
                **options,
            )
        except ValueError as error:
            refusal = error
    raise refusal


BUILDERS = {
    name: value for name, value in vars(keras.applications).items() if inspect.isfunction(value)
}


@pytest.mark.parametrize(("name", "expected"), [("MobileNetV3Small", True), ("MobileNetV2", False)])
def test_two_of_keras_applications(name, expected):
    network = built(BUILDERS[name], alpha=0.35)
    assert rescales(network) == expected
    assert unit_range.expects_255(network) == expected


# The networks of a module rescale by the same lines.
ONE_OF_EACH_KIND = {builder.__module__: builder for builder in reversed(BUILDERS.values())}
KINDS = list(ONE_OF_EACH_KIND.values())
# Those that rescale by themselves, or may.
RESCALE = ("ConvNeXtBase", "EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Large")


@pytest.mark.slow(reason="builds networks of tens of millions of weights, some of them twice")
@pytest.mark.parametrize(
    "builder",
    exhaustive([builder for builder in KINDS if builder.__name__ in RESCALE], KINDS),
    ids=lambda b: b.__name__,
)
def test_all_kinds_of_keras_applications(builder):
    network = built(builder)
    assert unit_range.expects_255(network) == rescales(network)
    if "include_preprocessing" in inspect.signature(builder).parameters:
        assert rescales(network)
        bare = built(builder, include_preprocessing=False)
        assert not rescales(bare)
        assert not unit_range.expects_255(bare)
    keras.utils.clear_session()
