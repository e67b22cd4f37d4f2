"""The height and width of every image of a source, as the headers of its files tell."""

import time

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.data.files.decode_errors import ERRORS, in_one_line
from sogclr_tf.data.sources import file_cache
from sogclr_tf.data.sources.base import Source
from sogclr_tf.printable import printable
from sogclr_tf.terminal import has_bar

# Images between two looks at how far it has come, and seconds before a bar of progress is shown.
_BATCH, _PATIENCE = 64, 2.0


def image_sizes(source: Source) -> np.ndarray:
    """(height, width) of each image in the fixed order: int32 [source.size, 2].

    Nothing is decoded. Files are read once, several at a time; what they say is remembered (see
    `sogclr_tf.data.sources.file_cache`) for all that have the same `fingerprint` and index.

    Args:
        source: `Source` that can read in `any_order`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: the header of a file cannot be read.
    """
    if source.image_size is not None:
        return np.full([source.size, 2], source.image_size, np.int32)
    indices, fingerprint = source.indices(), source.fingerprint()
    if fingerprint is None:
        return _read(source)
    stored = file_cache.load("sizes", fingerprint)
    if stored is not None:
        place = np.searchsorted(stored["index"], indices)
        place = np.minimum(place, len(stored["index"]) - 1)
        if (stored["index"][place] == indices).all():
            return stored["size"][place]
    sizes = _read(source)
    by_index = np.argsort(indices)
    file_cache.save("sizes", fingerprint, index=indices[by_index], size=sizes[by_index])
    return sizes


def _read(source: Source) -> np.ndarray:
    source.check_files()
    rows = tf.data.Dataset.range(source.size, output_type=tf.int32)
    sizes = rows.map(lambda row: _size(source, row), tf.data.AUTOTUNE, deterministic=True)
    found, count, bar = [], 0, None
    begin = time.monotonic()
    try:
        for batch in sizes.batch(_BATCH).as_numpy_iterator():
            found.append(batch)
            count += len(batch)
            if bar is None and has_bar() and time.monotonic() > begin + _PATIENCE:
                bar = keras.utils.Progbar(source.size, unit_name="header")
            if bar:
                bar.update(count)
    except ERRORS:
        _check_some(source, range(count, min(count + _BATCH, source.size)))
        raise
    return np.concatenate(found)


def _size(source: Source, row: tf.Tensor) -> tf.Tensor:
    return source.shape(source.read(source.example_at(row)["image"]))


def _check_some(source: Source, rows: range) -> None:
    """Raises ValueError of the first of some images whose header cannot be read."""
    for row in rows:
        example = source.example_at(tf.constant(row))
        try:
            source.shape(source.read(example["image"]))
        except ERRORS as error:
            index = int(example["index"])
            raise ValueError(
                f"{printable(source.locate(index))} (index {index}) has no header that can be "
                f"read: {in_one_line(error)}. Mend it, or leave such images out with "
                "sogclr_tf.data.sources.readable.readable(source)"
            ) from None
