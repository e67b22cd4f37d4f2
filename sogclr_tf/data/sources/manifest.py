"""A table of image files: a CSV, a frame, columns, or a list of paths."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sogclr_tf.data.sources import manifest_captions
from sogclr_tf.data.sources import manifest_columns as columns
from sogclr_tf.data.sources.captions import Captions
from sogclr_tf.data.sources.file_list import FileListSource
from sogclr_tf.data.sources.manifest_table import Table, read_table
from sogclr_tf.data.sources.missing_files import missing
from sogclr_tf.data.sources.strings import Strings
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.example_names import ExampleNames

_LOG = logging.getLogger("sogclr_tf")


class ManifestSource(FileListSource):
    """The image files that a table names, with labels, splits and captions where it has them.

        sogclr_tf.ManifestSource("labels.csv", split="train", label="breed")

    The index is the place among the rows of the split, in the order of the table, so that other
    splits may change as they like; or an id that the rows carry. Files are read when they are
    needed. That they are there is looked up when a stream is made of them, or where they are left
    out with `on_error="skip"`.

    Labels that are whole numbers are taken as they are. Others are names of classes, numbered in
    the order of the sorted names of the whole table, so that all splits agree. A split is unlabeled
    where all its labels are empty.

    Args:
        table: the path of a .csv, .tsv, .jsonl or .ndjson file (UTF-8, with a header; local or
            gs://...); the path or the pattern of .parquet files, also those that img2dataset leaves
            beside image files; a frame, as of pandas; {column: values}; a list or an array of
            paths.
        split: the rows to take, by the column `splits`; "." or None for all. None warns where
            there are several splits.
        path: the column of paths, local or gs://...; relative ones to `root`.
        label: the column of labels; None to leave them out.
        splits: the column of splits.
        caption: the column of captions, which `training_pairs` trains on: "caption" or "captions"
            where it is there; None to leave them out. An image may have several: as a list (JSON
            lines, Parquet, a frame), or each in a row of its own, all with the same path, label
            and id. The index is the image's then. A row without a caption is one of `faults`.
        index: the column of ids, whole numbers >= 0, each once, that are the indices: rows may
            then come, go and change places. A loss's table has a row for each number up to the
            largest. None to take the place.
        root: the folder that paths are relative to; by default that of the file, and the working
            directory for what is no file.
        channels, value_range: as for `sogclr_tf.FolderSource`.
        class_names: the classes, in the order of their numbers, also such as the table lacks.
        name: what to call it in messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the table cannot be read or is empty, lacks a column, or a row of it is not as
            above; the line says which.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> for name in ("a", "b", "c"):
        ...     keras.utils.save_img(f"{name}.png", np.zeros([20, 30, 3]))
        >>> table = {
        ...     "path": ["a.png", "b.png", "c.png"],
        ...     "label": ["cat", "dog", "cat"],
        ...     "split": ["train", "train", "test"],
        ... }
        >>> source = sogclr_tf.ManifestSource(table, split="train")  # or a CSV, a pandas frame
        >>> source.num_examples, source.class_names
        (2, ['cat', 'dog'])
    """

    def __init__(
        self,
        table: str | os.PathLike | Mapping[str, Sequence] | Sequence | Any,
        split: str | None = None,
        *,
        path: str = "path",
        label: str | None = "label",
        splits: str = "split",
        caption: str | None = "caption",
        index: str | None = None,
        root: str | os.PathLike | None = None,
        class_names: list[str] | None = None,
        channels: int | None = None,
        value_range: ValueRange | None = None,
        name: str | None = None,
    ) -> None:
        wanted = [path, label, splits, caption, index, *manifest_captions.USUAL]
        found = read_table(table, root, name, [column for column in wanted if column], path)
        rows = columns.rows_of(found, splits, split)
        if split is None:
            _warn_of_splits(found, splits)
        paths = columns.paths_of(found, path, rows)
        labels = ids = None
        column = manifest_captions.column_of(found, caption)
        alike = [name for name in (label, index) if name and name in found.columns]
        texts = None
        if column:
            texts = manifest_captions.grouped(found, column, rows, paths, alike)
        if texts:
            rows, paths = rows[texts.places], [paths[place] for place in texts.places]
        else:
            columns.check_once(found, rows, paths)
        if label and _has(found, label, "label"):
            labels, class_names = columns.classes_of(found, label, rows, class_names)
        if index:
            ids = columns.ids_of(found, index, rows)
        root, whole = columns.placed(paths, found.root)
        super().__init__(
            found.name if split in (None, ".") else f"{found.name}[{split}]",
            root,
            Strings.of(whole),
            labels=labels,
            texts=Captions(Strings.of(texts.texts), texts.counts) if texts else None,
            indices=ids,
            class_names=class_names,
            channels=channels,
            value_range=value_range,
        )
        self._lines, self._rows = found.lines, rows
        self._names = ExampleNames.of(paths)
        if index:
            self._names = ExampleNames.numbered([f"{index} "], [self.num_examples])
        if texts:
            numbers = np.arange(len(rows)) if ids is None else ids
            self.faults = {int(numbers[place]): why for place, why in texts.faults.items()}

    def example_names(self) -> ExampleNames:
        """The paths as they are written, or the ids."""
        return self._names

    def locate(self, index: int) -> str:
        return f"{super().locate(index)} ({self._where(self._rows_at(np.array([index]))[0])})"

    def check_files(self, indices: np.ndarray | None = None) -> None:
        rows = self._rows_at(indices)
        found = missing(self.name, self._places(rows))
        if found:
            place, why = next(iter(found.items()))
            raise FileNotFoundError(
                f"{self._where(rows[place])} names an image that cannot be read: {why} "
                f"({len(found)} such in all). Mend it, or leave such images out with "
                "on_error='skip'"
            )

    def _where(self, row: int) -> str:
        return self._lines.where(int(self._rows[row]))


def _has(table: Table, column: str, default: str) -> bool:
    """Whether a table has a column; one that somebody named must be there."""
    return column in table.columns or (column != default and bool(table.values(column)))


def _warn_of_splits(table: Table, column: str) -> None:
    splits = table.texts(column) if column in table.columns else []
    if len(set(splits)) > 1:
        _LOG.warning(
            "%s: took the rows of all splits, %s: choose with split=, or give '.' for all",
            *(table.name, columns.counted(splits)),
        )
