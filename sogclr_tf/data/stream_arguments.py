"""Checks of what a training stream is made of, before anything is read."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sogclr_tf.data import policies
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.open import as_source, from_name, from_path, is_path
from sogclr_tf.data.sources.readable import usable
from sogclr_tf.data.stated_pixels import ValueRange


def checked_source(
    images: Any,
    data_dir: str | None = None,
    on_error: str = "raise",
    *,
    channels: int | None = None,
    value_range: ValueRange | None = None,
) -> Source:
    """The source of what `training_views` takes as its images.

    Raises:
        ValueError: `on_error` is unknown, or the images cannot be used.
        FileNotFoundError: a file is not there.
    """
    check_on_error(on_error)
    return usable(_source(images, data_dir, channels, value_range), on_error)


def check_on_error(on_error: str) -> None:
    """Raises ValueError unless `on_error` is one."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is '{on_error}': expected raise or skip")


def check_batch(source: Source, batch_size: int, seed: int) -> None:
    """Raises ValueError unless a source fills batches of this size, and `seed` is one."""
    if batch_size != int(batch_size) or batch_size < 2:
        raise ValueError(
            f"batch_size is {batch_size}: expected a whole number >= 2, as an example "
            "needs another to contrast with"
        )
    if source.size < batch_size:
        raise ValueError(
            f"{source.name} has {source.size} examples, fewer than batch_size {batch_size}"
        )
    if seed != int(seed) or not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}: expected a whole number in [0, 2**31)")


def check_policy(policy: Any, source: Source) -> None:
    """Raises ValueError unless `policy` is a `Policy`, or a function to views of one size."""
    if callable(policy):
        _check_function(policy, source)
    elif not isinstance(policy, Policy):
        raise ValueError(
            f"policy is {policy!r}: expected a sogclr_tf.Policy, a name or a function "
            "(image, seed) -> view"
        )
    else:
        policy.check_channels(source.pixel_format.channels, source.name)


def check_finish(finish: str, policies: Sequence[Policy | Callable]) -> None:
    """Raises ValueError unless views of these policies can be finished where `finish` says."""
    if finish not in ("host", "device"):
        raise ValueError(f"finish is {finish!r}: expected 'host' or 'device'")
    own = [policy for policy in policies if callable(policy)]
    if finish == "device" and own:
        name = getattr(own[0], "__name__", repr(own[0]))
        raise ValueError(
            f"finish is 'device', but {name} is a function, which the host alone can call: pass a "
            "sogclr_tf.Policy, or leave finish out"
        )


def default_side(source: Source) -> int:
    """The side of the views of a source whose images all have one size.

    Raises:
        ValueError: the images differ in size.
    """
    if source.image_size is None:
        raise ValueError(
            f"images of {source.name} differ in size: say how large a view is to be, "
            "policy=sogclr_tf.Policy(size=...)"
        )
    return min(source.image_size)


def default_policy(source: Source) -> Policy:
    """SimCLR's without blur, of what the channels of a source have, for views of its images' size.

    Raises:
        ValueError: the images differ in size.
    """
    side = default_side(source)
    return Policy(size=side) if source.pixel_format.channels == 3 else policies.bands(side)[0]


def _source(
    images: Any, data_dir: str | None, channels: int | None, value_range: ValueRange | None
) -> Source:
    stated: Any = {"channels": channels, "value_range": value_range}
    named = isinstance(images, (str, os.PathLike))
    if named and not is_path(images):
        return from_name(images, data_dir=data_dir, **stated)
    if data_dir is not None:
        raise ValueError(f"data_dir '{data_dir}' is for the name of a TFDS set: leave it out")
    return from_path(images, **stated) if named else as_source(images, **stated)


def _check_function(function: Callable, source: Source) -> None:
    def view_of(example):
        # Not a constant seed: shapes that depend on it would look fixed.
        seed = tf.cast(tf.stack([example["index"]] * 2), tf.int64)
        return function(source.decode(source.read(example["image"])), seed)

    view = source.examples().map(view_of).element_spec
    name = getattr(function, "__name__", repr(function))
    shape = view.shape if isinstance(view, tf.TensorSpec) else None
    if shape is None or not shape.is_fully_defined() or shape.rank != 3:
        raise ValueError(
            f"{name} gives {view}: expected one view [h, w, C] of a size known "
            "beforehand (tf.ensure_shape states it)"
        )
    if not (view.dtype == tf.uint8 or view.dtype.is_floating):
        raise ValueError(f"{name} gives {view.dtype.name}: expected uint8 or float in 0..1")
