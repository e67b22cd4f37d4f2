"""Some of the examples of a source, which keep their indices."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources.base import Source


class FilteredSource(Source):
    """A source of those examples of another that are kept.

    A filter of a filter is one filter of the source below, in whatever order they are put on.

    Args:
        source: whose examples they are.
        only: int [n], the indices that stay; None for all.
        without: int [n], indices that go.
        name: what to call it in messages; by default the source's own.
        skipped: {index: why} of what is left out because it cannot be decoded, beside what the
            source left out already.
    """

    def __init__(
        self,
        source: Source,
        *,
        only: Sequence | np.ndarray | None = None,
        without: Sequence | np.ndarray = (),
        name: str | None = None,
        skipped: Mapping[int, str] | None = None,
    ) -> None:
        below = source._below if isinstance(source, FilteredSource) else source
        kept = source._kept if isinstance(source, FilteredSource) else None
        kept = np.ones(below.num_examples, bool) if kept is None else kept.copy()
        if only is not None:
            chosen = np.zeros_like(kept)
            chosen[np.asarray(only, np.int64)] = True
            kept &= chosen
        kept[np.asarray(without, np.int64)] = False
        size = source.size - len(without) if only is None else int(np.count_nonzero(kept))
        super().__init__(
            name or source.name,
            size,
            num_examples=source.num_examples,
            image_size=source.image_size,
            labeled=source.labeled,
            has_text=source.has_text,
            class_names=source.class_names,
        )
        self.skipped = {**source.skipped, **(skipped or {})}
        self._below: Source = below
        self._kept: np.ndarray = kept
        for method in ("read", "decode", "shape", "crop", "locate"):
            setattr(self, method, getattr(below, method))

    def fingerprint(self) -> str | None:
        below = self._below.fingerprint()
        kept = hashlib.sha256(np.packbits(self._kept).tobytes()).hexdigest()[:24]
        return None if below is None else f"{below} {kept}"

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        kept = tf.constant(self._kept)
        return self._below.examples(seed).filter(lambda x: kept[x["index"]]).skip(first)
