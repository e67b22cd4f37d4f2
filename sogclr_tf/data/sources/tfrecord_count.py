"""How many records TFRecord files hold, without reading the records where the disk is local."""

import concurrent.futures
import os
import struct
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import file_cache

# A record: its length, the length's checksum, the bytes, their checksum.
_LENGTH = struct.Struct("<Q")
_BEFORE, _AFTER = 12, 4
_THREADS = 32


def count_records(names: Sequence[str]) -> tuple[np.ndarray, str]:
    """(int64 [files], compression: "" or "GZIP") of TFRecord files, from the manifest if it can.

    A local file is walked through from length to length; a remote or compressed one is read.

    Raises:
        ValueError: a file is cut off or no TFRecord file.
    """
    compression = "GZIP" if _begins(names[0]).startswith(b"\x1f\x8b") else ""
    stored = file_cache.load("records", "\n".join(names))
    now = state(names)
    if stored is not None and np.array_equal(stored["state"], now):
        return stored["counts"], compression
    count = _count_local if "://" not in names[0] and not compression else _count_by_reading
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        counts = list(pool.map(lambda name: count(name, compression), names))
    counts = np.array(counts, np.int64)
    file_cache.save("records", "\n".join(names), state=now, counts=counts)
    return counts, compression


def once_per_files(names: Sequence[str], what: str, check: Callable[[], None]) -> None:
    """Calls `check()` unless it passed before, on the same files in the same state."""
    place, now = "\n".join([what, *names]), state(names)
    stored = file_cache.load("checked", place)
    if stored is None or not np.array_equal(stored["state"], now):
        check()
        file_cache.save("checked", place, state=now)


def state(names: Sequence[str]) -> np.ndarray:
    """int64 [files, 2]: size and time of change."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        stats = list(pool.map(tf.io.gfile.stat, names))
    return np.array([[stat.length, stat.mtime_nsec] for stat in stats], np.int64)


def _begins(name: str) -> bytes:
    with tf.io.gfile.GFile(name, "rb") as file:
        return file.read(2)


def _count_local(name: str, _compression: str) -> int:
    size, place, count = os.path.getsize(name), 0, 0
    with open(name, "rb", buffering=0) as file:
        while place < size:
            file.seek(place)
            head = file.read(_LENGTH.size)
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else size
            place += _BEFORE + length + _AFTER
            if place > size:
                raise ValueError(
                    f"{name} is no whole TFRecord file: record {count} would end at byte {place:,} "
                    f"of {size:,}; write or copy it again"
                )
            count += 1
    return count


def _count_by_reading(name: str, compression: str) -> int:
    records = tf.data.TFRecordDataset(name, compression)
    try:
        return int(records.reduce(np.int64(0), lambda count, _: count + 1))
    except tf.errors.DataLossError as error:
        reason = error.message.splitlines()[0]
        raise ValueError(
            f"{name} is no whole TFRecord file ({reason}): write or copy it again"
        ) from None
