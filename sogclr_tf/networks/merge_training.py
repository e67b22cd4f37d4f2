"""Lists of merges as texts ask for them, found by the package `tokenizers`."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from sogclr_tf.networks.byte_pairs import split_words
from sogclr_tf.networks.merge_files import END_OF_WORD, byte_pieces


def trained_merges(
    texts: Sequence[str] | np.ndarray | tf.data.Dataset, max_tokens: int
) -> list[list[str]]:
    """The most frequent merges of texts, as lists of two pieces.

    Args:
        texts: list or array of str, or a finite tf.data.Dataset of them, one or many at a time.
        max_tokens: bytes, those that end a word, and merges.

    Raises:
        ImportError: there is no package `tokenizers`.
    """
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    except ImportError:
        raise ImportError(
            "subwords are trained by the package tokenizers, which is not installed: "
            'pip install "sogclr_tf[text]", or load a file of merges'
        ) from None
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=max_tokens,
        min_frequency=2,
        # All of them, because it would number those that it finds in an order that differs from
        # run to run, and break ties between pairs by the numbers.
        special_tokens=byte_pieces(),
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_as_words(texts), trainer)
    return json.loads(tokenizer.to_str())["model"]["merges"]


def _as_words(texts: Sequence[str] | np.ndarray | tf.data.Dataset) -> Iterator[str]:
    """Texts, many at a time, with a space between the words that `split_words` finds in them."""
    if not isinstance(texts, tf.data.Dataset):
        texts = tf.data.Dataset.from_tensor_slices(list(texts)).batch(4096)
    words = texts.map(
        lambda some: tf.strings.reduce_join(
            split_words(tf.reshape(some, [-1])).flat_values, separator=" "
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return (some.decode() for some in words.as_numpy_iterator())
