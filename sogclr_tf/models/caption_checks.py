"""Whether a stream and a loss agree on what captions the images have."""

from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import refusal
from sogclr_tf.losses.base import ContrastiveLoss

KEY = "caption_index"


def check(found: bool, loss: ContrastiveLoss | None) -> None:
    """Raises ValueError unless a loss and elements agree on whether images have several captions.

    Args:
        found: whether there is a "caption_index".
        loss: None if no table takes part.
    """
    if loss is None or not loss.has_table or found == (loss.num_captions is not None):
        return
    if found:
        raise ValueError(
            f"training elements have a {KEY}, as images have several captions, but the loss "
            f"'{loss.name}' has no rows of captions: give it num_captions, that of the pairs"
        )
    raise ValueError(
        f"the loss '{loss.name}' has num_captions={loss.num_captions}, but training elements have "
        f"no {KEY}: give a list of captions for each image, or leave num_captions out"
    )


def check_number(num_captions: int | None, loss: ContrastiveLoss | None, name: str) -> None:
    """Raises ValueError where there are more captions than the loss has rows for."""
    rows = None if loss is None else loss.num_captions
    if rows is not None and num_captions is not None and num_captions > rows:
        raise ValueError(
            f"{name} has caption indices up to {num_captions - 1}, but the loss has a table for "
            f"{rows} captions: give it num_captions={num_captions}"
        )


def check_values(values: Any, loss: ContrastiveLoss | None) -> None:
    """Raises ValueError unless an array, or its spec, can be the "caption_index" of a stream."""
    dtype = tf.as_dtype(values.dtype)
    if len(values.shape) != 1 or not dtype.is_integer:
        raise ValueError(
            f"{KEY} is {dtype.name} {tuple(values.shape)}: expected whole numbers [B], the place "
            "of each caption among those of all images"
        )
    if isinstance(values, np.ndarray) and values.size:
        if values.min() < 0:
            raise ValueError(f"{KEY} {values.min()} is negative: expected [0, num_captions)")
        check_number(int(values.max()) + 1, loss, "the training set")


def guard_negatives(dataset: tf.data.Dataset, loss: ContrastiveLoss) -> tf.data.Dataset:
    """The same batches, which stop where all captions of one are of one image.

    Such a batch has no negatives, and no estimate for a table.

    Args:
        dataset: of global batches, as dictionaries.
        loss: that is trained on them.
    """
    if loss.num_captions is None:
        return dataset

    @tf.autograph.experimental.do_not_convert
    def guard(batch):
        index = batch["index"]

        def message():
            shown = tf.strings.as_string(index[0])
            mend = ", which has no negatives there: shuffle the captions, or take larger batches"
            return tf.strings.join(["a batch holds captions of image ", shown, " alone", mend])

        return refusal.unless(tf.reduce_any(index != index[0]), message, batch)

    return dataset.map(guard)
