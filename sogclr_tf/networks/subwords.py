"""Texts as subwords: byte-pair encoding as CLIP has it, trained on texts or read from a file."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.atomic_write import replacing
from sogclr_tf.networks import byte_pairs
from sogclr_tf.networks.byte_pairs import FIRST_MERGED
from sogclr_tf.networks.merge_files import (
    BYTE_ORDER,
    END_OF_WORD,
    byte_pieces,
    numbered,
    read_merges,
)
from sogclr_tf.networks.merge_training import trained_merges

# Start and end of a text.
_SPECIAL = 2


@keras.saving.register_keras_serializable(package="sogclr_tf")
class SubwordTokenizer:
    """Splits texts into subwords, of which any text can be made, by a list of merges.

        tokenizer = SubwordTokenizer.train(captions, max_tokens=8000)
        tokenizer.ids(["a red apple", ""])    # RaggedTensor int32 [2, None]
        encoder = TextEncoder(tokenizer, length=32)

        SubwordTokenizer.load("bpe_simple_vocab_16e6.txt.gz")    # CLIP's own, of 49,408 tokens

    It is the byte-pair encoding of CLIP (Radford et al., arXiv 2103.00020), with its numbers: 256
    bytes, 256 bytes that end a word, the merges in their order, the start of a text and its end. A
    text is put in lower case and split into words: English contractions ('s, 't, 're, 've, 'm, 'll,
    'd), runs of letters, single digits, and runs of whatever else is no space. Words are split into
    bytes, and these are merged. No text is unknown: what no merge covers remains bytes.

    All of it is done by TensorFlow's own operations, so that an exported text tower takes strings
    and is served without this package. What OpenAI's Python code does before it does not: HTML is
    not unescaped and broken encodings are not repaired (ftfy), nor is Unicode normalized to NFC;
    bytes that are no UTF-8 are read as U+FFFD; "<|endoftext|>" in a text is text.

    Args:
        merges: int [M, 2], the pairs of tokens that are merged, the first first; the pair in row m
            becomes token 512 + m.

    Raises:
        ValueError: merges has another shape, or a row has a token that is not there yet.

    Attributes:
        merges: numpy int32 [M, 2].
        size: how many tokens there are, M + 514.
        start, end: the tokens before and behind each text, size - 2 and size - 1.

    Examples:
        >>> import sogclr_tf
        >>> texts = ["a low tower", "the lowest tower", "a flower"] * 10
        >>> tokenizer = sogclr_tf.SubwordTokenizer.train(texts, max_tokens=600)
        >>> encoder = sogclr_tf.TextEncoder(tokenizer, length=16, width=32)
        >>> encoder.tokenize(["a tower", "slowest"]).shape  # also of words never seen
        TensorShape([2, 16])
    """

    # Start and end fit in.
    least_length = _SPECIAL

    def __init__(self, merges: Sequence[Sequence[int]] | np.ndarray) -> None:
        self.merges = np.asarray(merges, np.int32)
        if self.merges.ndim != 2 or self.merges.shape[1] != 2 or not len(self.merges):
            raise ValueError(f"merges has shape {self.merges.shape}: give pairs of tokens, [M, 2]")
        made = FIRST_MERGED + np.arange(len(self.merges))
        wrong = np.flatnonzero((self.merges < 0).any(1) | (self.merges >= made[:, None]).any(1))
        if len(wrong):
            raise ValueError(
                f"merges[{wrong[0]}] is {self.merges[wrong[0]].tolist()}: give tokens in "
                f"[0, {made[wrong[0]]}), those that are there before it"
            )
        self.size = FIRST_MERGED + len(self.merges) + _SPECIAL
        self.start, self.end = self.size - 2, self.size - 1
        texts = tf.TensorSpec([None], tf.string, name="texts")
        self._graph = tf.function(self._ids, input_signature=[texts], autograph=False)

    @classmethod
    def train(
        cls,
        texts: Sequence[str] | np.ndarray | tf.data.Dataset,
        max_tokens: int = 20_000,
    ) -> Self:
        """The tokenizer of the most frequent pairs of some texts.

        It needs the package `tokenizers`: pip install "sogclr_tf[text]". Pairs that occur once are
        no tokens. The same texts give the same tokenizer.

        Args:
            texts: list or array of str, or a finite tf.data.Dataset of them, one or many at a time.
            max_tokens: of the vocabulary at most, those of bytes, start and end included; >= 515.

        Raises:
            ImportError: there is no package `tokenizers`.
            ValueError: max_tokens is too small, or the texts hold no pair that occurs twice.
        """
        _check_size(max_tokens)
        merges = trained_merges(texts, max_tokens - _SPECIAL)
        if not merges:
            raise ValueError("the texts hold no two letters that occur twice: give more texts")
        return cls(numbered(merges, "merges"))

    @classmethod
    def load(cls, path: str | os.PathLike, max_tokens: int = 49_408) -> Self:
        """The tokenizer of a file of merges, plain or gzipped, local or gs://.

        The file is one like CLIP's `bpe_simple_vocab_16e6.txt.gz`, as `save` writes it too: UTF-8,
        a line with "#version", then a merge a line, two pieces with a space between. Every byte of
        a piece is written as GPT-2 has it, the end of a word as "</w>".

        Args:
            path: of the file.
            max_tokens: of the vocabulary at most; what lines are beyond is not read. CLIP's own
                file has 262,144 merges, of which CLIP reads 48,894.

        Raises:
            OSError: there is no such file, or it cannot be read.
            ValueError: it is no such list.
        """
        _check_size(max_tokens)
        path = os.fspath(path)
        lines = read_merges(path)
        if not any(line.endswith(END_OF_WORD) for line in lines):
            raise ValueError(
                f"{path} has no piece that ends a word with </w>: give a file of merges such as "
                "CLIP's bpe_simple_vocab_16e6.txt.gz"
            )
        read = lines[: max_tokens - FIRST_MERGED - _SPECIAL]
        return cls(numbered([line.split(" ") for line in read], path))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the merges to a file that `load` reads, on a local or mounted disk."""
        pieces = self.pieces
        lines = [f"{pieces[left]} {pieces[right]}\n" for left, right in self.merges]
        with replacing(pathlib.Path(path)) as temporary:
            temporary.write_text("".join(["#version: 0.2\n", *lines]), encoding="utf-8")

    @property
    def pieces(self) -> list[str]:
        """What each token but the last two stands for, as files of merges spell it: list of str."""
        pieces = byte_pieces()
        for left, right in self.merges:
            pieces.append(pieces[left] + pieces[right])
        return pieces

    def ids(self, texts: tf.Tensor | Sequence[str]) -> tf.RaggedTensor:
        """The tokens of strings [B], without start and end: RaggedTensor int32 [B, None]."""
        return self._graph(tf.convert_to_tensor(texts, tf.string))

    def _ids(self, texts):
        with tf.device("CPU:0"):
            words = byte_pairs.split_words(texts)
            # Most words of a batch occur in it several times.
            different, where = tf.unique(words.flat_values)
            found = tf.cast(byte_pairs.subwords(different, self._ready()), tf.int32)
            return words.with_flat_values(tf.gather(found, where)).merge_dims(1, 2)

    def _ready(self):
        # A piece that two merges make is one token, as in the dictionary that trains them.
        first: dict[str, int] = {}
        tokens = np.array([first.setdefault(piece, n) for n, piece in enumerate(self.pieces)])
        return byte_pairs.Merges.of(
            tokens[self.merges], tokens[FIRST_MERGED:], np.argsort(BYTE_ORDER), self.size
        )

    def tokens(self, texts: tf.Tensor | Sequence[str], length: int) -> tf.Tensor:
        """Start, tokens, end and zeros as padding: int32 [B, length] of strings [B].

        Of longer texts the first length - 2 tokens are kept, and start and end.
        """
        texts = tf.convert_to_tensor(texts, tf.string)
        ids = self.ids(texts)[:, : length - _SPECIAL]
        edge = tf.ones([ids.nrows(), 1], tf.int32)
        rows = tf.concat([self.start * edge, ids, self.end * edge], axis=1)
        return tf.ensure_shape(rows.to_tensor(shape=[None, length]), [texts.shape[0], length])

    def mask(self, tokens: tf.Tensor) -> tf.Tensor:
        """Where tokens [B, L] are a text's: bool [B, L], up to the first end; 0 is a "!" too."""
        ends = keras.ops.cast(keras.ops.equal(tokens, self.end), "int32")
        return keras.ops.equal(keras.ops.cumsum(ends, axis=1) - ends, 0)

    @property
    def state(self) -> np.ndarray:
        """What `from_state` makes an equal tokenizer of: numpy int32 [M, 2]."""
        return self.merges

    @classmethod
    def from_state(cls, state: np.ndarray) -> Self:
        return cls(state)

    def get_config(self) -> dict[str, Any]:
        return {"merges": self.merges.tolist()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def _check_size(max_tokens):
    least = FIRST_MERGED + _SPECIAL + 1
    if max_tokens != int(max_tokens) or max_tokens < least:
        raise ValueError(
            f"max_tokens is {max_tokens}: at least {least} leave room for the bytes and a merge"
        )
