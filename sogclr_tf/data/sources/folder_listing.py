"""The image files below a folder, in the byte order of their relative paths."""

import collections
import concurrent.futures
import dataclasses
import functools
import json
import os
import time

import numpy as np

from sogclr_tf.data.sources import file_cache, folder_entries, image_files

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
        left_out: {suffix: number of files} of what is no image and no note beside images.
    """

    text: bytes
    starts: np.ndarray
    groups: np.ndarray
    group_names: list
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.starts) - 1


def list_images(folder: str, suffixes: tuple[bytes, ...] = image_files.SUFFIXES) -> Listing:
    """The `Listing` of a folder; from its manifest where no folder below has changed since.

    A local folder's manifest holds the time of change of every folder below, which moves when a
    file is added, removed or renamed. A remote folder has no such times and is listed at each
    start, many sub-folders at a time. Which files are images is told by their suffixes, and by the
    first bytes of those that have none; see `image_files` for the rest. Links to folders are
    followed, but not into themselves.

    Args:
        folder: str, a local path or one that tf.io.gfile knows (gs://...).
        suffixes: of images, in lower case.

    Raises:
        PermissionError: a folder, or a file without suffix, may not be read; names it.
    """
    if "://" in folder:
        remote = functools.partial(folder_entries.list_remote, suffixes=suffixes)
        return _Walk(folder.rstrip("/"), remote, _REQUESTS).listing()
    folder = os.path.abspath(folder)
    kind = "folder" if suffixes is image_files.SUFFIXES else "folder of arrays"
    stored = file_cache.load(kind, folder)
    if stored is not None and _is_current(folder, stored):
        return Listing(
            stored["text"].tobytes(),
            stored["starts"],
            stored["groups"],
            _split(stored["group_names"]),
            json.loads(stored["left_out"].tobytes())["files"],
        )
    listed_at = time.time_ns()
    local = functools.partial(folder_entries.list_local, suffixes=suffixes)
    walk = _Walk(os.fsencode(folder), local)
    listing = walk.listing()
    file_cache.save(
        kind,
        folder,
        text=np.frombuffer(listing.text, np.uint8),
        starts=listing.starts,
        groups=listing.groups,
        group_names=_join(listing.group_names),
        # One array, because each takes time to open.
        left_out=np.frombuffer(
            json.dumps({"rules": image_files.RULES, "files": listing.left_out}).encode(), np.uint8
        ),
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
        self._left_out = collections.Counter()
        self.folders = []

    def listing(self):
        with concurrent.futures.ThreadPoolExecutor(self._requests) as self._pool:
            self._visit(b"", self._list(b""))
        return Listing(
            bytes(self._text),
            np.concatenate(self._starts),
            np.array(self._groups, np.int64).reshape(-1, 2),
            self._group_names,
            dict(self._left_out),
        )

    def _list(self, relative):
        return self._list_folder(self._root, relative)

    def _visit(self, relative, listed):
        names, left_out = listed
        self._left_out.update(left_out)
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


def _is_current(folder, stored):
    if "left_out" not in stored:
        return False
    if json.loads(stored["left_out"].tobytes())["rules"] != image_files.RULES:
        return False
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
