"""What the columns of a manifest mean, checked: paths, classes, ids and captions."""

import collections
import logging
import os
import posixpath
import re
from collections.abc import Sequence

import numpy as np

from sogclr_tf.data.sources.manifest_table import Table, as_text
from sogclr_tf.printable import printable

_LOG = logging.getLogger("sogclr_tf")

# As a person writes it: 007 is a name.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_BROKEN = re.compile(r"-?[0-9]*\.[0-9]+(e-?[0-9]+)?")
# What pathlib makes of gs://bucket/a.jpg.
_LOST_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]")
_LARGEST = 2**31 - 2
# Rows of a loss's table that nobody minds.
_MANY = 1_000_000


def paths_of(table: Table, column: str, rows: np.ndarray) -> list[str]:
    """The paths of some rows as they are written.

    Raises:
        ValueError: one is none.
    """
    values = table.values(column)
    paths = []
    for row in rows.tolist():
        value = values[row]
        if not isinstance(value, (str, bytes, os.PathLike)) or not os.fspath(value):
            given = f"{value!r} ({type(value).__name__})" if as_text(value) else "nothing"
            raise ValueError(
                f"{table.where(row)} has {printable(given)} as its {printable(column)}: expected "
                "the path of an image file"
            )
        path = os.fsdecode(os.fspath(value))
        if _LOST_SLASH.match(path):
            raise ValueError(
                f"{table.where(row)} has the path '{printable(path)}', which pathlib makes of a "
                "path with ://: give it as text"
            )
        paths.append(path)
    return paths


def placed(paths: list[str], root: str) -> tuple[str, list[str]]:
    """(root, paths below it); an empty root and whole paths where some do not lie below it."""
    plain = not any(
        "://" in path
        or path.startswith(("/", "~"))
        # A remote file system does not know that .. is the folder above.
        or ("://" in root and posixpath.normpath(f"/{path}") != f"/{path}")
        for path in paths
    )
    return (root, paths) if plain else ("", [_whole(path, root) for path in paths])


def _whole(path: str, root: str) -> str:
    if "://" in path:
        return path
    path = os.path.expanduser(path)
    if "://" not in root or os.path.isabs(path):
        return os.path.join(root, path)
    scheme, folder = root.split("://", 1)
    return f"{scheme}://{posixpath.normpath(folder + path)}"


def check_once(table: Table, rows: np.ndarray, paths: Sequence[str]) -> None:
    """Raises ValueError where two rows have one path."""
    keys = [file_of(path) for path in paths]
    pair = _twice(keys)
    if pair is not None:
        raise ValueError(
            f"{table.where(rows[pair[1]])} has the path of {table.where(rows[pair[0]])} again, "
            f"'{printable(paths[pair[1]])}' ({len(keys) - len(set(keys))} such in all): leave one "
            "out"
        )


def file_of(path: str) -> str:
    """A path by which a file is known: ./a.jpg and a.jpg are one."""
    return path if "://" in path else os.path.normpath(path)


def ids_of(table: Table, column: str, rows: np.ndarray) -> np.ndarray:
    """The indices that some rows carry: int32 [n].

    Raises:
        ValueError: one is no whole number >= 0, too large, or there twice.
    """
    texts = table.texts(column)
    for row in rows.tolist():
        text = texts[row]
        if not _WHOLE.fullmatch(text) or not 0 <= int(text) <= _LARGEST:
            raise ValueError(
                f"{table.where(row)} has '{printable(text)}' as its {printable(column)}: expected "
                f"a whole number in [0, {_LARGEST}], as it is the index of the image"
            )
    ids = [int(texts[row]) for row in rows.tolist()]
    pair = _twice(ids)
    if pair is not None:
        raise ValueError(
            f"{table.where(rows[pair[1]])} has the {printable(column)} {ids[pair[1]]} of "
            f"{table.where(rows[pair[0]])} again: give each image a number of its own"
        )
    if max(ids) >= max(_MANY, 16 * len(ids)):
        _LOG.warning(
            "%s: the largest %s is %d for %d images, and the loss's table will have a row for "
            "each number up to it: smaller ones take less memory",
            *(table.name, column, max(ids), len(ids)),
        )
    return np.array(ids, np.int32)


def classes_of(
    table: Table, column: str, rows: np.ndarray, class_names: Sequence[str] | None = None
) -> tuple[np.ndarray | None, list[str] | None]:
    """(labels of some rows, int32 [n], or None where all are empty; the names of the classes).

    Text is numbered in the order of the names that all rows have, also those of other splits;
    whole numbers are what they are.

    Raises:
        ValueError: some are empty, below 0, no whole numbers, or none of `class_names`.
    """
    texts = table.texts(column)
    labels = _filled(table, column, texts, rows, "label every image of a split, or none")
    if labels is None:
        return None, None
    found = {*texts} - {""}
    if class_names is None and all(map(_WHOLE.fullmatch, found)):
        _check(table, rows, labels, lambda text: 0 <= int(text) <= _LARGEST, "a number from 0")
        return np.array([*map(int, labels)], np.int32), None
    if class_names is None and all(_WHOLE.fullmatch(t) or _BROKEN.fullmatch(t) for t in found):
        _check(table, rows, labels, _WHOLE.fullmatch, "whole numbers from 0, or names of classes")
    names = [str(name) for name in class_names] if class_names is not None else sorted(found)
    number = {name: place for place, name in enumerate(names)}
    _check(table, rows, labels, number.__contains__, f"one of {', '.join(names[:9])}")
    return np.array([number[label] for label in labels], np.int32), names


def rows_of(table: Table, column: str, split: str | None) -> np.ndarray:
    """The places of the rows of a split, in order; of all rows for "." and None."""
    if split in (None, "."):
        return np.arange(len(table))
    if column not in table.columns:
        raise ValueError(
            f"{table.name} has no column '{printable(column)}', so that it does not say which "
            f"rows are of '{printable(split)}': add one, put {{split}} in the place of the split's "
            "name in that of the file, or give . for all rows"
        )
    splits = table.texts(column)
    rows = np.flatnonzero(np.array(splits, object) == split)
    if not len(rows):
        raise ValueError(
            f"{table.name} has no row of split '{printable(split)}', only {counted(splits)}: name "
            "one of them, or . for all rows"
        )
    return rows


def counted(splits: list[str]) -> str:
    """Splits with how many rows each has, as text."""
    counts = collections.Counter(splits)
    told = [f"{printable(name) or 'empty'} ({count})" for name, count in counts.most_common(9)]
    return f"{', '.join(told)}{' ...' * (len(counts) > 9)}"


def _filled(table, column, texts, rows, remedy):
    """The texts of some rows, or None where all are empty; some must not be."""
    chosen = [texts[row] for row in rows.tolist()]
    if not any(chosen):
        return None
    if not all(chosen):
        empty = chosen.count("")
        raise ValueError(
            f"{table.where(rows[chosen.index('')])} has no {printable(column)} ({empty} such in "
            f"all, {len(chosen) - empty} have one): {remedy}"
        )
    return chosen


def _check(table, rows, labels, is_good, expected):
    for row, label in zip(rows.tolist(), labels, strict=True):
        if not is_good(label):
            raise ValueError(
                f"{table.where(row)} has the label '{printable(label)}': expected "
                f"{printable(expected)}"
            )


def _twice(keys: Sequence) -> tuple[int, int] | None:
    """The places of the first two equal keys."""
    if len(set(keys)) == len(keys):
        return None
    first: dict = {}
    for place, key in enumerate(keys):
        if first.setdefault(key, place) != place:
            return first[key], place
    return None
