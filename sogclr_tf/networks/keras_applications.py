"""The networks of `keras.applications`, as encoders of images in 0..1.

They are found in `keras.applications` itself, and so is the range of pixels that each expects: it
is what its own `preprocess_input` makes of black and of pure red, green and blue.
"""

import difflib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from sogclr_tf.error_line import first_line
from sogclr_tf.networks.image_format import check_channels_last
from sogclr_tf.networks.normalization import require_one_of

POOLINGS = ("avg", "max")
# Of all batch normalizations, as in the other networks of this package. The networks' own, of up
# to 0.9997, belong to millions of steps: after a short training inference would be another network.
MOMENTUM = 0.9
# The images of ImageNet, which every network takes.
_SIDE = 224
# Settled here, or, as the two dropouts, of the classifier alone, which is left out.
_NO_OPTIONS = frozenset(
    ("include_top", "include_preprocessing", "weights", "input_tensor", "input_shape", "classes")
    + ("classifier_activation", "dropout", "dropout_rate")
)


def application_names() -> tuple[str, ...]:
    """Returns the names of the networks of `keras.applications`, such as "EfficientNetV2S"."""
    return tuple(sorted(_networks()))


def application_options(name: str) -> tuple[str, ...]:
    """Returns the options that `application` takes for a network.

    Raises:
        ValueError: the name is unknown.
    """
    parameters = inspect.signature(_network(name)).parameters
    return tuple(option for option in parameters if option not in _NO_OPTIONS)


def application(name: str, /, *, input_shape: Sequence[int | None], **options: Any) -> keras.Model:
    """Returns a network of `keras.applications` without classifier, as a flat functional model.

        encoder = application("EfficientNetV2S", input_shape=(224, 224, 3))

    The model maps images float [B, H, W, C] in 0..1 to pooled features float32 [B, F], under mixed
    precision too. Its weights are random; none are downloaded. Its first layers, which have no
    weights, bring 0..1 to what the network expects, so that it equals
    `network(preprocess_input(255 * images))`. Batch normalizations take statistics of the global
    batch, with running averages of momentum 0.9. All layers are Keras's own, so that a `.keras`
    file of it needs no other package.

    Images of other than three channels take the same formula with the mean over red, green and
    blue of its constants, and keep the order of their channels. The networks that rescale by
    themselves and have the option `include_preprocessing` (ConvNeXt, EfficientNetV2, MobileNetV3)
    take such images in -1..1.

    Args:
        name: one of `application_names()`.
        input_shape: (height, width, channels); height and width may be None, except of NASNet.
        **options: arguments of the network, such as `alpha=0.35` of MobileNetV2 or `name`, and
            `pooling`, "avg" (the default) or "max". Those that only a classifier or downloaded
            weights need are not among them.

    Raises:
        ValueError: for an unknown name, option or pooling; for an input shape that is not (height,
            width, channels), that is smaller than the network's least, or that is open where the
            network must know it; for a value of an option that the network refuses; or where Keras
            is set to channels_first.
    """
    network, valid = _network(name), application_options(name)
    unknown = [option for option in options if option not in valid]
    if unknown:
        raise ValueError(
            f"Encoder {name!r} has no option {', '.join(unknown)}; its options are "
            f"{', '.join(valid)}."
        )
    options.setdefault("pooling", "avg")
    require_one_of("pooling", options["pooling"], POOLINGS)
    check_channels_last()
    shape = tuple(input_shape)
    if len(shape) != 3 or shape[-1] is None:
        raise ValueError(
            f"input_shape is {shape}; give (height, width, channels), of which height and width "
            "may be None."
        )
    images = keras.Input(shape, name="images")
    built = _built(name, network, _in_range(network, images), shape, options)
    for layer in built.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
            layer.momentum = MOMENTUM
    # 16 bits hold too few digits of what losses and evaluations compare.
    features = keras.layers.Activation("linear", dtype="float32", name="features")(built.output)
    encoder = keras.Model(images, features, name=built.name)
    _check_open_size(name, encoder)
    return encoder


def _networks() -> dict[str, Callable[..., keras.Model]]:
    return {
        name: found
        for name, found in vars(keras.applications).items()
        if inspect.isfunction(found) and "include_top" in inspect.signature(found).parameters
    }


def _network(name: str) -> Callable[..., keras.Model]:
    networks = _networks()
    if name not in networks:
        nearest = difflib.get_close_matches(name, networks, cutoff=0.0)
        raise ValueError(
            f"keras.applications has no network {name!r}; the nearest are {', '.join(nearest)} "
            f"of all {', '.join(sorted(networks))}."
        )
    return networks[name]


def _built(name, network, pixels, shape, options):
    """The network, from the pixels on, with an error of Keras's in one line."""
    if _rescales_colors(network, shape[-1]):
        options = {**options, "include_preprocessing": False}
    try:
        with warnings.catch_warnings():
            # Random weights take any number of channels.
            warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")
            return network(
                include_top=False, weights=None, input_tensor=pixels, input_shape=shape, **options
            )
    except Exception as error:
        least = re.search(r"size must be at least (\d+)", str(error))
        if least:
            raise ValueError(
                f"image size {shape[0]}x{shape[1]} is too small for the encoder {name!r}: give "
                f"images of at least {least[1]}x{least[1]} pixels."
            ) from None
        raise ValueError(
            f"encoder {name!r} cannot be built for images {shape} with {options}: "
            f"{first_line(error)}"
        ) from error


def _check_open_size(name, encoder):
    """Raises where height or width is open and the network, as NASNet, takes no size then."""
    shape = encoder.input_shape
    if None not in shape[1:]:
        return
    closed = [1, *(size or _SIDE for size in shape[1:])]
    try:
        encoder.compute_output_spec(keras.KerasTensor(closed))
    except ValueError:
        raise ValueError(
            f"encoder {name!r} must know the size of its images: input_shape is {shape[1:]}; give "
            f"(height, width, {shape[-1]})"
        ) from None


def _rescales_colors(network, channels):
    """Whether it has layers of its own for pixels of three channels that are to be left out.

    ConvNeXt would leave others in 0..255, and EfficientNetV2 of the letter B makes them -1..1.
    """
    return channels != 3 and "include_preprocessing" in inspect.signature(network).parameters


def _in_range(network, images):
    """Images in 0..1 brought to what a network expects, by layers without weights."""
    channels = images.shape[-1]
    scale, offset, is_reversed = _expected(network)
    if _rescales_colors(network, channels):
        scale, offset = np.array([2.0]), np.array([-1.0])
    if channels == 3 and is_reversed:
        images = keras.ops.flip(images, axis=-1)
    elif channels != 3:
        # (pixel - mean) / deviation, with the means of both.
        mean, deviation = np.mean(-offset / scale), np.mean(1 / scale)
        scale, offset = np.array([1 / deviation]), np.array([-mean / deviation])
    scale, offset = (
        float(values[0]) if len(set(values)) == 1 else [float(value) for value in values]
        for values in (scale, offset)
    )
    # In float32, since 16 bits do not hold the 256 levels of a pixel.
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="from_0_1")(images)


def _expected(network):
    """What `preprocess_input` of a network's module makes of 255 times images in 0..1.

    Returns:
        (float64 [3], float64 [3], bool): `scale * images + offset` after the order of the three
        colors was reversed or not.
    """
    preprocess = sys.modules[network.__module__].preprocess_input
    black = np.array(preprocess(np.zeros((1, 1, 3))), np.float64)[0, 0]
    pure = np.array(preprocess(255.0 * np.eye(3)[None]), np.float64)[0] - black
    is_reversed = bool(pure[0, 0] == 0)
    return np.diagonal(pure[::-1] if is_reversed else pure), black, is_reversed
