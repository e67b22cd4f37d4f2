"""Parquet files as tables of images, those that img2dataset writes beside its images among them."""

import os
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from sogclr_tf.data.sources.shard_pattern import matching
from sogclr_tf.printable import printable

SUFFIX = ".parquet"
# What img2dataset calls the name of an image and how its download ended, and encodes images as.
_KEY, _STATUS, _SUCCESS = "key", "status", "success"
_SUFFIXES = ("jpg", "png", "webp")


def read_columns(
    pattern: str, name: str, wanted: Collection[str] | None, path: str
) -> dict[str, list]:
    """{column: values} of Parquet files, one after the other in the order of their names.

    Where they have no paths but the keys of img2dataset, the rows are those whose download
    succeeded, and the paths begin at the folder of the files: those of its format `files`.

    Args:
        pattern: a path or a pattern, local or one that tf.io.gfile knows.
        name: what to call it in messages.
        wanted: the columns that are read, where they are there; None for all.
        path: the column of paths.

    Raises:
        FileNotFoundError: there is no such file, or no image beside it.
        ValueError: a file cannot be read, or has other columns than the first.
    """
    files = sorted(matching([pattern]))
    if not files:
        raise FileNotFoundError(f"there is no file '{name}': give a table of images")
    parts = [_columns(file, wanted, path) for file in files]
    for file, part in zip(files, parts, strict=True):
        if part.keys() != parts[0].keys():
            raise ValueError(
                f"{printable(file)} has other columns than {printable(files[0])}: "
                f"{printable(', '.join(sorted(part.keys() ^ parts[0].keys())))}"
            )
    if _is_img2dataset(parts[0], path):
        if any(os.path.dirname(file) != os.path.dirname(pattern) for file in files):
            raise ValueError(f"'{name}' has files in several folders: give those of one")
        return _joined(
            [_with_paths(part, file, path) for file, part in zip(files, parts, strict=True)]
        )
    return _joined(parts)


def _columns(file: str, wanted: Collection[str] | None, path: str) -> dict[str, list]:
    import pyarrow
    from pyarrow import parquet

    try:
        if "://" in file:
            with tf.io.gfile.GFile(file, "rb") as remote:
                opened = parquet.ParquetFile(pyarrow.BufferReader(remote.read()))
        else:
            opened = parquet.ParquetFile(file)
        there = opened.schema_arrow.names
        needed = there if wanted is None else [c for c in there if c in wanted]
        if path not in there:
            needed = [*dict.fromkeys([*needed, *(c for c in (_KEY, _STATUS) if c in there)])]
        return opened.read(needed).to_pydict()
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"{printable(file)} is no whole Parquet file: {printable(error)}"
        ) from None


def _is_img2dataset(columns: dict[str, Any], path: str) -> bool:
    return path not in columns and _KEY in columns and _STATUS in columns


def _with_paths(part: dict[str, list], file: str, path: str) -> dict[str, list]:
    """The rows that have an image, with its path below the folder of the file."""
    good = [row for row, status in enumerate(part[_STATUS]) if status == _SUCCESS]
    stem = os.path.splitext(file)[0]
    suffix = _suffix(stem, part[_KEY][good[0]]) if good else ""
    kept = {name: [values[row] for row in good] for name, values in part.items()}
    kept[path] = [f"{os.path.basename(stem)}/{key}.{suffix}" for key in kept[_KEY]]
    return kept


def _suffix(stem: str, key: str) -> str:
    """Of the images of a file, told by its first."""
    for suffix in _SUFFIXES:
        if tf.io.gfile.exists(f"{stem}/{key}.{suffix}"):
            return suffix
    for packed in (".tar", ".tfrecord"):
        if tf.io.gfile.exists(stem + packed):
            raise ValueError(
                f"images of {printable(stem)}{SUFFIX} lie in {printable(stem)}{packed}: give the "
                f"{packed} files themselves"
            )
    raise FileNotFoundError(
        f"there is no image '{printable(stem)}/{printable(key)}.jpg' (.png, .webp) of "
        f"{printable(stem)}{SUFFIX}: keep the folder of images beside it"
    )


def _joined(parts: list[dict[str, list]]) -> dict[str, list]:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}
