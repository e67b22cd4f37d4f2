"""What stands behind a convolution or a Dense layer: statistics of the batch, or of one example."""

import math
from collections.abc import Iterable
from typing import Any

import keras

_SUFFIXES = {"batch": "bn", "group": "gn", "layer": "ln"}
_GROUPS = 32


def normalization(
    kind: str, prefix: str, suffix: str | int = "", *, channels: int, **options: Any
) -> keras.layers.Layer:
    """Returns a new normalization layer of the kind, with epsilon 1e-5.

    Args:
        kind: "batch", statistics of the global batch with running averages of momentum 0.9 for
            inference; "group", of each image alone over groups of channels: 32 of them, or as many
            as divide both 32 and half the channels, so that no group is of one channel alone;
            "layer", of each example alone over all channels.
        prefix, suffix: around `bn`, `gn` or `ln` in the layer's name.
        channels: int, of the input's last axis.
        **options: further arguments of the Keras layer that all three kinds have.
    """
    options |= {"epsilon": 1e-5, "name": f"{prefix}{_SUFFIXES[kind]}{suffix}"}
    if kind == "group":
        # A single channel would lose how much of it an image has. An odd number stays one group.
        groups = 1 if channels % 2 else math.gcd(_GROUPS, channels // 2)
        # Weights that decay are told by their names: gamma and beta in all three kinds.
        return keras.layers.GroupNormalization(groups, **options)
    if kind == "layer":
        return keras.layers.LayerNormalization(**options)
    return keras.layers.BatchNormalization(momentum=0.9, synchronized=True, **options)


def require_one_of(what: str, value: Any, valid: Iterable[Any]) -> None:
    """Raises ValueError, with the valid values, where a value is none of them."""
    if value not in valid:
        raise ValueError(f"{what} is {value!r}; choose one of {', '.join(map(str, valid))}.")
