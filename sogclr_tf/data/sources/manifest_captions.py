"""Captions of a manifest: a column of texts or of lists, and rows that are of one image."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sogclr_tf.data.sources.manifest_columns import file_of
from sogclr_tf.data.sources.manifest_table import Table, as_text
from sogclr_tf.printable import printable

# The columns that are taken where none is named.
USUAL = ("caption", "captions")


class Grouped(NamedTuple):
    """The images of some rows with their captions.

    Attributes:
        places: int64 [n], of the first row of each image, among the rows.
        texts: the captions of the first image, then those of the second, and so on.
        counts: int64 [n], how many each has; None where each has one.
        faults: {place of the image: why} of those that cannot be used.
    """

    places: np.ndarray
    texts: list[str]
    counts: np.ndarray | None
    faults: dict[int, str]


def column_of(table: Table, named: str | None) -> str | None:
    """The column of captions; None where there is none, or none is wanted.

    Raises:
        ValueError: the one that is named is not there, or both usual ones are.
    """
    if not named:
        return None
    if named != USUAL[0]:
        table.values(named)
        return named
    there = [column for column in USUAL if column in table.columns]
    if len(there) > 1:
        raise ValueError(
            f"{table.name} has the columns {' and '.join(there)}: leave one out, or rename the one "
            "that is meant and name it (caption=)"
        )
    return there[0] if there else None


def grouped(
    table: Table, column: str, rows: np.ndarray, paths: Sequence[str], alike: Sequence[str]
) -> Grouped | None:
    """The images of some rows; None where no row has a caption.

    Args:
        table: `Table`.
        column: of captions.
        rows: int [n], places in the table.
        paths: of the rows.
        alike: columns in which all rows of an image must have the same.

    Raises:
        ValueError: an image has a caption twice, or rows that differ; some rows have a text and
            others a list; a list stands in a text.
    """
    captions, are_lists = _captions(table, column, rows)
    if not any(map(any, captions)):
        return None
    found: dict[str, list[int]] = {}
    for place, path in enumerate(paths):
        found.setdefault(file_of(path), []).append(place)
    faults = {}
    for image, places in enumerate(found.values()):
        _check_rows(table, column, rows[places], [captions[place] for place in places], alike)
        if not all(captions[place] and all(captions[place]) for place in places):
            faults[image] = f"it has no {printable(column)}"
    # An empty list keeps a place, as each image has a number for a caption at least.
    texts = [[t for k in places for t in captions[k]] or [""] for places in found.values()]
    several = are_lists or len(found) < len(paths)
    return Grouped(
        np.array([places[0] for places in found.values()], np.int64),
        [text for of_image in texts for text in of_image],
        np.array([*map(len, texts)], np.int64) if several else None,
        faults,
    )


def _captions(table: Table, column: str, rows: np.ndarray) -> tuple[list[list[str]], bool]:
    """(the captions of each row, an empty one where it has none; whether they are lists)."""
    values = table.values(column)
    captions, kinds = [], set()
    for row in rows.tolist():
        value = values[row]
        is_list = isinstance(value, (list, tuple, np.ndarray))
        texts = [as_text(text) for text in (value if is_list else [value])]
        if any(texts):
            kinds.add(is_list)
        if len(kinds) > 1:
            raise ValueError(
                f"{table.where(row)} has {_kind(value)} as its {printable(column)}, unlike rows "
                "before: give lists to all, or text"
            )
        if not is_list and texts[0].startswith('["') and texts[0].endswith('"]'):
            raise ValueError(
                f"{table.where(row)} has a list as text in {printable(column)}: give each caption "
                "a row of its own, or write JSON lines"
            )
        captions.append(texts)
    return captions, True in kinds


def _check_rows(
    table: Table,
    column: str,
    rows: np.ndarray,
    captions: Sequence[Sequence[str]],
    alike: Sequence[str],
) -> None:
    """Raises ValueError where the rows of one image contradict or repeat each other."""
    first: dict[str, Any] = {}
    for row, texts in zip(rows.tolist(), captions, strict=True):
        for text in filter(None, texts):
            if text in first:
                raise ValueError(
                    f"{table.where(row)} has the path and {printable(column)} of "
                    f"{table.where(first[text])} again, '{printable(text)}': leave one out"
                )
            first[text] = row
    if len(rows) == 1:
        return
    for name in alike:
        values = [as_text(table.values(name)[row]) for row in rows.tolist()]
        other = next((k for k, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise ValueError(
                f"{table.where(rows[other])} has the {printable(name)} '{printable(values[other])}'"
                f", but {table.where(rows[0])}, of the same image, '{printable(values[0])}': rows "
                "of one image differ in the caption alone"
            )


def _kind(value: Any) -> str:
    return "text" if isinstance(value, (str, bytes)) else "a list"
