"""What lies in one folder: images, folders, and the rest, counted.

`list_local` and `list_remote` give (sorted names in bytes, of folders with a "/" at the end;
{suffix: number of files} of what is left out).
"""

import collections
import concurrent.futures
import itertools
import os
import stat
from collections.abc import Callable

import tensorflow as tf

from sogclr_tf.data.files import image_header
from sogclr_tf.data.sources.image_files import SUFFIXES, is_dropping, is_image, is_note, suffix
from sogclr_tf.error_line import first_line
from sogclr_tf.printable import printable

# Files whose first bytes are waited for at a time, and how many one thread reads in turn.
_READERS, _IN_TURN = 32, 64
Entries = tuple[list[bytes], dict[str, int]]


def is_folder(path: str) -> bool:
    """Whether there is a folder of that path, a local one or one that tf.io.gfile knows."""
    # TensorFlow fails on local names that are no UTF-8.
    return tf.io.gfile.isdir(path) if "://" in path else os.path.isdir(path)


def list_local(root: bytes, relative: bytes, suffixes: tuple[bytes, ...] = SUFFIXES) -> Entries:
    """Of the folder `relative` below `root`."""
    folder = os.path.join(root, relative)
    names, others = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(b"."):
                    continue
                try:
                    is_folder = entry.is_dir()
                except PermissionError:
                    raise
                except OSError:
                    # A link to itself.
                    is_folder = False
                if is_folder:
                    if not is_dropping(name) and not _leads_up(entry):
                        names.append(name + b"/")
                elif name.endswith(suffixes) or name.lower().endswith(suffixes):
                    names.append(name)
                else:
                    others.append(name)
    except PermissionError as error:
        raise _closed(error.filename or folder) from None
    return _with_others(names, others, lambda name: _head(os.path.join(folder, name)))


def list_remote(root: str, relative: bytes, suffixes: tuple[bytes, ...] = SUFFIXES) -> Entries:
    """The same; only what has no suffix of an image is asked whether it is a folder."""
    folder = f"{root}/{os.fsdecode(relative)}"
    names, others = [], []
    try:
        for name in tf.io.gfile.listdir(folder):
            bare = os.fsencode(name.rstrip("/"))
            if not bare or is_dropping(bare):
                continue
            if not name.endswith("/") and bare.lower().endswith(suffixes):
                names.append(bare)
            elif name.endswith("/") or ("." not in name and tf.io.gfile.isdir(folder + name)):
                names.append(bare + b"/")
            else:
                others.append(bare)
    except tf.errors.PermissionDeniedError:
        raise _closed(folder) from None
    return _with_others(names, others, lambda name: _remote_head(folder + os.fsdecode(name)))


def _with_others(
    names: list[bytes], others: list[bytes], read_head: Callable[[bytes], bytes | None]
) -> Entries:
    """`names` and those of `others` that are images after all; of the rest how many there are."""
    left_out: collections.Counter[str] = collections.Counter()
    bare = []
    for name in others:
        kind = suffix(name)
        if not kind:
            bare.append(name)
        elif not is_note(kind) and not is_dropping(name):
            left_out[kind] += 1
    for name, head in zip(bare, _heads(bare, read_head), strict=True):
        if head is not None and is_image(head):
            names.append(name)
        elif not (head is not None and is_note("", head)) and not is_dropping(name):
            left_out[""] += 1
    names.sort()
    return names, left_out


def _heads(names: list[bytes], read_head: Callable[[bytes], bytes | None]) -> list[bytes | None]:
    if len(names) <= _IN_TURN:
        return list(map(read_head, names))
    parts = [names[begin : begin + _IN_TURN] for begin in range(0, len(names), _IN_TURN)]
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return [*itertools.chain(*pool.map(lambda part: [*map(read_head, part)], parts))]


def _head(path: bytes) -> bytes | None:
    """The first bytes of a file; None of what is none, such as a pipe or a broken link."""
    try:
        # A pipe would be waited for.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except PermissionError:
        raise _closed(path, "file", "allow it, or give it a suffix") from None
    except OSError:
        return None
    try:
        return os.read(file, image_header.HEAD) if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)


def _remote_head(path: str) -> bytes | None:
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read(image_header.HEAD)
    except tf.errors.PermissionDeniedError:
        raise _closed(path, "file", "allow it, or give it a suffix") from None
    except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError):
        return None
    except tf.errors.OpError as error:
        raise OSError(f"file '{printable(path)}' cannot be read ({first_line(error)})") from None


def _closed(
    path: str | bytes, what: str = "folder", remedy: str = "allow it, or move it elsewhere"
) -> PermissionError:
    return PermissionError(f"{what} '{printable(os.fsdecode(path))}' may not be read: {remedy}")


def _leads_up(entry: os.DirEntry[bytes]) -> bool:
    """Whether it is a link to a folder that it lies in."""
    if not entry.is_symlink():
        return False
    target = os.path.join(os.path.realpath(entry.path), b"")
    return os.path.join(os.path.realpath(os.path.dirname(entry.path)), b"").startswith(target)
