"""Image files whose paths are known beforehand: what a folder and a manifest have in common."""

import hashlib
import os

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files import python_files
from sogclr_tf.data.sources.base import order
from sogclr_tf.data.sources.captions import Captions
from sogclr_tf.data.sources.encoded import EncodedSource
from sogclr_tf.data.sources.strings import Strings
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.printable import printable


class FileListSource(EncodedSource):
    """Image files, read when they are needed; the index is the place in the list.

    Args:
        name: what to call it in messages.
        root: what the paths are relative to, as `root_of` gives it; empty where they are whole.
        paths: `Strings`.
        labels: int32 [N], or None.
        texts: `Captions`, or None.
        indices: int32 [N], each once, in place of the place in the list; or None.
        class_names: list of str, or None.
        channels, value_range: as for `EncodedSource`.
    """

    any_order = True

    def __init__(
        self,
        name: str,
        root: str,
        paths: Strings,
        *,
        labels: np.ndarray | None = None,
        texts: Captions | None = None,
        indices: np.ndarray | None = None,
        class_names: list[str] | None = None,
        channels: int | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        super().__init__(
            name,
            len(paths),
            num_examples=None if indices is None else int(indices.max()) + 1,
            labeled=labels is not None,
            has_text=texts is not None,
            class_names=class_names,
            channels=channels,
            value_range=value_range,
        )
        names = paths.text.numpy()
        self._has_others = any(
            ending in names
            for suffix in python_files.SUFFIXES
            for ending in (suffix, suffix.upper())
        )
        # In bytes, as it may hold some that are no text.
        self._root = os.fsencode(root)
        self._paths, self._captions = paths, texts
        if texts is not None:
            self.caption_offsets = texts.offsets(indices, self.num_examples)
        self._labels = None if labels is None else tf.constant(labels)
        self._indices = None if indices is None else tf.constant(indices)

    @property
    def in_python(self) -> bool:
        return self._has_others or super().in_python

    def fingerprint(self) -> str:
        names = hashlib.sha256(self._paths.text.numpy()).hexdigest()
        found = f"{os.fsdecode(self._root)} {names} {self._decoded_as()}"
        if self._indices is None:
            return found
        return f"{found} {hashlib.sha256(self._indices.numpy().tobytes()).hexdigest()}"

    def example_names(self) -> ExampleNames:
        """The paths below the root, so that this may lie anywhere."""
        return ExampleNames(self._paths.text.numpy(), self._paths.starts.numpy())

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        rows = order(self.size, seed, first)
        return tf.data.Dataset.from_tensor_slices(rows).map(self.example_at)

    def example_at(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        index = row if self._indices is None else self._indices[row]
        example = {"image": self._paths[row], "index": index}
        if self.labeled:
            example["label"] = self._labels[row]  # type: ignore[index]
        if self._captions is not None:
            example["text"] = self._captions.of_row(row)
        return example

    def read(self, image: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(self._root + image)

    def locate(self, index: int) -> str:
        (place,) = self._places(self._rows_at(np.array([index])))
        return printable(os.fsdecode(place))

    def _rows_at(self, indices: np.ndarray | None) -> np.ndarray:
        """The places in the list of those examples that have one of these indices, in order."""
        if indices is None:
            return np.arange(self.size)
        every = np.arange(self.size) if self._indices is None else self._indices.numpy()
        return np.flatnonzero(np.isin(every, indices))

    def _places(self, rows: np.ndarray) -> list[bytes]:
        """The whole paths at some places."""
        return [self._root + path for path in self._paths.some(rows)]


def root_of(folder: str) -> str:
    """A folder as paths begin that lie in it; whole, as the working directory may change."""
    return os.path.join(folder if "://" in folder else os.path.abspath(folder), "")
