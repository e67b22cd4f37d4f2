"""How timm names and orders the weights of a Vision Transformer, in terms of ours."""

import math
import re
from typing import NamedTuple

import keras
import numpy as np

_THIRDS = ("query", "key", "value")


class Counterpart(NamedTuple):
    """The array of timm's that holds a weight of ours.

    Attributes:
        name: such as `blocks.0.attn.qkv.weight`.
        shape: of that array.
    """

    name: str
    shape: tuple[int, ...]


def counterpart(variable: keras.Variable, last_norm: str = "norm") -> Counterpart:
    """Where timm keeps a weight of a `ViT`; `last_norm` is its name of the last normalization."""
    layer, parameter = variable.path.split("/")[0], variable.path.split("/")[-1]
    shape, third = tuple(variable.shape), _third(variable)
    name = _array(layer, third is not None, last_norm)
    if parameter == "embeddings":
        return Counterpart(name, (1, *shape))
    name += ".weight" if parameter in ("kernel", "gamma") else ".bias"
    if layer == "patches" and parameter == "kernel":
        return Counterpart(name, (shape[3], shape[2], *shape[:2]))
    into, out = (), shape
    if parameter == "kernel":
        # Heads by their size are one axis in timm.
        into, out = (shape[:-1], shape[-1:]) if third is None else (shape[:1], shape[1:])
    outputs = math.prod(out) * (1 if third is None else 3)
    return Counterpart(name, (outputs, math.prod(into)) if into else (outputs,))


def value(variable: keras.Variable, array: np.ndarray) -> np.ndarray:
    """The value of a weight by timm's array, which is of the shape of its `counterpart`."""
    third = _third(variable)
    if third is not None:
        array = np.split(array, 3)[third]
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    # A matrix of timm's has its outputs first; what it calls an embedding has an axis more.
    return (array.T if array.ndim == 2 else array).reshape(variable.shape)


def _third(variable):
    part = variable.path.split("/")[-2]
    return _THIRDS.index(part) if part in _THIRDS else None


def _array(layer, is_third, last_norm):
    """timm's name of a layer of ours."""
    block = re.fullmatch(r"block(\d+)_(\w+)", layer)
    if block is None:
        return {
            "patches": "patch_embed.proj",
            "class_token": "cls_token",
            "positions": "pos_embed",
            "features": last_norm,
        }[layer]
    parts = {
        "attention": "attn.qkv" if is_third else "attn.proj",
        "widen": "mlp.fc1",
        "narrow": "mlp.fc2",
    }
    return f"blocks.{int(block[1]) - 1}.{parts.get(block[2], block[2])}"
