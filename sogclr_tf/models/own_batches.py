"""Batches that a user's own data give, checked on the host before a step sees them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import pixel_range, refusal
from sogclr_tf.models.division import Division
from sogclr_tf.models.input_checks import unpack

_MEND = "batch with drop_remainder=True"


def checked(x: tf.data.Dataset | dict, division: Division | None = None) -> tf.data.Dataset | dict:
    """The same data, without float images outside 0..1 and without batches that cannot be used.

    Arrays are looked at here; a data set is stopped by the first batch that is wrong, which
    `sogclr_tf.models.input_checks.clear_errors` makes readable.

    Args:
        x: tf.data.Dataset of batches, or a dictionary of arrays.
        division: of each batch of a data set; None where any size will do.

    Raises:
        ValueError: an array has a float image outside 0..1.
    """
    if not isinstance(x, tf.data.Dataset):
        index = np.asarray(x["index"])
        for key, images in _images_of(x).items():
            named = None if key.startswith("probe_") else index
            pixel_range.check_array(np.asarray(images), key, named)
        return x

    @tf.autograph.experimental.do_not_convert
    def check(*parts):
        batch = unpack(unpack(parts))
        if division is not None:
            batch = _of_usable_size(batch, division)
        return pixel_range.checked_batch(batch)

    return x.map(check).prefetch(tf.data.AUTOTUNE)


def checked_images(x: Any) -> Any:
    """What `predict` is given, without float images outside 0..1.

    Args:
        x: images as an array, or a dictionary or a list with such; or a tf.data.Dataset of batches
            of them, or of (images, ...) pairs. Other kinds are handed on as they are.

    Raises:
        ValueError: an array has a float image outside 0..1.
    """
    if isinstance(x, tf.data.Dataset):
        return x.map(lambda *parts: _each_image(parts[0], _checked_in_batch))
    return _each_image(x, _checked_array)


def _each_image(x: Any, function: Callable) -> Any:
    return tf.nest.map_structure(lambda part: function(part) if _is_image(part) else part, x)


def _checked_in_batch(images: tf.Tensor) -> tf.Tensor:
    return pixel_range.checked(images, tf.range(tf.shape(images)[0]), "a batch")


def _checked_array(images: Any) -> Any:
    pixel_range.check_array(np.asarray(images), "the images")
    return images


def _images_of(batch: dict[str, Any]) -> dict[str, Any]:
    """Those entries of a batch that are images, of float or not."""
    return {key: value for key, value in batch.items() if _is_image(value)}


def _is_image(value: Any) -> bool:
    shape = getattr(value, "shape", None)
    return shape is not None and tf.TensorShape(shape).rank == 4


def _of_usable_size(batch: dict, division: Division) -> dict:
    """The batch, which stops the pipeline where it holds too few examples or differing numbers."""
    count = tf.shape(batch["index"])[0]
    shown = tf.strings.as_string(count)

    def of_size():
        examples = tf.where(count == 1, " example", " examples")
        mend = f": {division.need}, so {_MEND}"
        # The replicas of a strategy are known when a batch size is chosen, chunks may come later.
        which = "the last batch holds " if division.chunks == 1 else "a batch holds "
        return tf.strings.join([which, shown, examples, mend])

    batch = refusal.unless(division.fits(count), of_size, batch)
    for key in [key for key in _images_of(batch) if not key.startswith("probe_")]:
        held = tf.shape(batch[key])[0]

        def differing(key=key, held=held):
            parts = ["a batch holds ", tf.strings.as_string(held), f" of {key}, but ", shown]
            return tf.strings.join([*parts, " of index: give one of each for every example"])

        batch = refusal.unless(held == count, differing, batch)
    return batch
