"""Float images must lie in 0..1: checked in arrays, and of every image in a pipeline.

What is beyond it would train all the same, on views that are cut to black and white, and NaN would
spread into every weight.
"""

import numpy as np
import tensorflow as tf

from sogclr_tf.data import refusal

# A quarter of the step between two bytes: what rounding and resampling may add, and no other scale.
SLACK = 1e-3

_RESCALE = "divide by 255, or give uint8"
_CLIP = "scale or clip to 0..1, or give uint8"
_MEND = "mend such images or leave them out"
# Floats up to here lie beside the range, those beyond it are of another scale.
_NEAR = 2.0


def check_array(images: np.ndarray, name: str, index: np.ndarray | None = None) -> None:
    """Raises ValueError where a float image lies outside 0..1 or is not finite.

    Args:
        images: [N, ...] of any dtype; all but floats pass.
        name: what they are called in the message.
        index: int [N], the index of each, to be named; by default their places.
    """
    if not np.issubdtype(images.dtype, np.floating) or not images.size:
        return
    # A comparison with NaN is false.
    if images.min() >= -SLACK and images.max() <= 1 + SLACK:
        return
    each = images.reshape(len(images), -1)
    low, high = each.min(axis=1), each.max(axis=1)
    first = int(np.argmax(~((low >= -SLACK) & (high <= 1 + SLACK))))
    value = float(low[first] if low[first] < -SLACK else high[first])
    place = first if index is None else index[first]
    raise ValueError(f"example {place} of {name} {_beyond(value)}")


def checked(images: tf.Tensor, index: tf.Tensor, name: str) -> tf.Tensor:
    """The same images; a float one outside 0..1 or not finite stops the pipeline.

    Args:
        images: of any dtype; all but floats pass at no cost. [n, H, W, C], or one [H, W, C].
        index: int [n], or a scalar: named in the message.
        name: what they are called in it.
    """
    if not images.dtype.is_floating:
        return images

    def message():
        axes = list(range(index.shape.rank, images.shape.rank))
        low, high = (tf.reshape(f(images, axes), [-1]) for f in (tf.reduce_min, tf.reduce_max))
        first = tf.argmax(tf.cast(~_inside(low, high), tf.int32))
        value = tf.where(low < -SLACK, low, high)[first]
        at = tf.strings.as_string(tf.reshape(index, [-1])[first])
        return tf.strings.join(["example ", at, f" of {name} ", _beyond_in_graph(value)])

    good = _inside(tf.reduce_min(images), tf.reduce_max(images))
    return refusal.unless(good, message, images)


def checked_batch(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The same batch with `checked` images: entries of rank 4, one for each of its "index".

    Images for a probe beside them have no index, and are named by their place.
    """
    places = {
        key: tf.range(tf.shape(value)[0]) if key.startswith("probe_") else batch["index"]
        for key, value in batch.items()
        if value.shape.rank == 4
    }
    return {
        key: checked(value, places[key], key) if key in places else value
        for key, value in batch.items()
    }


def _inside(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    return (low >= -SLACK) & (high <= 1 + SLACK)


def _beyond(value: float) -> str:
    advice = _MEND if not np.isfinite(value) else _RESCALE if value > _NEAR else _CLIP
    return f"has the value {value:g}, but floats are in 0..1: {advice}"


def _beyond_in_graph(value: tf.Tensor) -> tf.Tensor:
    value = tf.cast(value, tf.float32)
    advice = tf.where(value > _NEAR, _RESCALE, _CLIP)
    advice = tf.where(tf.math.is_finite(value), advice, _MEND)
    text = tf.strings.as_string(value, shortest=True)
    return tf.strings.join(["has the value ", text, ", but floats are in 0..1: ", advice])
