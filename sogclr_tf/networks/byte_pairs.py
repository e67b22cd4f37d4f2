"""Byte-pair encoding in TensorFlow's own operations, so that a graph does it wherever it runs.

Sennrich et al., arXiv 1508.07909, over bytes instead of characters, as CLIP (arXiv 2103.00020) has
it: the symbols of a word are its bytes, of which the last is another symbol than the same byte
within a word; the pair that comes first in the list of merges becomes one symbol, wherever the word
has it, until no pair is in the list.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

# The symbols that a word begins as: each byte within it, and each byte as its last.
BYTES = 256
FIRST_MERGED = 2 * BYTES

# Longer words are merged in parts of so many bytes: each merge is a pass over the batch, and a word
# of many would hold up a server.
LONGEST = 1024

# What ftfy removes; TensorFlow's lower() would end a text at a NUL.
_CONTROL = r"[\x00-\x08\x0b\x0e-\x1f\x7f\x{feff}]"
# What it makes the quotes of ASCII.
_QUOTES = {r"[\x{2bc}\x{2018}-\x{201b}]": "'", r"[\x{201c}-\x{201f}]": '"'}
# Unicode's White_Space; RE2's own \s is ASCII's alone.
_SPACE = r"\t-\r \x{85}\p{Z}"
# CLIP's pattern, whose English contractions, runs of letters, single digits and runs of all else
# are words.
_WORD = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{{L}}+|\p{{N}}|[^\p{{L}}\p{{N}}{_SPACE}]+"


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """The lower-case words of texts: RaggedTensor of string [B, None] of string [B].

    Bytes that are no UTF-8 are read as U+FFFD, control characters left out, curly quotes straight.
    """
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    texts = tf.strings.regex_replace(texts, _CONTROL, "")
    for curly, straight in _QUOTES.items():
        texts = tf.strings.regex_replace(texts, curly, straight)
    texts = tf.strings.lower(texts, encoding="utf-8")
    texts = tf.strings.regex_replace(texts, f"[{_SPACE}]+", " ")
    return tf.strings.split(tf.strings.regex_replace(texts, _WORD, r"\0 "))


class Merges(NamedTuple):
    """A list of merges, ready to be looked up.

    Attributes:
        keys: int64 [M + 1], the pairs as one number each, in ascending order, and one above all.
        ranks: int64 [M + 1], the places of these pairs in the list; M of none.
        symbols: int64 [M + 1], what the pairs become, by rank.
        of_byte: int64 [256], the symbol of a byte within a word.
        size: of the vocabulary, above all symbols.
    """

    keys: np.ndarray
    ranks: np.ndarray
    symbols: np.ndarray
    of_byte: np.ndarray
    size: int

    @classmethod
    def of(cls, pairs: np.ndarray, symbols: np.ndarray, of_byte: np.ndarray, size: int) -> "Merges":
        """Of pairs int [M, 2] in the order of the list, and the symbols that they become."""
        keys = np.int64(pairs[:, 0]) * size + pairs[:, 1]
        order = np.argsort(keys, kind="stable")
        return cls(
            keys=np.append(keys[order], np.iinfo(np.int64).max),
            ranks=np.append(order, len(keys)),
            symbols=np.append(np.int64(symbols), 0),
            of_byte=of_byte.astype(np.int64),
            size=size,
        )


def subwords(words: tf.Tensor, merges: Merges) -> tf.RaggedTensor:
    """The symbols of words: RaggedTensor of int64 [W, None] of string [W], none of them empty."""
    lengths = tf.strings.length(words)
    symbols = _symbols(words, lengths, merges.of_byte)
    parts, words_of_parts = _parts(lengths)
    symbols, parts = _merged(symbols, parts, tf.size(words_of_parts), merges)
    return tf.RaggedTensor.from_value_rowids(
        symbols,
        tf.cast(tf.gather(words_of_parts, parts), tf.int64),
        tf.size(words, out_type=tf.int64),
        validate=False,
    )


def _symbols(words, lengths, of_byte):
    """What words begin as, one behind the other."""
    values = tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8)
    symbols = tf.gather(of_byte, tf.cast(values, tf.int32))
    last = tf.cumsum(lengths) - 1
    at_end = tf.fill([tf.size(words)], np.int64(BYTES))
    return tf.tensor_scatter_nd_add(symbols, last[:, tf.newaxis], at_end)


def _parts(lengths):
    """(the part that each byte is in, the word that each part is of)."""
    words = tf.repeat(tf.range(tf.size(lengths)), lengths)
    places = tf.range(tf.size(words)) - tf.gather(tf.cumsum(lengths, exclusive=True), words)
    first = places % LONGEST == 0
    return tf.cumsum(tf.cast(first, tf.int32)) - 1, tf.boolean_mask(words, first)


def _merged(symbols, parts, count, merges):
    """(symbols, parts) in which no pair is left to be merged."""
    none = len(merges.keys) - 1

    def some_are_left(symbols, parts, ranks):  # noqa: ARG001
        return tf.reduce_any(ranks < none)

    def merge(symbols, parts, ranks):
        best = tf.math.unsorted_segment_min(ranks, parts[:-1], count)
        chosen = (ranks < none) & (ranks == tf.gather(best, parts[:-1]))
        chosen = _without_overlaps(chosen)
        left = tf.where(chosen, tf.gather(merges.symbols, ranks), symbols[:-1])
        kept = tf.concat([[True], ~chosen], axis=0)
        symbols = tf.boolean_mask(tf.concat([left, symbols[-1:]], axis=0), kept)
        parts = tf.boolean_mask(parts, kept)
        return symbols, parts, _ranks(symbols, parts, merges)

    start = symbols, parts, _ranks(symbols, parts, merges)
    invariants = (tf.TensorShape([None]),) * 3
    return tf.while_loop(some_are_left, merge, start, shape_invariants=invariants)[:2]


def _ranks(symbols, parts, merges):
    """The rank of each symbol and its next as a pair; M for none, as across two parts."""
    keys = symbols[:-1] * merges.size + symbols[1:]
    place = tf.searchsorted(merges.keys, keys)
    found = (tf.gather(merges.keys, place) == keys) & (parts[:-1] == parts[1:])
    return tf.where(found, tf.gather(merges.ranks, place), len(merges.keys) - 1)


def _without_overlaps(chosen):
    """Every other of pairs that overlap, from the left: of "aaa" the first pair of "a" alone."""
    places = tf.range(tf.size(chosen))
    others = tf.concat([[-1], tf.boolean_mask(places, ~chosen)], axis=0)
    before = tf.gather(others, tf.cumsum(tf.cast(~chosen, tf.int32)))
    return chosen & ((places - before) % 2 == 1)
