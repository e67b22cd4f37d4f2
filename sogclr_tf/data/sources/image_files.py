"""Which files of a folder are images, and what is said of the others."""

import codecs
import functools
import logging
import re
from collections.abc import Mapping

from sogclr_tf.data.files import image_header, python_files

_LOG = logging.getLogger("sogclr_tf")

# Another number for other rules, so that lists that were made by former ones are made anew.
RULES = 3
# The frequent ones first, because they are compared in turn.
SUFFIXES = (
    *(b".jpg", b".jpeg", b".png", b".webp", b".bmp", b".gif"),
    *(b".jpe", b".jfif", b".jif", b".jfi", b".pjpeg", b".pjp"),
    *(suffix for suffix in python_files.SUFFIXES if suffix != b".npy"),
)
# Of files that hold images where there are no others, and beside others labels or the like.
ARRAY_SUFFIXES = (b".npy",)
KINDS = "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF or HEIC"
# Made by file managers, network disks, archives and file systems; in lower case.
_DROPPINGS = {
    *(b"@eadir", b"@recycle", b"#recycle", b"#snapshot", b"@recently-snapshot", b"__macosx"),
    *(b"lost+found", b"$recycle.bin", b"recycler", b"system volume information"),
    *(b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b"icon\r"),
}
# Notes and labels, which lie beside images in most collections.
_NOTES = {
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml"),
    *(".html", ".htm", ".css", ".js", ".log", ".ini", ".cfg", ".toml", ".py", ".sh"),
    *(".npy", ".npz", ".mat", ".pkl", ".db", ".sha256", ".md5"),
}
# Behind the last dot: "1.2.840.11" and "Dr. Who" have no suffix.
_SUFFIX = re.compile(rb"\.(?=[^.]*[a-z])[a-z0-9_~-]{1,10}$")
# Kinds of files that a warning counts one by one.
_TOLD = 8


def is_dropping(name: bytes) -> bool:
    """Whether nobody means the file or folder of this name: it is hidden, or a system's own."""
    return name.startswith(b".") or name.lower() in _DROPPINGS


def suffix(name: bytes) -> str:
    """What tells the kind of a file, in lower case with its dot; empty where there is none."""
    found = _SUFFIX.search(name.lower())
    return found[0].decode() if found else ""


def is_note(suffix: str, head: bytes = b"") -> bool:
    """Whether a file that is no image is one that nobody takes for one.

    Args:
        suffix: of its name.
        head: its first bytes, where it has none.
    """
    if suffix:
        return suffix in _NOTES
    try:
        # The last character may be cut.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and "".join(text.split()).isprintable()


def is_image(head: bytes) -> bool:
    """Whether a file without a suffix is an image, by its first `image_header.HEAD` bytes."""
    return image_header.is_known(head) or python_files.is_known(head)


def counts(left_out: Mapping[str, int]) -> str:
    """{suffix: number of files} as text, such as ".tif 8, .avif 4"."""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    told = [f"{name or 'no suffix'} {count:,}" for name, count in ordered[:_TOLD]]
    if len(ordered) > _TOLD:
        told.append(f"others {sum(count for _, count in ordered[_TOLD:]):,}")
    return ", ".join(told)


def warn_of(folder: str, left_out: Mapping[str, int]) -> None:
    """Says, once in a process, what is left out of a folder, if there is any."""
    if left_out:
        _warn(
            f"{folder}: left out {sum(left_out.values()):,} files that are no {KINDS}: "
            f"{counts(left_out)}: convert them to use them"
        )


@functools.cache
def _warn(message: str) -> None:
    _LOG.warning("%s", message)
