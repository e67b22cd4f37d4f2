"""What the draws of a view change of it, as numbers."""

from typing import Any

import tensorflow as tf

from sogclr_tf.data import randomness
from sogclr_tf.data.policies import Policy

# The numbers of one view's row of changes. What is 0 or 1 says whether something is done; without
# jitter its factors are 1 and its turn is 0.
COLUMNS: dict[str, Any] = {
    "flip": 0,
    # What is done at each of four places: brightness 0, contrast 1, saturation 2 or hue 3.
    "order": slice(1, 5),
    "brightness": 5,
    "contrast": 6,
    "saturation": 7,
    "hue": 8,
    "grayscale": 9,
    "sigma": 10,  # of the blur in pixels; 0 where there is none
    "solarize": 11,
}
WIDTH = 12
_REACHES = {"brightness": 0.8, "contrast": 0.8}


def changes(rows: tf.Tensor, policy: Policy) -> tf.Tensor:
    """What becomes of cropped and resized views, for `finishing.finished`.

    Args:
        rows: float32 [..., draws], of `randomness.draws`.
        policy: `Policy`.

    Returns:
        float32 [..., 12], of which `COLUMNS` names the numbers.
    """
    draw = {name: rows[..., place] for name, place in randomness.COLOR.items()}
    happens = {
        name: draw[name] < getattr(policy, name)
        for name in ("jitter", "grayscale", "blur", "solarize")
    }
    happens["flip"] = rows[..., randomness.GEOMETRY["flip"]] < policy.flip
    jittered = jitter(draw, policy)
    found = {name: tf.cast(happens[name], tf.float32) for name in ("flip", "grayscale", "solarize")}
    for name in ("brightness", "contrast", "saturation"):
        found[name] = tf.where(happens["jitter"], jittered[name], 1.0)
    found["hue"] = tf.where(happens["jitter"], jittered["hue"], 0.0)
    found["sigma"] = tf.where(happens["blur"], sigma(draw), 0.0)
    order = tf.cast(tf.argsort(draw["order"]), tf.float32)
    single = [found[name][..., tf.newaxis] for name in COLUMNS if name != "order"]
    return tf.concat([single[0], order, *single[1:]], axis=-1)


def jitter(draw: dict[str, tf.Tensor], policy: Policy) -> dict[str, tf.Tensor]:
    """Factors of brightness, contrast and saturation, and the turn of the hue.

    Args:
        draw: {name: float32 [...]}, as `randomness.COLOR` names the draws.
        policy: `Policy`.
    """
    reaches = {**_REACHES, "saturation": policy.saturation}
    found = {
        name: tf.maximum(1 + reach * policy.strength * (2 * draw[name] - 1), 0.0)
        for name, reach in reaches.items()
    }
    return {**found, "hue": policy.hue * policy.strength * (2 * draw["hue"] - 1)}


def sigma(draw: dict[str, tf.Tensor]) -> tf.Tensor:
    """Standard deviation of the blur, in pixels."""
    return 0.1 + 1.9 * draw["sigma"]
