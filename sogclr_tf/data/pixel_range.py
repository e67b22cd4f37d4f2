"""Float images must lie in 0..1, and others in the range that was stated for them.

Checked in arrays, and of every image in a pipeline. What is beyond it would train all the same, on
views that are cut to black and white, and NaN would spread into every weight.
"""

import numpy as np
import tensorflow as tf

from sogclr_tf.data import refusal
from sogclr_tf.data.stated_pixels import ValueRange

# A quarter of the step between two bytes: what rounding and resampling may add, and no other scale.
SLACK = 1e-3
# Of a range that somebody stated in an image's own values: what rounding may add.
_ROUNDING = 1e-6

_RESCALE = "divide by 255, or give uint8, or state value_range=(low, high)"
_CLIP = "scale or clip to 0..1, or give uint8, or state value_range=(low, high)"
_MEND = "mend such images or leave them out"
_WIDEN = "state a range that holds all values, or clip them"
# Floats up to here lie beside the range, those beyond it are of another scale.
_NEAR = 2.0


def check_array(
    images: np.ndarray,
    name: str,
    index: np.ndarray | None = None,
    value_range: ValueRange | None = None,
) -> None:
    """Raises ValueError where an image lies outside its range or is not finite.

    Args:
        images: [N, ...] as they are stored. Without a stated range all but floats pass.
        name: what they are called in the message.
        index: int [N], the index of each, to be named; by default their places.
        value_range: (low, high) as it was stated; None for 0..1 of floats.
    """
    # NumPy does not count bfloat16 among the floating ones.
    floating = np.issubdtype(images.dtype, np.floating) or images.dtype.name == "bfloat16"
    if not images.size or (value_range is None and not floating):
        return
    if floating and images.dtype.itemsize == 2:
        # NumPy rounds the bounds to the dtype of what they are compared with.
        images = images.astype(np.float32)
    least, most = _allowed(value_range)
    # A comparison with NaN is false.
    if images.min() >= least and images.max() <= most:
        return
    each = images.reshape(len(images), -1)
    low, high = each.min(axis=1), each.max(axis=1)
    first = int(np.argmax(~((low >= least) & (high <= most))))
    value = float(low[first] if low[first] < least else high[first])
    place = first if index is None else index[first]
    raise ValueError(f"example {place} of {name} {_beyond(value, value_range)}")


def checked(
    images: tf.Tensor, index: tf.Tensor, name: str, value_range: ValueRange | None = None
) -> tf.Tensor:
    """The same images; a float one outside 0..1 or not finite stops the pipeline.

    Args:
        images: of any dtype; all but floats pass at no cost. [n, H, W, C], or one [H, W, C].
        index: int [n], or a scalar: named in the message.
        name: what they are called in it.
        value_range: (low, high), the stored values that became 0 and 1, as they were stated.
    """
    if not images.dtype.is_floating:
        return images
    low, high = value_range or (0.0, 1.0)

    def message():
        axes = list(range(index.shape.rank, images.shape.rank))
        smallest, largest = (
            tf.reshape(f(images, axes), [-1]) for f in (tf.reduce_min, tf.reduce_max)
        )
        first = tf.argmax(tf.cast(~_inside(smallest, largest, value_range), tf.int32))
        below = ~_inside(smallest, 0.0, value_range)
        value = tf.where(below, smallest, largest)[first]
        at = tf.strings.as_string(tf.reshape(index, [-1])[first])
        beyond = _beyond_in_graph(low + (high - low) * tf.cast(value, tf.float32), value_range)
        return tf.strings.join(["example ", at, f" of {name} ", beyond])

    return refusal.unless(is_inside(images, value_range), message, images)


def is_inside(images: tf.Tensor, value_range: ValueRange | None = None) -> tf.Tensor:
    """Whether all pixels lie where `checked` lets them pass: a bool scalar.

    Args:
        images: float, of any shape.
        value_range: as for `checked`.
    """
    return _inside(tf.reduce_min(images), tf.reduce_max(images), value_range)


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


def _inside(smallest: tf.Tensor, largest: tf.Tensor, value_range: ValueRange | None) -> tf.Tensor:
    slack = SLACK if value_range is None else _ROUNDING
    return (smallest >= -slack) & (largest <= 1 + slack)


def _allowed(value_range: ValueRange | None) -> ValueRange:
    """The least and the greatest value that pass."""
    if value_range is None:
        return -SLACK, 1 + SLACK
    low, high = value_range
    return low - _ROUNDING * (high - low), high + _ROUNDING * (high - low)


def _but(value_range: ValueRange | None) -> str:
    if value_range is None:
        return ", but floats are in 0..1: "
    return f", but value_range is ({value_range[0]:g}, {value_range[1]:g}): "


def _beyond(value: float, value_range: ValueRange | None) -> str:
    advice = _RESCALE if value > _NEAR else _CLIP
    if value_range is not None:
        advice = _WIDEN
    if not np.isfinite(value):
        advice = _MEND
    return f"has the value {value:g}{_but(value_range)}{advice}"


def _beyond_in_graph(value: tf.Tensor, value_range: ValueRange | None) -> tf.Tensor:
    advice = tf.constant(_WIDEN)
    if value_range is None:
        advice = tf.where(value > _NEAR, _RESCALE, _CLIP)
    advice = tf.where(tf.math.is_finite(value), advice, _MEND)
    text = tf.strings.as_string(value, shortest=True)
    return tf.strings.join(["has the value ", text, _but(value_range), advice])
