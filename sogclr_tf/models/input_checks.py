"""The contract between a training stream and a model, checked before hours are spent."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from sogclr_tf.data import refusal
from sogclr_tf.data.stream import Stream
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import caption_checks
from sogclr_tf.models.division import Division

_TABLE = "the table of the loss: give the loss a larger {}, or mend the stream"


class BatchSpec(NamedTuple):
    """What the elements of a stream must be, by key, beside "index".

    Attributes:
        checks: {key: function of (key, element) that raises ValueError}.
        maker: the function that makes such streams.
        example: a loss to show where none was given.
        captioned: whether "caption_index" has a meaning.
    """

    checks: dict
    maker: str
    example: str
    captioned: bool = False


def unpack(data: Any) -> Any:
    """The batch dictionary from what Keras hands to a step: it may wrap it in a tuple."""
    return data[0] if isinstance(data, tuple) else data


def check_stream(
    x: Any, batch_spec: BatchSpec, loss: ContrastiveLoss | None, division: Division
) -> None:
    """Raises ValueError unless x is what a model is trained on.

    Args:
        x: a `Stream`, a tf.data.Dataset or a dictionary of arrays.
        batch_spec: the model's, `VIEWS` or `PAIRS`.
        loss: whose table the indices must fit; None if no table takes part.
        division: into which the global batch must divide.
    """
    keys = (*batch_spec.checks, "index")
    if isinstance(x, Stream) and x.keys == keys:
        _check_table(x.num_examples, loss, x.source.name)
        if batch_spec.captioned:
            caption_checks.check(caption_checks.KEY in x.columns, loss)
            caption_checks.check_number(x.source.num_captions, loss, x.source.name)
        _check_batch(x.batch_size, division)
        return
    elements = x.element_spec if isinstance(x, tf.data.Dataset) else x
    elements = unpack(elements)
    if not isinstance(elements, dict) or any(key not in elements for key in keys):
        found = sorted(elements) if isinstance(elements, dict) else type(elements).__name__
        raise ValueError(
            f"training elements are {found}: expected a dictionary with {', '.join(keys)}, as "
            f"sogclr_tf.{batch_spec.maker} makes it"
        )
    for key, check in batch_spec.checks.items():
        check(key, elements[key])
    _check_index(elements["index"], loss)
    if batch_spec.captioned:
        caption_checks.check(caption_checks.KEY in elements, loss)
        if caption_checks.KEY in elements:
            caption_checks.check_values(elements[caption_checks.KEY], loss)
    if isinstance(x, tf.data.Dataset):
        _check_batch(elements["index"].shape[0], division)


def check_encoder(key: str, found: tuple | tf.TensorShape, encoder: Callable) -> None:
    """Raises ValueError where the encoder was built for another shape than `found`, that of key."""
    expected = getattr(encoder, "input_shape", None)
    if expected is not None and not tf.TensorShape(found).is_compatible_with(expected):
        size = tuple(expected[1:3])
        # A policy draws views of any size.
        way = f", or make views with size={size}" if len(expected) == 4 and None not in size else ""
        raise ValueError(
            f"the encoder takes {tuple(expected)}, but '{key}' is {tuple(found)}: build it with "
            f"input_shape={tuple(found[1:])}{way}"
        )


def check_labels(elements: dict[str, Any]) -> None:
    """Raises ValueError where a probe would find no labels in the elements of a stream."""
    if "probe_image" in elements:
        _check_images("probe_image", elements["probe_image"])
    key = "probe_label" if "probe_image" in elements else "label"
    if key not in elements:
        raise ValueError(
            f"the model has a probe, but its training elements have no {key}: give images with "
            "labels, or leave the probe out"
        )
    dtype = tf.as_dtype(elements[key].dtype)
    if len(elements[key].shape) != 1 or not dtype.is_integer:
        raise ValueError(
            f"{key} is {dtype.name} {tuple(elements[key].shape)}: expected whole numbers [B], the "
            "class of each image"
        )


def check_initial_step(initial_step: int | None, x: Any, kwargs: dict[str, Any]) -> None:
    """Raises ValueError where a step to go on from has no meaning."""
    if initial_step is None:
        return
    if not isinstance(x, Stream):
        raise ValueError(
            f"initial_step={initial_step} is for sogclr_tf's own streams: skip the steps of your "
            "own yourself and leave it out"
        )
    if initial_step != int(initial_step) or initial_step < 0:
        raise ValueError(f"initial_step is {initial_step}: expected a whole number >= 0")
    if "initial_epoch" in kwargs:
        raise ValueError("initial_step and initial_epoch were both given: pass one of them")


def check_execution(
    steps_per_epoch: int | None,
    taken: int,
    steps_per_execution: int,
    strategy: tf.distribute.Strategy,
) -> None:
    """Raises ValueError where Keras's loop over several steps would fail or overrun an epoch.

    Args:
        steps_per_epoch: int, or None where the end of the data ends the epoch.
        taken: steps of the first epoch that are behind.
        steps_per_execution: steps that Keras takes in one go.
        strategy: the tf.distribute strategy of the model.
    """
    collective = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    replicas = strategy.num_replicas_in_sync
    if steps_per_execution > 1 and replicas > 1 and isinstance(strategy, collective):
        raise ValueError(
            f"steps_per_execution is {steps_per_execution} on {replicas} replicas of "
            f"{type(strategy).__name__}: its collectives fail in Keras's loop over several steps, "
            "so leave it at 1 (one device and TPUs can have more)"
        )
    if steps_per_epoch is None:
        return
    if steps_per_epoch % steps_per_execution:
        possible = [n for n in range(1, steps_per_epoch + 1) if steps_per_epoch % n == 0]
        raise ValueError(
            f"steps_per_execution {steps_per_execution} does not divide the {steps_per_epoch} "
            f"steps of an epoch: choose one of {', '.join(map(str, possible))}"
        )
    if taken % steps_per_execution:
        raise ValueError(
            f"{taken} steps of the epoch are behind, and steps_per_execution "
            f"{steps_per_execution} does not divide them: resume with what the run had"
        )


def guard_indices(dataset: tf.data.Dataset, loss: ContrastiveLoss) -> tf.data.Dataset:
    """The same stream, which stops at an index outside the loss's table.

    The check runs on the host, in tf.data: on an accelerator such an index would be ignored.
    `clear_errors` makes its error readable.
    """
    if not loss.has_table:
        return dataset
    rows = {"index": ("num_examples", loss.num_examples)}
    if loss.num_captions is not None:
        rows[caption_checks.KEY] = ("num_captions", loss.num_captions)

    # Nothing here is for AutoGraph, whose conversion would take a tenth of a second.
    @tf.autograph.experimental.do_not_convert
    def guard(*parts):
        elements = parts[0] if len(parts) == 1 else parts
        for key, (argument, size) in rows.items():
            elements = _guarded(elements, key, argument, size)
        return elements

    return dataset.map(guard).prefetch(tf.data.AUTOTUNE)


def _guarded(elements: Any, key: str, argument: str, size: int) -> Any:
    """The elements, which stop the pipeline where a number at `key` is outside of [0, size)."""
    index = tf.cast(unpack(elements)[key], tf.int64)
    outside = (index < 0) | (index >= size)

    def message():
        named = tf.strings.as_string(index[tf.argmax(tf.cast(outside, tf.int32))])
        where = f" of the stream is outside [0, {size}), {_TABLE.format(argument)}"
        return tf.strings.join([f"{key} ", named, where])

    return refusal.unless(~tf.reduce_any(outside), message, elements)


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Raises what a check on the host stopped a stream with as a ValueError of its one line."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        line = refusal.line_of(error)
        if line is None:
            raise
        raise ValueError(line) from None


def _check_images(key: str, view: Any) -> None:
    rank = len(view.shape)
    dtype = tf.as_dtype(view.dtype)
    if rank != 4 or not (dtype == tf.uint8 or dtype.is_floating):
        raise ValueError(
            f"{key} is {dtype.name} {tuple(view.shape)}: expected batches [B, H, W, C], uint8 or "
            "float in 0..1"
        )


def _check_texts(key: str, text: Any) -> None:
    dtype = tf.as_dtype(text.dtype)
    if (dtype == tf.string, dtype.is_integer, len(text.shape)) not in (
        (True, False, 1),
        (False, True, 2),
    ):
        raise ValueError(
            f"{key} is {dtype.name} {tuple(text.shape)}: expected strings [B], or token ids [B, L]"
        )


def _check_index(index: Any, loss: ContrastiveLoss | None) -> None:
    dtype = tf.as_dtype(index.dtype)
    if len(index.shape) != 1 or not dtype.is_integer:
        raise ValueError(
            f"index is {dtype.name} {tuple(index.shape)}: expected whole numbers [B], the place of "
            "each example in the training set"
        )
    if isinstance(index, np.ndarray) and index.size and loss is not None:
        if index.min() < 0:
            raise ValueError(f"index {index.min()} is negative: expected [0, num_examples)")
        _check_table(int(index.max()) + 1, loss, "the training set")


def _check_table(num_examples: int, loss: ContrastiveLoss | None, name: str) -> None:
    if loss is not None and loss.has_table and num_examples > loss.num_examples:
        raise ValueError(
            f"{name} has indices up to {num_examples - 1}, but the loss has a table for "
            f"{loss.num_examples} examples: give it num_examples={num_examples}"
        )


def _check_batch(batch_size: int | None, division: Division) -> None:
    if batch_size is None:
        return
    if batch_size < 2:
        raise ValueError(f"the batch holds {batch_size} example: at least 2 are needed to contrast")
    if not division.fits(batch_size):
        raise ValueError(
            f"batch size {batch_size} does not divide into {division}: "
            f"take a multiple of {division.parts}"
        )


VIEWS = BatchSpec(
    {"view_a": _check_images, "view_b": _check_images},
    maker="training_views",
    example="GlobalContrastiveLoss(num_examples=len(images))",
)
PAIRS = BatchSpec(
    {"image": _check_images, "text": _check_texts},
    maker="training_pairs",
    example="TwoWayGlobalContrastiveLoss(num_examples=len(images))",
    captioned=True,
)
