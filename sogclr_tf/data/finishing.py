"""Views finished on the device that trains: all that follows the resizing, of a batch at once.

A stream with finish="device" gives bytes that are cropped and resized, and beside each "view" its
"view_changes", float32 [B, 12], of which `changes.COLUMNS` names the numbers. What is made of them
are the views that the host would have made, within a level of 8 bits: flip, jitter, grayscale, blur
and solarize, in this order. Every image takes part in every operation, and keeps what became of it
where it is to be changed: no branch, no gather and no shape depends on what was drawn, as TPUs have
it. A blur alone is left out where no image of a batch has one.
"""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from sogclr_tf.data import color
from sogclr_tf.data.changes import COLUMNS, WIDTH


def key_of(view: str) -> str:
    """The key of a batch that holds what changes the view at the key `view`."""
    return f"{view}_changes"


def finished(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A batch with all its views finished, as a stream with finish="host" would give it.

    Args:
        batch: of a stream of `training_views` or `training_pairs`, finished or not.

    Returns:
        The batch without its "_changes". Views that were finished here are float32 in 0..1, those
        of bytes with 256 levels.

    Raises:
        ValueError: the changes of a view have another shape than its stream gives them.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.zeros([8, 16, 16, 3], np.uint8)
        >>> views = sogclr_tf.training_views(images, batch_size=4, finish="device")
        >>> batch = next(iter(views.stream()))
        >>> sorted(batch)
        ['index', 'view_a', 'view_a_changes', 'view_b', 'view_b_changes']
        >>> batch = sogclr_tf.finished(batch)  # in a training step of your own
        >>> sorted(batch), batch["view_a"].dtype.name
        (['index', 'view_a', 'view_b'], 'float32')
    """
    changes = {key_of(key) for key in batch}
    return {key: finished_view(batch, key) for key in batch if key not in changes}


def finished_views(batch: dict[str, tf.Tensor], keys: Sequence[str]) -> tf.Tensor:
    """The views of a batch at these keys, finished, one key's after another's: [keys * B, ...]."""
    if all(key_of(key) in batch for key in keys):
        # One program for all.
        parts = (keys, map(key_of, keys))
        joined = (tf.concat([batch[key] for key in part], axis=0) for part in parts)
        batch, keys = dict(zip(("views", key_of("views")), joined, strict=True)), ["views"]
    return tf.concat([finished_view(batch, key) for key in keys], axis=0)


def finished_view(batch: dict[str, tf.Tensor], key: str) -> tf.Tensor:
    """The entry of a batch at `key`, finished as `finished` says where it is a view that is not."""
    images, changes = batch[key], batch.get(key_of(key))
    if changes is None:
        return images
    if changes.shape.rank != 2 or changes.shape[1] != WIDTH:
        raise ValueError(
            f"{key_of(key)} is {changes.dtype.name} {tuple(changes.shape)}: expected float32 "
            f'[B, {WIDTH}], as sogclr_tf.training_views(..., finish="device") gives it'
        )
    return _program()(images, changes)


def _program() -> Callable:
    # A TPU compiles the whole step. Elsewhere the many passes over the pixels become few.
    on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
    return _finish if on_tpu else _compiled()


@functools.cache
def _compiled() -> Callable:
    return tf.function(_finish, jit_compile=True, autograph=False)


def _finish(images: tf.Tensor, changes: tf.Tensor) -> tf.Tensor:
    """float32 [B, H, W, C] in 0..1 of images uint8, or float32 in 0..1."""
    change = {name: changes[:, place] for name, place in COLUMNS.items()}
    whole = images.dtype == tf.uint8
    # Colors apart, [C, B, H, W], as `color` takes them.
    planes = tf.stack(tf.unstack(tf.cast(images, tf.float32), axis=3))
    planes = planes / 255 if whole else planes
    planes = tf.where(_done(change["flip"]), tf.reverse(planes, [3]), planes)
    planes = _jittered(planes, change)
    if images.shape[3] == 3:
        gray = color.to_grayscale(planes)
        planes = tf.where(_done(change["grayscale"]), gray, planes)
    planes = tf.cond(
        tf.reduce_any(change["sigma"] > 0),
        lambda: _blurred(planes, change["sigma"]),
        lambda: planes,
    )
    planes = tf.where(_done(change["solarize"]), color.solarize(planes), planes)
    planes = tf.clip_by_value(planes, 0.0, 1.0)
    planes = tf.floor(planes * 255 + 0.5) / 255 if whole else planes
    return tf.stack(tf.unstack(planes), axis=3)


def _jittered(planes: tf.Tensor, change: dict[str, tf.Tensor]) -> tf.Tensor:
    of_each = {
        name: _of_images(change[name]) for name in ("brightness", "contrast", "saturation", "hue")
    }
    for position in range(4):
        number = _of_images(change["order"][:, position])
        changed = planes
        for place, operation in enumerate(color.jittering(of_each)):
            changed = tf.where(number == place, operation(planes), changed)
        planes = changed
    return planes


def _blurred(planes: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """As `color.blur`, each image by its own sigma; as it is where that is 0.

    Two products of matrices, which TPUs and GPUs are made for, in place of a sum of shifted images.
    """
    height, width = planes.shape[2:]
    radius = color.blur_radius(height, width)
    rows, columns = (_weights(side, radius, sigma) for side in (height, width))
    blurred = tf.einsum("bij,cbjw->cbiw", rows, planes)
    blurred = tf.einsum("bij,cbhj->cbhi", columns, blurred)
    return tf.where(_done(sigma), blurred, planes)


def _weights(side: int, radius: int, sigma: tf.Tensor) -> tf.Tensor:
    """How much of each pixel of a row goes into each, the border mirrored: [B, side, side]."""
    to, of = tf.range(side)[:, tf.newaxis], tf.range(side)[tf.newaxis]
    far = radius + 1
    distances = [
        abs(to - of),
        # What lies behind the first pixel and behind the last, neither of which is repeated.
        tf.where(of > 0, to + of, far),
        tf.where(of < side - 1, 2 * (side - 1) - to - of, far),
    ]
    # Where nothing is blurred it is not used; 0 would divide.
    scale = tf.maximum(sigma, 0.1)[:, tf.newaxis, tf.newaxis]
    weights = tf.add_n(
        [
            tf.where(
                distance < far, tf.exp(-tf.square(tf.cast(distance, tf.float32) / scale) / 2), 0.0
            )
            for distance in distances
        ]
    )
    return weights / tf.reduce_sum(weights, axis=2, keepdims=True)


def _done(flags: tf.Tensor) -> tf.Tensor:
    return _of_images(flags > 0)


def _of_images(numbers: tf.Tensor) -> tf.Tensor:
    """One number of every image, for planes [C, B, H, W]."""
    return numbers[:, tf.newaxis, tf.newaxis]
