"""Texts as words: a vocabulary of the most frequent ones."""

from collections.abc import Sequence
from typing import Self

import keras
import numpy as np
import tensorflow as tf


def vocabulary(
    texts: Sequence[str] | np.ndarray | tf.data.Dataset, max_tokens: int = 20_000
) -> list[str]:
    """The words of `texts`, the most frequent first: list of str.

    Words are lower-case and without punctuation, as `TextEncoder.tokenize` reads them. The list
    starts with "" (padding) and "[UNK]" (every other word), as Keras's `TextVectorization` has it.

    Args:
        texts: list or array of str, or a finite tf.data.Dataset of them, one or many at a time.
        max_tokens: how many words are kept at most, those two included; >= 3.

    Returns:
        The words, of which the first two stand for padding and for all others.

    Raises:
        ValueError: max_tokens is too small, or the texts hold no word.

    Examples:
        >>> import sogclr_tf
        >>> sogclr_tf.vocabulary(["A red heart", "a red car"], max_tokens=4)
        ['', '[UNK]', 'red', 'a']
    """
    if max_tokens < 3:
        raise ValueError(f"max_tokens is {max_tokens}: at least 3 leave room for a word")
    with tf.device("CPU:0"):
        layer = keras.layers.TextVectorization(max_tokens)
        if not isinstance(texts, tf.data.Dataset):
            texts = tf.data.Dataset.from_tensor_slices(list(texts)).batch(4096)
        layer.adapt(texts)
    words = layer.get_vocabulary()
    if len(words) < 3:
        raise ValueError("the texts hold no word to build a vocabulary of")
    return [str(word) for word in words]


class WordTokenizer:
    """Looks the words of texts up in a vocabulary, as `SubwordTokenizer` has subwords.

    Args:
        words: list of str, as `vocabulary` makes it.

    Raises:
        ValueError: they are fewer than 3, or a word is there twice.
    """

    least_length = 1

    def __init__(self, words: Sequence[str]) -> None:
        if len(words) < 3 or len(set(words)) < len(words):
            raise ValueError(
                f"words is a list of {len(words)}, {len(set(words))} of them different: give what "
                "sogclr_tf.vocabulary(texts) returns"
            )
        self.words, self.size = list(words), len(words)
        self._layers: dict[int, keras.layers.TextVectorization] = {}

    def layer(self, length: int) -> keras.layers.TextVectorization:
        """The layer that looks words up, of texts of so many words."""
        if length not in self._layers:
            # Outside any function that is being traced, and never on an accelerator.
            with tf.init_scope(), tf.device("CPU:0"):
                layer = keras.layers.TextVectorization(
                    output_sequence_length=length, vocabulary=self.words
                )
                # An export tracks it, which may come before the first text.
                layer.build((None,))
            self._layers[length] = layer
        return self._layers[length]

    def tokens(self, texts: tf.Tensor | Sequence[str], length: int) -> tf.Tensor:
        """Token ids int32 [B, length] of strings [B]; 0 is padding, 1 an unknown word."""
        return tf.cast(self.layer(length)(texts), tf.int32)

    def mask(self, tokens: tf.Tensor) -> tf.Tensor:
        """Where tokens [B, L] are a text's: bool [B, L]."""
        return keras.ops.not_equal(tokens, 0)

    @property
    def state(self) -> np.ndarray:
        """What `from_state` makes an equal tokenizer of: numpy int32, the bytes of the words."""
        # Not uint8: several workers cannot send it to each other.
        return np.frombuffer("\n".join(self.words).encode(), np.uint8).astype(np.int32)

    @classmethod
    def from_state(cls, state: np.ndarray) -> Self:
        return cls(bytes(np.uint8(state)).decode().split("\n"))
