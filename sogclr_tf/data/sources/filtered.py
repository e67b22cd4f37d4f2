"""Some of the examples of a source, which keep their indices."""

import functools
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.sources.base import Source


class FilteredSource(Source):
    """A source of those examples of another that are kept.

    A filter of a filter is one filter of the source below, in whatever order they are put on.

    Args:
        source: whose examples they are.
        only: int [n], the indices that are chosen; None for all.
        skipped: {index: why} of what is left out because it cannot be decoded, beside what the
            source left out already.
        name: what to call it in messages; by default the source's own.
    """

    def __init__(
        self,
        source: Source,
        *,
        only: Sequence[int] | np.ndarray | None = None,
        skipped: Mapping[int, str] | None = None,
        name: str | None = None,
    ) -> None:
        below, chosen = source, np.ones(source.num_examples, bool)
        if isinstance(source, FilteredSource):
            below, chosen = source._below, source._chosen.copy()
        all_skipped = {**source.skipped, **(skipped or {})}
        size = source.size - len(skipped or {})
        if only is not None:
            chosen &= np.isin(np.arange(len(chosen)), only)
            size = int(np.count_nonzero(_without(chosen, all_skipped)))
        super().__init__(
            name or source.name,
            size,
            num_examples=source.num_examples,
            image_size=source.image_size,
            labeled=source.labeled,
            has_text=source.has_text,
            class_names=source.class_names,
        )
        self.skipped = all_skipped
        self.in_range, self.any_order = below.in_range, below.any_order
        self.caption_offsets = below.caption_offsets
        self._below: Source = below
        self._chosen: np.ndarray = chosen
        kept = _without(chosen, all_skipped)
        self.faults = {index: why for index, why in below.faults.items() if kept[index]}
        for method in (
            "read",
            "decode",
            "shape",
            "crop",
            "reduced",
            "locate",
            "example_names",
            "check_examples",
        ):
            setattr(self, method, getattr(below, method))

    @property
    def pixel_format(self) -> PixelFormat:
        return self._below.pixel_format

    @property
    def in_python(self) -> bool:
        return self._below.in_python

    @property
    def reduces(self) -> bool:
        return self._below.reduces

    def fingerprint(self) -> str | None:
        """That of the source below and of the choice, whatever is skipped of it."""
        below = self._below.fingerprint()
        if below is None or self._chosen.all():
            return below
        return f"{below} {hashlib.sha256(np.packbits(self._chosen).tobytes()).hexdigest()[:24]}"

    def check_files(self, indices: np.ndarray | None = None) -> None:
        kept = _without(self._chosen, self.skipped)
        if indices is not None:
            kept &= np.isin(np.arange(len(kept)), indices)
        self._below.check_files(np.flatnonzero(kept))

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        kept = tf.constant(_without(self._chosen, self.skipped))
        return self._below.examples(seed).filter(lambda x: kept[x["index"]]).skip(first)

    def example_at(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._below.example_at(self._rows[row])

    def part_at(self, row: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        return self._below.part_at(self._rows[row], box)

    @functools.cached_property
    def _rows(self) -> tf.Tensor:
        """Where in the source below those lie that are kept: int32 [size]."""
        # It may be asked for first where a graph is made.
        with tf.init_scope():
            kept = _without(self._chosen, self.skipped)[self._below.indices()]
            return tf.constant(np.flatnonzero(kept), tf.int32)


def _without(chosen: np.ndarray, skipped: Mapping[int, str]) -> np.ndarray:
    kept = chosen.copy()
    kept[list(skipped)] = False
    return kept
