"""How many records TFRecord files hold, and which, without reading them where the disk is local."""

import concurrent.futures
import gzip
import os
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import file_cache
from sogclr_tf.error_line import first_line

# A record: its length, the length's checksum, the bytes, their checksum.
_LENGTH, _PAIR = struct.Struct("<Q"), struct.Struct("<IQ")
_BEFORE, _AFTER = 12, 4
_PIECE = 1 << 20
_THREADS = 32
# A file that changed so many nanoseconds ago may change again, at the same length, without a new
# time: TensorFlow tells it in seconds.
_SETTLED = 2 * 10**9


def count_records(names: Sequence[str]) -> tuple[np.ndarray, str]:
    """(int64 [files], compression: "" or "GZIP") of TFRecord files, from the manifest if it can.

    A local file is walked through from length to length; a remote or compressed one is read.

    Raises:
        ValueError: a file is cut off or no TFRecord file.
    """
    compression = "GZIP" if _begins(names[0]).startswith(b"\x1f\x8b") else ""
    stored = file_cache.load("records", "\n".join(names))
    if stored is not None and np.array_equal(stored["state"], state(names)):
        return stored["counts"], compression
    return np.array([len(ids) for ids in _walk(names, compression)], np.int64), compression


def record_ids(names: Sequence[str], compression: str) -> np.ndarray:
    """uint64 [records]: the length and the checksum of each, in the order of the files.

    The same wherever the record lies, and with another record but for one time in 2**32.

    Raises:
        ValueError: as for `count_records`.
    """
    stored = file_cache.load("record ids", "\n".join(names))
    if stored is not None and np.array_equal(stored["state"], state(names)):
        return stored["ids"]
    return np.concatenate(_walk(names, compression))


def _walk(names: Sequence[str], compression: str) -> list[np.ndarray]:
    """[uint64 [records of the file]], as `record_ids`; writes the manifests."""
    now = state(names)
    walk = _ids_local if "://" not in names[0] and not compression else _ids_by_reading
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        ids = list(pool.map(lambda name: walk(name, compression), names))
    counts = np.array([len(of_file) for of_file in ids], np.int64)
    if now[:, 1].max() < time.time_ns() - _SETTLED:
        file_cache.save("record ids", "\n".join(names), state=now, ids=np.concatenate(ids))
    file_cache.save("records", "\n".join(names), state=now, counts=counts)
    return ids


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


def _ids_local(name: str, _compression: str) -> np.ndarray:
    size, place = os.path.getsize(name), 0
    checksums: list[bytes] = []
    lengths: list[int] = []
    with open(name, "rb", buffering=0) as file:
        # A record's checksum and the length of the next one lie side by side.
        read = bytes(_AFTER) + file.read(_LENGTH.size)
        while place < size:
            length = _PAIR.unpack(read)[1] if len(read) == _PAIR.size else size
            place += _BEFORE + length + _AFTER
            if place > size:
                raise ValueError(
                    f"{name} is no whole TFRecord file: record {len(lengths)} would end at byte "
                    f"{place:,} of {size:,}; write or copy it again"
                )
            file.seek(place - _AFTER)
            read = file.read(_PAIR.size)
            lengths.append(length)
            checksums.append(read[:_AFTER])
    return _ids(lengths, checksums)


def _ids_by_reading(name: str, compression: str) -> np.ndarray:
    checksums: list[bytes] = []
    lengths: list[int] = []
    try:
        with tf.io.gfile.GFile(name, "rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if compression else raw
            while head := file.read(_BEFORE):
                length = _LENGTH.unpack(_exactly(head, _BEFORE)[: _LENGTH.size])[0]
                _pass(file, length)
                lengths.append(length)
                checksums.append(_exactly(file.read(_AFTER), _AFTER))
    except (tf.errors.OpError, OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{name} is no whole TFRecord file ({first_line(error)}): write or copy it again"
        ) from None
    return _ids(lengths, checksums)


def _ids(lengths: list[int], checksums: list[bytes]) -> np.ndarray:
    found = np.array(lengths, np.uint64) << np.uint64(32)
    return found | np.frombuffer(b"".join(checksums), "<u4")


def _pass(file: Any, length: int) -> None:
    """Reads so many bytes in pieces, as the length of what is no record may be any number."""
    while length:
        length -= len(_exactly(file.read(min(length, _PIECE)), 1))


def _exactly(read: bytes, least: int) -> bytes:
    if len(read) < least:
        raise EOFError("it ends within a record")
    return read
