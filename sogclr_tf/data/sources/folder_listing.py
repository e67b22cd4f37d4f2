"""The image files below a folder, in the byte order of their relative paths."""

import concurrent.futures
import dataclasses
import os
import time

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import file_cache

SUFFIXES = (b".jpg", b".jpeg", b".jpe", b".png", b".webp", b".bmp", b".gif")
# Listings that wait for a remote file system at a time.
_REQUESTS = 32
# A folder that changed within so many nanoseconds before it was listed may change again without
# a new time: file systems count in steps.
_SETTLED = 2 * 10**9


@dataclasses.dataclass(frozen=True)
class Listing:
    """Paths as one text, because a million Python strings are large.

    Attributes:
        text: bytes; all relative paths one after the other, "/" between their parts.
        starts: int64 [N + 1]; path i is text[starts[i] : starts[i + 1]].
        groups: int64 [G, 2]; where the paths of each sub-folder of the first level begin and end.
        group_names: list of str, of those sub-folders, also of empty ones.
    """

    text: bytes
    starts: np.ndarray
    groups: np.ndarray
    group_names: list

    def __len__(self) -> int:
        return len(self.starts) - 1


def list_images(folder: str) -> Listing:
    """The `Listing` of a folder; from its manifest where no folder below has changed since.

    A local folder's manifest holds the time of change of every folder below, which moves when a
    file is added, removed or renamed. A remote folder has no such times and is listed at each
    start, many sub-folders at a time. Hidden files and folders (".name") and files of other
    suffixes are left out; links to folders are followed, but not into themselves.

    Args:
        folder: str, a local path or one that tf.io.gfile knows (gs://...).
    """
    if "://" in folder:
        return _Walk(folder.rstrip("/"), _list_remote, _REQUESTS).listing()
    folder = os.path.abspath(folder)
    stored = file_cache.load("folder", folder)
    if stored is not None and _is_current(folder, stored):
        return Listing(
            stored["text"].tobytes(),
            stored["starts"],
            stored["groups"],
            _split(stored["group_names"]),
        )
    listed_at = time.time_ns()
    walk = _Walk(os.fsencode(folder), _list_local)
    listing = walk.listing()
    file_cache.save(
        "folder",
        folder,
        text=np.frombuffer(listing.text, np.uint8),
        starts=listing.starts,
        groups=listing.groups,
        group_names=_join(listing.group_names),
        folders=_join([os.fsdecode(relative) for relative in walk.folders]),
        changed=np.array([_changed(folder, relative) for relative in walk.folders]),
        listed_at=listed_at,
    )
    return listing


class _Walk:
    """One walk through a folder.

    Sorting names of folders with their "/" puts a walk into the order of whole paths: "a-b/" comes
    before "a/", because "-" comes before "/".
    """

    def __init__(self, root, list_folder, requests=1):
        self._root, self._list_folder, self._requests = root, list_folder, requests
        self._text, self._starts = bytearray(), [np.zeros(1, np.int64)]
        self._groups, self._group_names = [], []
        self._count = 0
        self.folders = []

    def listing(self):
        with concurrent.futures.ThreadPoolExecutor(self._requests) as self._pool:
            self._visit(b"", self._list(b""))
        return Listing(
            bytes(self._text),
            np.concatenate(self._starts),
            np.array(self._groups, np.int64).reshape(-1, 2),
            self._group_names,
        )

    def _list(self, relative):
        return self._list_folder(self._root, relative)

    def _visit(self, relative, names):
        self.folders.append(relative)
        below = self._listed(relative, [name for name in names if name.endswith(b"/")])
        files = []
        for name in names:
            if not name.endswith(b"/"):
                files.append(relative + name)
                continue
            self._add(files)
            files = []
            begin = self._count
            self._visit(relative + name, next(below))
            if not relative:
                self._groups.append((begin, self._count))
                self._group_names.append(os.fsdecode(name[:-1]))
        self._add(files)

    def _listed(self, relative, names):
        """The listings of sub-folders in order, some of them asked for ahead."""
        for begin in range(0, len(names), self._requests):
            some = [relative + name for name in names[begin : begin + self._requests]]
            yield from (
                self._pool.map(self._list, some) if self._requests > 1 else map(self._list, some)
            )

    def _add(self, paths):
        if not paths:
            return
        lengths = np.fromiter(map(len, paths), np.int64, len(paths))
        self._starts.append(len(self._text) + np.cumsum(lengths))
        self._text += b"".join(paths)
        self._count += len(paths)


def _list_local(root, relative):
    """Names of images and, with a "/" at the end, of folders; sorted bytes."""
    folder = os.path.join(root, relative)
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(b"."):
                continue
            if entry.is_dir():
                if not (entry.is_symlink() and _leads_up(entry.path)):
                    names.append(entry.name + b"/")
            elif entry.name.lower().endswith(SUFFIXES):
                names.append(entry.name)
    names.sort()
    return names


def _list_remote(root, relative):
    """As `_list_local`; only what has no suffix of an image is asked whether it is a folder."""
    folder = f"{root}/{os.fsdecode(relative)}"
    names = []
    for name in tf.io.gfile.listdir(folder):
        bare = name.rstrip("/")
        if not bare or bare.startswith("."):
            continue
        if bare == name and name.lower().encode().endswith(SUFFIXES):
            names.append(os.fsencode(name))
        elif bare != name or ("." not in name and tf.io.gfile.isdir(folder + name)):
            names.append(os.fsencode(bare) + b"/")
    names.sort()
    return names


def _leads_up(link):
    target = os.path.join(os.path.realpath(link), b"")
    return os.path.join(os.path.realpath(os.path.dirname(link)), b"").startswith(target)


def _is_current(folder, stored):
    changed = stored["changed"]
    if changed.max() > int(stored["listed_at"]) - _SETTLED:
        return False
    names = _split(stored["folders"])
    try:
        return all(_changed(folder, name) == old for name, old in zip(names, changed, strict=True))
    except OSError:
        return False


def _changed(folder, relative):
    return os.stat(os.path.join(folder, os.fsdecode(relative))).st_mtime_ns


def _join(names):
    """Names as an array of bytes, a zero after each."""
    return np.frombuffer(b"".join(os.fsencode(name) + b"\0" for name in names), np.uint8)


def _split(joined):
    return [os.fsdecode(name) for name in joined.tobytes().split(b"\0")[:-1]]
