"""Encoders by name: of this package, of keras.applications, or of a function of one's own."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from sogclr_tf.networks import own_function
from sogclr_tf.networks.keras_applications import (
    application,
    application_names,
    application_options,
)
from sogclr_tf.networks.resnet import ResNet, small_resnet, stages
from sogclr_tf.networks.vision_transformer import SIZES, ViT

_ENCODERS: dict[str, Callable[..., keras.Model]] = {
    **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in stages()},
    "small_resnet": small_resnet,
    **{f"vit_{size}": functools.partial(ViT, size) for size in SIZES},
}
_APPLICATIONS = "keras.applications."


def encoder_names() -> tuple[str, ...]:
    """Returns the names of this package's own encoders, as a tuple of str."""
    return tuple(_ENCODERS)


def encoder_options(name: str) -> tuple[str, ...] | None:
    """Returns the options that `build_encoder` takes for a name; None where it takes any.

    Raises:
        ValueError: the name is unknown.
    """
    if _is_own(name):
        return own_function.options(own_function.find(name))
    if name in _ENCODERS:
        parameters = inspect.signature(_ENCODERS[name]).parameters
        return tuple(option for option in parameters if option != "input_shape")
    if name.removeprefix(_APPLICATIONS) in application_names():
        return application_options(name.removeprefix(_APPLICATIONS))
    raise ValueError(_unknown(name))


def build_encoder(name: str, /, input_shape: Sequence[int | None], **options: Any) -> keras.Model:
    """Returns the encoder called `name`: images float [B, H, W, C] in 0..1 to float32 [B, D].

        build_encoder("vit_tiny", (32, 32, 3), patch_size=4)
        build_encoder("keras.applications.MobileNetV2", (96, 96, 3), alpha=0.35)
        build_encoder("my_networks:build", (32, 32, 3), width=64)

    Args:
        name: one of `encoder_names()`; a network of `keras.applications`, with or without that
            before it; or `module:function`, of a function that takes the options, and `input_shape`
            if it likes, and returns a Keras model.
        input_shape: (height, width, channels); height and width may be None where the encoder
            takes images of any size.
        **options: further arguments of the function that `name` stands for.

    Returns:
        The Keras model.

    Raises:
        ValueError: for an unknown name or option, and as the function that builds it does.

    Examples:
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.build_encoder("resnet18", (64, 64, 3))
        >>> encoder.output_shape
        (None, 512)
        >>> sogclr_tf.build_encoder("resnet20", (64, 64, 3))
        Traceback (most recent call last):
        ValueError: encoder 'resnet20' is unknown...
    """
    check_options(name, options)
    if _is_own(name):
        return own_function.build(name, own_function.find(name), input_shape, **options)
    if name in _ENCODERS:
        return _ENCODERS[name](input_shape=input_shape, **options)
    return application(name.removeprefix(_APPLICATIONS), input_shape=input_shape, **options)


def check_options(name: str, options: Iterable[str]) -> None:
    """Raises ValueError where an encoder is unknown or does not take an option."""
    valid = encoder_options(name)
    if valid is None:
        return
    unknown = [option for option in options if option not in valid]
    if unknown:
        raise ValueError(
            f"encoder {name!r} has no option {', '.join(unknown)}; its options are "
            f"{', '.join(valid) or 'none'}"
        )


def _is_own(name: str) -> bool:
    return ":" in name


def _unknown(name: str) -> str:
    """What is said of a name that is none: the nearest, and all kinds of names."""
    # Small letters, so that "mobilenet" finds MobileNet; without what many names share.
    known = {known.lower(): known for known in (*application_names(), *_ENCODERS)}
    near = difflib.get_close_matches(name.removeprefix(_APPLICATIONS).lower(), known)
    perhaps = f", perhaps {known[near[0]]}" if near else ""
    return (
        f"encoder {name!r} is unknown{perhaps}: choose one of {', '.join(_ENCODERS)}, a network of "
        f"Keras such as {_APPLICATIONS}MobileNetV3Small, or MODULE:FUNCTION of your own"
    )
