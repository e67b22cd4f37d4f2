"""Arguments of Keras's `fit` and `evaluate` that mean nothing here, or nothing beside the data."""

import inspect
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.data.stream import Stream
from sogclr_tf.models.division import Division

_WITHOUT_MEANING = {
    "sample_weight": "a contrastive loss counts every example alike",
    "class_weight": "contrastive learning has no classes",
    "validation_split": "hold examples out and pass them as validation_data",
}
# Keras's own, of arrays that are given without a batch size.
_BATCH_SIZE = 32


def check_fit(x: Any, kwargs: dict[str, Any], division: Division) -> None:
    """Raises ValueError where an argument of `fit` is unknown, ignored or cannot be.

    Args:
        x: `Stream`, tf.data.Dataset or dictionary of arrays.
        kwargs: what `fit` was given beside x, y and initial_step.
        division: of each batch.
    """
    _check_names("fit", kwargs, more=("initial_step",))
    _check_batches(x, kwargs, "batch_size", "steps_per_epoch", division, again=True)
    shuffle = kwargs.get("shuffle")
    if isinstance(x, Stream) and shuffle is not None and not shuffle:
        raise ValueError(
            f"shuffle is {shuffle}, but x is a stream that takes another order each epoch: take "
            "tf.data.Datasets from its epoch() for a fixed one"
        )
    if isinstance(x, tf.data.Dataset) and shuffle:
        raise ValueError(
            f"shuffle is {shuffle}, but x is a tf.data.Dataset, which nobody shuffles from "
            "outside: call its shuffle() and leave the argument out"
        )
    held_out = kwargs.get("validation_data")
    if isinstance(held_out, (tuple, list)):
        raise ValueError(
            f"validation_data is a {type(held_out).__name__} of {len(held_out)}: contrastive "
            "learning has no targets, pass data of the same kinds as x alone"
        )
    if held_out is None:
        return
    sizes = dict(kwargs)
    if isinstance(held_out, dict) and sizes.get("validation_batch_size") is None:
        sizes["validation_batch_size"] = sizes.get("batch_size")
    _check_batches(
        held_out,
        sizes,
        "validation_batch_size",
        "validation_steps",
        Division(division.replicas),
        again=False,
    )


def check_evaluate(x: Any, y: Any, kwargs: dict[str, Any], division: Division) -> None:
    """Raises ValueError where an argument of `evaluate` is unknown, ignored or cannot be.

    Args:
        x, division: as for `check_fit`.
        y: must be None.
        kwargs: what `evaluate` was given beside x and y.
    """
    if y is not None:
        raise ValueError("y was given: contrastive learning has no targets, pass views alone")
    _check_names("evaluate", kwargs)
    _check_batches(x, kwargs, "batch_size", "steps", division, again=False)


def _check_names(method: str, kwargs: dict[str, Any], more: tuple[str, ...] = ()) -> None:
    known = [*inspect.signature(getattr(keras.Model, method)).parameters, *more]
    known = sorted({*known} - {"self", "x", "y", "kwargs", *_WITHOUT_MEANING})
    for name, value in kwargs.items():
        given = value is not None and not (name == "validation_split" and value == 0)
        if name in _WITHOUT_MEANING and given:
            raise ValueError(f"{name} was given: {_WITHOUT_MEANING[name]}, so leave it out")
        if name not in known and name not in _WITHOUT_MEANING:
            raise ValueError(f"{method} has no argument '{name}': choose of {', '.join(known)}")


def _check_batches(
    x: Any, kwargs: dict[str, Any], size: str, steps: str, division: Division, again: bool
) -> None:
    """Of the arguments called `size` and `steps`; `again`: epochs go on where one ended."""
    batch_size, count = kwargs.get(size), kwargs.get(steps)
    if count is not None:
        _check_whole(steps, count, least=1)
    if isinstance(x, dict):
        batch_size = _size_of_batches(x, size, batch_size, count)
        _check_array_batches(len(x["index"]), batch_size, None if again else count, division)
        there = math.ceil(len(x["index"]) / batch_size)
    elif batch_size is not None:
        raise ValueError(f"{size} is {batch_size}, but the data brings its batches: leave it out")
    elif isinstance(x, Stream):
        there = math.inf if again else x.steps_per_epoch
    else:
        there = int(x.cardinality())
    # Below 0: endless, or unknown.
    if count is not None and 0 <= there < count:
        raise ValueError(f"{steps} is {count}, but the data has {there} batches: give no more")


def _size_of_batches(x: dict, name: str, batch_size: int | None, steps: int | None) -> int:
    """How many examples of arrays Keras takes at a time."""
    if batch_size is not None:
        _check_whole(name, batch_size, least=2)
        return batch_size
    return math.ceil(len(x["index"]) / steps) if steps else _BATCH_SIZE


def _check_array_batches(
    count: int, batch_size: int, steps: int | None, division: Division
) -> None:
    """Raises ValueError where one of the first `steps` batches of `count` examples cannot be used.

    None stands for all of them.
    """
    full, rest = divmod(count, batch_size)
    sizes = [batch_size] * bool(full)
    if rest and (steps is None or steps > full):
        sizes.append(rest)
    for size in sizes:
        if not division.fits(size):
            which = "a" if size == batch_size else "the last"
            raise ValueError(
                f"{which} batch of the {count} examples holds {size}: {division.need}, so choose "
                f"another batch_size than {batch_size}, or other examples"
            )


def _check_whole(name: str, value: Any, least: int) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} is {value!r}: expected a whole number >= {least}")
