"""A pass over examples that finds how many texts each has, remembered between starts."""

import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import file_cache
from sogclr_tf.data.sources.captions import offsets_of


class FoundTexts(NamedTuple):
    """What a pass over texts found.

    Attributes:
        offsets: as `Source.caption_offsets`; None where no example has a list of texts.
        faults: {index: why} of examples whose texts cannot be used.
    """

    offsets: np.ndarray | None
    faults: dict[int, str]


def find(
    place: str,
    state: np.ndarray,
    texts: tf.data.Dataset,
    num_examples: int,
    *,
    several: bool | None = None,
    called: str,
) -> FoundTexts:
    """What is known of the texts of a collection; found by a pass where something changed.

    Args:
        place: tells the collection from others.
        state: int64, differs where the collection may have changed.
        texts: tf.data.Dataset of (index int32 scalar, texts string [k]).
        num_examples: indices lie in [0, num_examples); those that are not in `texts` count as one.
        several: whether they are lists; None to tell by whether an example has two.
        called: what holds the texts, for messages.
    """
    stored = file_cache.load("texts", place)
    if stored is None or not np.array_equal(stored["state"], state):
        counts = np.ones(num_examples, np.int64)
        faults = {}
        for index, found in texts.as_numpy_iterator():
            counts[index] = max(1, len(found))
            why = _fault(found, called)
            if why:
                faults[int(index)] = why
        notes = np.frombuffer(json.dumps(faults).encode(), np.uint8)
        stored = {"state": state, "counts": counts, "faults": notes}
        file_cache.save("texts", place, **stored)
    counts = stored["counts"]
    several = bool((counts > 1).any()) if several is None else several
    faults = json.loads(stored["faults"].tobytes())
    return FoundTexts(
        offsets_of(counts) if several else None, {int(index): why for index, why in faults.items()}
    )


def as_example(texts: tf.Tensor, several: bool) -> tf.Tensor:
    """The "text" of an example, of its texts string [k]: an empty one where there is none."""
    padded = tf.concat([texts, [""]], 0)
    return padded[: tf.maximum(tf.size(texts), 1)] if several else padded[0]


def _fault(texts: Iterable[bytes], called: str) -> str | None:
    texts = [*texts]
    if not texts:
        return f"it has no {called}"
    for text in texts:
        if not text.strip():
            return f"its {called} is empty"
        try:
            text.decode()
        except UnicodeDecodeError as error:
            return f"its {called} is no UTF-8 (byte 0x{text[error.start]:02x})"
    return f"its {called} has a text twice" if len(set(texts)) < len(texts) else None
