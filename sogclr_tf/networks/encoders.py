"""Encoders by name: of this package, of keras.applications, or of a function of one's own."""

import difflib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras

from sogclr_tf.networks import own_function
from sogclr_tf.networks.resnet import ResNet, small_resnet, stages

_ENCODERS: dict[str, Callable[..., keras.Model]] = {
    **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in stages()},
    "small_resnet": small_resnet,
}


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
    _check_known(name)
    parameters = inspect.signature(_ENCODERS[name]).parameters
    return tuple(option for option in parameters if option != "input_shape")


def build_encoder(name: str, /, input_shape: Sequence[int | None], **options: Any) -> keras.Model:
    """Returns the encoder called `name`: images float [B, H, W, C] in 0..1 to float32 [B, C].

        build_encoder("resnet18", (32, 32, 3), stem="cifar")
        build_encoder("my_networks:build", (32, 32, 3), width=64)

    Args:
        name: one of `encoder_names()`, or `module:function` of a function that takes `input_shape`
            and the options and returns a Keras model.
        input_shape: (height, width, channels); height and width may be None where the encoder
            takes images of any size.
        **options: further arguments of the function that `name` stands for.

    Raises:
        ValueError: for an unknown name or option, and as the function that builds it does.
    """
    check_options(name, options)
    if _is_own(name):
        return own_function.build(name, own_function.find(name), input_shape, **options)
    return _ENCODERS[name](input_shape=input_shape, **options)


def check_options(name: str, options: Sequence[str] | dict[str, Any]) -> None:
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


def _check_known(name: str) -> None:
    if name in _ENCODERS:
        return
    near = difflib.get_close_matches(name, _ENCODERS)
    raise ValueError(
        f"encoder {name!r} is unknown{f', perhaps {near[0]}' if near else ''}: choose one of "
        f"{', '.join(_ENCODERS)}, or MODULE:FUNCTION of your own"
    )
