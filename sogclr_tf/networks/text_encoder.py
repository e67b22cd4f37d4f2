"""A text encoder, from token ids to features, with its tokenizer: small, or of CLIP's shape."""

from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.networks.normalization import require_one_of
from sogclr_tf.networks.subwords import SubwordTokenizer
from sogclr_tf.networks.words import WordTokenizer

POOLINGS = ("mean", "last")
_OPTIONS = ("length", "width", "blocks", "heads", "dropout", "causal", "pooling", "activation")


def _quick_gelu(x):
    return x * keras.ops.sigmoid(1.702 * x)


_ACTIVATIONS = {"gelu": keras.activations.gelu, "quick_gelu": _quick_gelu}


@keras.saving.register_keras_serializable(package="sogclr_tf")
class TextEncoder(keras.Model):
    """A transformer over the words or subwords of a text.

        encoder = TextEncoder(vocabulary(captions))
        features = encoder(encoder.tokenize(["a red apple", "two dogs"]))    # float32 [2, 128]

        # CLIP's shape; with its 49,408 subwords 63,165,952 weights, as OpenAI's without projection.
        tokenizer = SubwordTokenizer.load("bpe_simple_vocab_16e6.txt.gz")
        encoder = TextEncoder(
            tokenizer, length=77, width=512, blocks=12, heads=8, causal=True, pooling="last"
        )

    Blocks are pre-normalized: self-attention, then a two-layer network four times as wide, each
    added to what went in; a last normalization follows. Padding is attended to by nobody and is
    no part of the features; a text without words has features 0, one without subwords those of its
    start and end. Features are float32 under mixed precision too.

    The vocabulary is a weight (the words' bytes, or the merges), so every format that keeps weights
    keeps it, and weights of another vocabulary are refused or bring theirs along. Accelerators know
    no strings: `tokenize` belongs into tf.data, and `call` takes what it gives.

    Args:
        words: the vocabulary, list of str, as `vocabulary` makes it; or a `SubwordTokenizer`.
        length: tokens of a text, >= 1, of subwords >= 2; longer texts are cut. Of subwords two are
            the start and the end, which are kept.
        width: of the embedding and the features.
        blocks: of the transformer; 0 takes the tokens' embeddings alone.
        heads: of the attention; must divide width.
        dropout: in [0, 1), of each block's two branches.
        causal: whether a token sees those before it alone, as in CLIP's.
        pooling: "mean", the features are the mean over a text's tokens; or "last", those at its
            last token, which of subwords is the end, as in CLIP's.
        activation: "gelu", the exact one, as OpenCLIP's; or "quick_gelu", x sigmoid(1.702 x), as
            OpenAI's.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> words = sogclr_tf.vocabulary(["a red heart", "a red car"])
        >>> encoder = sogclr_tf.TextEncoder(words, length=8, width=32)
        >>> tokens = encoder.tokenize(["a red heart", "a car"])  # int32 [2, 8]
        >>> encoder(tokens).shape
        TensorShape([2, 32])
    """

    def __init__(
        self,
        words: Sequence[str] | SubwordTokenizer,
        length: int = 16,
        width: int = 128,
        blocks: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        causal: bool = False,
        pooling: str = "mean",
        activation: str = "gelu",
        name: str = "text_encoder",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        tokenizer = words if isinstance(words, SubwordTokenizer) else WordTokenizer(words)
        _check(tokenizer, length, width, blocks, heads, pooling, activation)
        self.length, self.width, self.blocks = length, width, blocks
        self.heads, self.dropout = heads, dropout
        self.causal, self.pooling, self.activation = causal, pooling, activation
        state = tokenizer.state
        self._words = self.add_weight(
            name="vocabulary",
            shape=state.shape,
            dtype="int32",
            initializer=lambda *_, **__: tf.constant(state, tf.int32),
            trainable=False,
            autocast=False,
        )
        self._kept = _Kept(tokenizer)
        self._embedding = keras.layers.Embedding(tokenizer.size, width, name="words")
        self._places = keras.layers.Embedding(length, width, name="places")
        self._blocks = [
            _Block(width, heads, dropout, activation, name=f"block{number}")
            for number in range(blocks)
        ]
        self._normalize = keras.layers.LayerNormalization(
            epsilon=1e-6, dtype="float32", name="normalize"
        )
        self.build((None, length))

    @property
    def tokenizer(self) -> WordTokenizer | SubwordTokenizer:
        """What `tokenize` uses."""
        # Read at once, in a function that is being traced too.
        with tf.init_scope():
            return self._kept.tokenizer(keras.ops.convert_to_numpy(self._words))

    @property
    def words(self) -> list[str]:
        """The vocabulary of an encoder over words, list of str."""
        return self.tokenizer.words  # type: ignore[union-attr]

    @property
    def vectorization(self) -> keras.layers.TextVectorization | None:
        """The keras.layers.TextVectorization that `tokenize` uses; of subwords None."""
        tokenizer = self.tokenizer
        return tokenizer.layer(self.length) if isinstance(tokenizer, WordTokenizer) else None

    @property
    def input_shape(self) -> tuple[None, int]:
        return (None, self.length)

    def build(self, input_shape: Any) -> None:  # noqa: ARG002
        """Makes all weights; the shape is known beforehand."""
        if not self.built:
            self.built: bool = True
            self(keras.KerasTensor((None, self.length), "int32"))

    def tokenize(self, texts: tf.Tensor | Sequence[str]) -> tf.Tensor:
        """Token ids int32 [B, length] of strings [B].

        Of words 0 is padding and 1 an unknown word. Subwords begin with a start token, end with an
        end token, and are padded with 0 behind it.
        """
        return self.tokenizer.tokens(texts, self.length)

    def call(self, tokens: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Features float32 [B, width] of token ids int [B, length]."""
        mask = self._kept.latest.mask(tokens)
        seen = mask[:, None, :]
        if self.causal:
            seen = keras.ops.logical_and(seen, np.tri(self.length, dtype=bool)[None])
        x = self._embedding(tokens) + self._places(keras.ops.arange(self.length))
        for block in self._blocks:
            x = block(x, seen, training=training)
        return self._pooled(self._normalize(x), mask)

    def _pooled(self, x, mask):
        share = keras.ops.cast(mask, x.dtype)
        count = keras.ops.sum(share, axis=1, keepdims=True)
        if self.pooling == "last":
            # Of no token, nowhere.
            last = keras.ops.one_hot(keras.ops.cast(count[:, 0], "int32") - 1, self.length)
            return keras.ops.sum(x * last[..., None], axis=1)
        return keras.ops.einsum("blw,bl->bw", x, share / keras.ops.maximum(count, 1))

    def get_config(self) -> dict[str, Any]:
        words = self.tokenizer
        if isinstance(words, SubwordTokenizer):
            words = keras.saving.serialize_keras_object(words)
        else:
            words = words.words
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {**keras.Model.get_config(self), "words": words, **options}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,  # noqa: ARG003
    ) -> Self:
        words = config["words"]
        if isinstance(words, dict):
            words = keras.saving.deserialize_keras_object(words)
        return cls(**{**config, "words": words})


class _Block(keras.layers.Layer):
    """One block of the transformer."""

    def __init__(self, width, heads, dropout, activation, **kwargs):
        super().__init__(**kwargs)
        self._attend = keras.layers.MultiHeadAttention(heads, width // heads, dropout=dropout)
        self._widen = keras.layers.Dense(
            4 * width, activation=_ACTIVATIONS[activation], name="widen"
        )
        self._narrow = keras.layers.Dense(width, name="narrow")
        self._dropout = keras.layers.Dropout(dropout)
        self._before_attention = keras.layers.LayerNormalization(epsilon=1e-6, name="norm1")
        self._before_network = keras.layers.LayerNormalization(epsilon=1e-6, name="norm2")

    def call(self, x, seen, training=False):
        """`seen`: bool [B, 1 or L, L], which tokens each token attends to."""
        y = self._before_attention(x)
        y = self._attend(y, y, attention_mask=seen, training=training)
        x = x + self._dropout(y, training=training)
        y = self._narrow(self._widen(self._before_network(x)))
        return x + self._dropout(y, training=training)


class _Kept:
    """Keeps the tokenizer of a vocabulary, for as long as the weight that holds it is the same.

    No layer of the encoder's, whose weights must be those of the vocabulary alone: Keras saves a
    lookup's words apart from the weights, and tf.train not at all.
    """

    def __init__(self, tokenizer):
        self.latest, self._state = tokenizer, tokenizer.state

    def tokenizer(self, state):
        if not np.array_equal(state, self._state):
            self.latest, self._state = type(self.latest).from_state(state), state
        return self.latest


def _check(tokenizer, length, width, blocks, heads, pooling, activation):
    least_length = tokenizer.least_length
    for name, value, least in (
        ("length", length, least_length),
        ("width", width, 1),
        ("blocks", blocks, 0),
    ):
        if value != int(value) or value < least:
            raise ValueError(f"{name} is {value}: give a whole number >= {least}")
    if heads < 1 or width % heads:
        raise ValueError(f"heads is {heads}: give a number that divides width {width}")
    require_one_of("pooling", pooling, POOLINGS)
    require_one_of("activation", activation, _ACTIVATIONS)
