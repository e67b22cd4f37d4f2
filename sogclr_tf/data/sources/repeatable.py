"""Whether a tf.data.Dataset gives the same examples each time, as an index by position needs."""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

# What of a data set is compared: enough to see a shuffle, and soon over.
_EXAMPLES, _SECONDS = 64, 2.0

# Of DatasetToGraphV2: functions with state are no error.
_IGNORE_STATE = 1

_SHUFFLING = "the training stream shuffles by itself"


def in_fixed_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same data set without the leave to give its examples as they come (`tf.data.Options`)."""
    if dataset.options().deterministic is not False:
        return dataset
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options)


def check_graph(dataset: tf.data.Dataset, name: str) -> None:
    """Raises ValueError where a step of the data set is known to give another order each time.

    It reads private attributes of TensorFlow's data sets, and passes what does not have them:
    `check_passes` looks at what comes out.

    Args:
        dataset: tf.data.Dataset.
        name: what to call it in messages.
    """
    for step in _steps(dataset):
        if _out_of_order(step):
            raise ValueError(
                f"{name} has a parallel step with deterministic=False, so that an index would not "
                "mean one example: leave that out"
            )
        # A buffer of one example leaves it in its place.
        if not hasattr(step, "_reshuffle_each_iteration") or _constant(step, "_buffer_size") == 1:
            continue
        if step._reshuffle_each_iteration is not False:
            raise ValueError(
                f"{name} is shuffled anew at every pass, so that an index would mean another "
                f"example each time: give it unshuffled (shuffle=False), as {_SHUFFLING}; or with "
                "reshuffle_each_iteration=False and a seed"
            )
        if _constant(step, "_seed") == 0 and _constant(step, "_seed2") == 0:
            raise ValueError(
                f"{name} is shuffled without a seed, so that an index would mean another example "
                f"at the next start: give it unshuffled (shuffle=False), as {_SHUFFLING}; or with "
                "a seed"
            )


def check_passes(
    dataset: tf.data.Dataset, size: int, parts_of: Callable[[int, Any], dict], name: str
) -> None:
    """Raises ValueError unless the first examples are the same in two passes, to the bit.

    Args:
        dataset: finite tf.data.Dataset of single examples.
        size: how many it has.
        parts_of: function from an example's place and its element to {name: tensor} of what is
            used of it.
        name: what to call the data set in messages.
    """
    first = _digests(dataset, min(size, _EXAMPLES), size, parts_of, _SECONDS)
    second = _digests(dataset, len(first), size, parts_of)
    if not first or len(second) != len(first):
        raise ValueError(
            f"{name} had {len(first) or size} examples in one pass and {len(second)} in the next: "
            "it must give the same each time, so from_generator needs a function that begins anew"
        )
    changed = [place for place, digest in enumerate(first) if second[place] != digest]
    if not changed:
        return
    if {second[place] for place in changed} & {*first}:
        raise ValueError(
            f"example {changed[0]} of {name} was another in the next pass over it, so that an "
            f"index would not mean one example: give it unshuffled (shuffle=False), as {_SHUFFLING}"
        )
    raise ValueError(
        f"example {changed[0]} of {name} was not the same in the next pass over it: give it "
        "without shuffling (shuffle=False) and without random augmentation, as both are the "
        "training stream's work"
    )


def _steps(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """A data set and all those that it is made from."""
    yield dataset
    for below in getattr(dataset, "_inputs", list)():
        yield from _steps(below)


def _out_of_order(step: tf.data.Dataset) -> bool:
    """Whether a step was made with deterministic=False, which no option overrides."""
    if "Interleave" not in type(step).__name__:
        return getattr(step, "_deterministic", None) == "false"
    # It keeps its argument in the graph alone. Not so for others: arrays would be copied into it.
    try:
        graph = tf.raw_ops.DatasetToGraphV2(
            input_dataset=step._variant_tensor, external_state_policy=_IGNORE_STATE
        )
        nodes = tf.compat.v1.GraphDef.FromString(graph.numpy()).node
    except (AttributeError, tf.errors.OpError):
        return False
    return any(
        "Interleave" in node.op and node.attr["deterministic"].s == b"false" for node in nodes
    )


def _constant(step: tf.data.Dataset, attribute: str) -> int | None:
    """The number that an attribute holds; None where it cannot be told."""
    value = tf.get_static_value(getattr(step, attribute, None))
    return None if value is None else int(value)


def _digests(
    dataset: tf.data.Dataset, count: int, size: int, parts_of: Callable, seconds: float = np.inf
) -> list[bytes]:
    """Of the first `count` examples of a pass, or of fewer where they take too long."""
    # To its end where it is short, so that a cache in it is filled.
    passing = dataset if count == size else dataset.take(count)
    end, found = time.monotonic() + seconds, []
    for place, element in enumerate(passing):
        digest = hashlib.blake2b(digest_size=16)
        for part in parts_of(place, element).values():
            digest.update(tf.io.serialize_tensor(part).numpy())
        found.append(digest.digest())
        if time.monotonic() > end:
            break
    return found
