"""Tables that name images: CSV, TSV, JSON lines, Parquet, frames, columns, lists of paths."""

import csv
import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import manifest_parquet
from sogclr_tf.data.sources.file_list import root_of
from sogclr_tf.printable import printable

_DIALECTS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_SUFFIXES = (*_DIALECTS, *_JSON_LINES, manifest_parquet.SUFFIX)
# What stands for a missing value in a frame, by the names of its types.
_NONE = ("NoneType", "NAType", "NaTType")


class Lines:
    """Where the rows of a table stand.

    Args:
        name: of the table.
        numbers: the line of each row in a file; None for rows that are no lines.
    """

    def __init__(self, name: str, numbers: Sequence[int] | None = None) -> None:
        self.name = name
        self._numbers = None if numbers is None else np.asarray(numbers, np.int64)

    def where(self, row: int) -> str:
        """Where a row stands, for a message: of a file the line as editors count."""
        if self._numbers is None:
            return f"row {row} of {self.name}"
        return f"line {self._numbers[row]} of {self.name}"


class Table:
    """Columns of a table, and where its rows stand.

    Attributes:
        name: what to call it in messages.
        root: what its paths are relative to.
        columns: {name: list of values}, all of one length, at least 1.
        lines: `Lines`.
    """

    def __init__(
        self,
        name: str,
        root: str,
        columns: dict[str, list],
        lines: Sequence[int] | None = None,
    ) -> None:
        lengths = {column: len(values) for column, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of {name} differ in length: {lengths}")
        if not any(lengths.values()):
            raise ValueError(f"{name} has no rows: give at least one batch of images")
        self.name, self.root, self.columns = name, root, columns
        self.lines = Lines(name, lines)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, row: int) -> str:
        return self.lines.where(row)

    def values(self, column: str) -> list:
        """The values of a column.

        Raises:
            ValueError: there is no such column.
        """
        if column not in self.columns:
            raise ValueError(
                f"{self.name} has no column '{printable(column)}', only "
                f"{printable(', '.join(self.columns))}: rename one, or say which it is"
            )
        return self.columns[column]

    def texts(self, column: str) -> list[str]:
        """The values of a column as text: empty where one is missing, whole numbers without .0."""
        return [
            value.strip() if isinstance(value, str) else as_text(value)
            for value in self.values(column)
        ]


def read_table(
    table: Any,
    root: str | os.PathLike | None = None,
    name: str | None = None,
    wanted: Collection[str] | None = None,
    path: str = "path",
) -> Table:
    """The `Table` of a file, a frame, a mapping of columns or a list of paths.

    Args:
        table: path of a .csv, .tsv, .jsonl or .ndjson file, UTF-8, local or one that tf.io.gfile
            knows, or path or pattern of .parquet files; a frame, such as of pandas;
            {name: values}; a list or an array of paths.
        root: what paths are relative to; by default the folder of the file, else the working
            directory.
        name: what to call it in messages; by default the path, or what it is.
        wanted: the columns that are read of Parquet files; None for all.
        path: the column of paths.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or has no rows.
    """
    folder = "." if root is None else os.path.expanduser(os.fspath(root))
    if isinstance(table, (str, os.PathLike)):
        file = os.path.expanduser(os.fspath(table))
        folder = root_of(os.path.dirname(file) if root is None else folder)
        called = name or printable(file)
        if _suffix(file) == manifest_parquet.SUFFIX:
            found = manifest_parquet.read_columns(file, called, wanted, path)
            return Table(called, folder, found)
        return _of_file(file, called, folder)
    if isinstance(table, Mapping):
        kind, columns = "the table", {str(key): _listed(table[key]) for key in table}
    elif hasattr(table, "columns"):
        kind, columns = "the frame", {str(key): _listed(table[key]) for key in table.columns}
    else:
        kind, columns = "the list of paths", {"path": _listed(table)}
    return Table(name or kind, root_of(folder), columns)


def is_manifest(path: str) -> bool:
    """Whether the suffix of a path is that of a table."""
    return _suffix(path) in _SUFFIXES


def is_table(images: Any) -> bool:
    """Whether images are given as the path of a table, as a frame or as columns."""
    if isinstance(images, (str, os.PathLike)):
        return is_manifest(os.fspath(images))
    return isinstance(images, Mapping) or hasattr(images, "columns")


def lists_paths(images: Any) -> bool:
    """Whether images are given as a list or an array of paths, or as a column of a frame."""
    if not isinstance(images, (list, tuple)):
        kind = getattr(getattr(images, "dtype", None), "kind", "")
        if kind not in ("U", "S", "O") or getattr(images, "ndim", None) != 1:
            return False
        images = np.asarray(images)
    return len(images) > 0 and isinstance(images[0], (str, bytes, os.PathLike))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _of_file(path: str, name: str, root: str) -> Table:
    suffix = _suffix(path)
    if not is_manifest(path):
        raise ValueError(f"'{name}' is no table: expected one of {', '.join(_SUFFIXES)}")
    text = _decoded(_contents(path, name), name)
    rows = _objects(text, name) if suffix in _JSON_LINES else _rows(text, name, _DIALECTS[suffix])
    header = next(rows, (0, []))[1]
    if not header:
        raise ValueError(f"{name} is empty: give at least one batch of images")
    lines: list[int] = []
    # Row by row, as a million lists would keep the garbage collector busy.
    columns: list[list] = [[] for _ in header]
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"line {line} of {name} has {len(row)} values, expected {len(header)}: "
                f"{printable(', '.join(header))} (a value that holds a delimiter stands in quotes)"
            )
        lines.append(line)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return Table(name, root, dict(zip(header, columns, strict=True)), lines)


def _contents(path: str, name: str) -> bytes:
    try:
        if "://" in path:
            with tf.io.gfile.GFile(path, "rb") as file:
                return file.read()
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, tf.errors.NotFoundError):
        raise FileNotFoundError(f"there is no file '{name}': give a table of images") from None


def _decoded(contents: bytes, name: str) -> str:
    try:
        return contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{name} is no UTF-8: line {line} holds the byte 0x{contents[error.start]:02x}: save "
            "it as UTF-8"
        ) from None


def _rows(text: str, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, values) of the header and of each row; a row of several lines ends at its line."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    header: list[str] = []
    try:
        for row in reader:
            if not header:
                header = row = [value.strip() for value in row]
                _check_header(header, name)
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {name} cannot be read: {error}") from None


def _check_header(header: list[str], name: str) -> None:
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise ValueError(f"{name} has two columns '{printable(twice[0])}': rename one")


def _objects(text: str, name: str) -> Iterator[tuple[int, list]]:
    """As `_rows`, of an object in each line; a key that a line lacks is a missing value."""
    objects, header = [], {}
    # Not splitlines, which parts at characters that JSON leaves as they are.
    for line, row in enumerate(re.split("\r?\n", text), 1):
        if not row.strip():
            continue
        try:
            found = json.loads(row)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {line} of {name} is no JSON: {error.msg}") from None
        if not isinstance(found, dict):
            raise ValueError(f'line {line} of {name} is no object such as {{"path": "a.jpg"}}')
        objects.append((line, found))
        header.update(dict.fromkeys(found))
    yield 0, list(header)
    for line, found in objects:
        yield line, [found.get(column) for column in header]


def _listed(values: Any) -> list:
    if isinstance(values, (list, tuple)):
        return [*values]
    return np.asarray(values, None if isinstance(values, np.ndarray) else object).tolist()


def as_text(value: Any) -> str:
    """A value as text: empty where it is missing, a whole number without .0."""
    if type(value).__name__ in _NONE:
        return ""
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return ""
        return str(int(value)) if float(value).is_integer() else str(value)
    return os.fsdecode(value) if isinstance(value, bytes) else str(value).strip()
