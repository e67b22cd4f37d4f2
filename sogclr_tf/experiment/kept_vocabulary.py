"""The vocabulary that a run was begun with, read from its checkpoints."""

import pathlib

import tensorflow as tf

from sogclr_tf.networks.subwords import SubwordTokenizer
from sogclr_tf.networks.words import WordTokenizer

# Where `Checkpoints` has the weight of `TextEncoder`.
_KEY = "model/text_encoder/_words/.ATTRIBUTES/VARIABLE_VALUE"


def kept_vocabulary(folder: pathlib.Path) -> list[str] | SubwordTokenizer | None:
    """The words or subwords in the checkpoints of a folder; None where there are none.

    All checkpoints of a run have the same. A run that goes on with other texts keeps its weights
    so, and one that goes on with the same need not read them all.
    """
    for index in folder.glob("step-*.index"):
        try:
            state = tf.train.load_checkpoint(str(index.with_suffix(""))).get_tensor(_KEY)
        # One that is cut off or of another kind of run; restoring says so.
        except (tf.errors.OpError, IndexError, ValueError):
            continue
        return SubwordTokenizer(state) if state.ndim == 2 else WordTokenizer.from_state(state).words
    return None
