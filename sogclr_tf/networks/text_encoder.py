"""A small text encoder, from token ids to features, with its tokenizer and vocabulary."""

from collections.abc import Sequence
from typing import Any, Self

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

    Raises:
        ValueError: max_tokens is too small, or the texts hold no word.
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


@keras.saving.register_keras_serializable(package="sogclr_tf")
class TextEncoder(keras.Model):
    """A small transformer over words, whose mean over a text's words is its features.

        encoder = TextEncoder(vocabulary(captions))
        features = encoder(encoder.tokenize(["a red apple", "two dogs"]))    # float32 [2, 128]

    Blocks are pre-normalized: self-attention, then a two-layer network four times as wide, each
    added to what went in. Padding is attended to by nobody and left out of the mean; a text without
    words has features 0.

    The vocabulary is a weight (the words' bytes), so every format that keeps weights keeps it, and
    weights of another vocabulary are refused or bring theirs along. Accelerators know no strings:
    `tokenize` belongs into tf.data, and `call` takes what it gives.

    Args:
        words: the vocabulary, list of str, as `vocabulary` makes it.
        length: tokens of a text, >= 1; longer texts are cut.
        width: of the embedding and the features.
        blocks: of the transformer; 0 takes the mean of the words' embeddings alone.
        heads: of the attention; must divide width.
        dropout: in [0, 1), of each block's two branches.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        words: Sequence[str],
        length: int = 16,
        width: int = 128,
        blocks: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        name: str = "text_encoder",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _check(words, length, width, blocks, heads)
        self.length, self.width, self.blocks = length, width, blocks
        self.heads, self.dropout = heads, dropout
        text = "\n".join(words).encode()
        self._words = self.add_weight(
            name="vocabulary",
            shape=(len(text),),
            # Not uint8: several workers cannot send it to each other.
            dtype="int32",
            initializer=lambda *_, **__: tf.constant(np.frombuffer(text, np.uint8), tf.int32),
            trainable=False,
            autocast=False,
        )
        self._lookup = _Lookup()
        self._embedding = keras.layers.Embedding(len(words), width, name="words")
        self._places = keras.layers.Embedding(length, width, name="places")
        self._blocks = [
            _Block(width, heads, dropout, name=f"block{number}") for number in range(blocks)
        ]
        self._normalize = keras.layers.LayerNormalization(epsilon=1e-6, name="normalize")
        self.build((None, length))

    @property
    def words(self) -> list[str]:
        """The vocabulary, list of str."""
        # Read at once, in a function that is being traced too.
        with tf.init_scope():
            return bytes(np.uint8(keras.ops.convert_to_numpy(self._words))).decode().split("\n")

    @property
    def vectorization(self) -> keras.layers.TextVectorization:
        """The keras.layers.TextVectorization that `tokenize` uses."""
        return self._lookup.layer(self.words, self.length)

    @property
    def input_shape(self) -> tuple[None, int]:
        return (None, self.length)

    def build(self, input_shape: Any) -> None:  # noqa: ARG002
        """Makes all weights; the shape is known beforehand."""
        if not self.built:
            self.built: bool = True
            self(keras.KerasTensor((None, self.length), "int32"))

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.Tensor:
        """Token ids int32 [B, length] of strings [B]; 0 is padding, 1 an unknown word."""
        return tf.cast(self.vectorization(texts), tf.int32)

    def call(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Features [B, width] of token ids int [B, length]."""
        mask = keras.ops.not_equal(tokens, 0)
        x = self._embedding(tokens) + self._places(keras.ops.arange(self.length))
        for block in self._blocks:
            x = block(x, mask, training=training)
        x = self._normalize(x)
        share = keras.ops.cast(mask, x.dtype)
        count = keras.ops.maximum(keras.ops.sum(share, axis=1, keepdims=True), 1)
        return keras.ops.einsum("blw,bl->bw", x, share / count)

    def get_config(self) -> dict[str, Any]:
        return {
            **keras.Model.get_config(self),
            "words": self.words,
            **{
                name: getattr(self, name)
                for name in ("length", "width", "blocks", "heads", "dropout")
            },
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,  # noqa: ARG003
    ) -> Self:
        return cls(**config)


class _Block(keras.layers.Layer):
    """One block of the transformer."""

    def __init__(self, width, heads, dropout, **kwargs):
        super().__init__(**kwargs)
        self._attend = keras.layers.MultiHeadAttention(heads, width // heads, dropout=dropout)
        self._widen = keras.layers.Dense(4 * width, activation="gelu", name="widen")
        self._narrow = keras.layers.Dense(width, name="narrow")
        self._dropout = keras.layers.Dropout(dropout)
        self._before_attention = keras.layers.LayerNormalization(epsilon=1e-6, name="norm1")
        self._before_network = keras.layers.LayerNormalization(epsilon=1e-6, name="norm2")

    def call(self, x, mask, training=False):
        y = self._before_attention(x)
        y = self._attend(y, y, attention_mask=mask[:, None, :], training=training)
        x = x + self._dropout(y, training=training)
        y = self._narrow(self._widen(self._before_network(x)))
        return x + self._dropout(y, training=training)


class _Lookup:
    """Keeps the layer that looks words up, for as long as the vocabulary is the same.

    No layer of the encoder's, whose weights must be those of the vocabulary alone: Keras saves a
    lookup's words apart from the weights, and tf.train not at all.
    """

    def __init__(self):
        self._made_for, self._layer = None, None

    def layer(self, words, length):
        if self._made_for != words:
            # Outside any function that is being traced, and never on an accelerator.
            with tf.init_scope(), tf.device("CPU:0"):
                self._layer = keras.layers.TextVectorization(
                    output_sequence_length=length, vocabulary=words
                )
                # An export tracks it, which may come before the first text.
                self._layer.build((None,))
            self._made_for = words
        return self._layer


def _check(words, length, width, blocks, heads):
    if len(words) < 3 or len(set(words)) < len(words):
        raise ValueError(
            f"words is a list of {len(words)}, {len(set(words))} of them different: give what "
            "sogclr_tf.vocabulary(texts) returns"
        )
    for name, value, least in (("length", length, 1), ("width", width, 1), ("blocks", blocks, 0)):
        if value != int(value) or value < least:
            raise ValueError(f"{name} is {value}: give a whole number >= {least}")
    if heads < 1 or width % heads:
        raise ValueError(f"heads is {heads}: give a number that divides width {width}")
