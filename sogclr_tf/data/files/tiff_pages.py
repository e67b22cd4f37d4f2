"""How many images a TIFF file holds, before its tags are read."""

import itertools
import re
import struct
from typing import Any

from sogclr_tf.data.files.decode_errors import UnreadableImageError

_MOST_PAGES = 1000
_MOST_TAGS = 4096
# Bytes of a value, by the number of its type.
_SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8]
_SHORT = 3
_KIND_OF_PAGE, _OLD_KIND_OF_PAGE, _INNER_PAGES, _PLANES_OF_STK = 254, 255, 330, 33629
# Of NewSubfileType: a smaller version, and a mask of another page.
_SMALLER, _MASK = 1, 4


def check(data: bytes) -> None:
    """Raises where a file has several images, or tags that cannot all be in it.

    Further pages that say of themselves to be smaller versions or masks of the first are fine.

    Args:
        data: the whole file.

    Raises:
        UnreadableImageError: it has several images.
        ValueError, struct.error: it is damaged.
    """
    pages = list(itertools.islice(_directories(data), _MOST_PAGES + 1))
    if not pages:
        raise ValueError("no pages")
    first = pages[0]
    # Their values do not overlap in files of any writer; reading them would take time and memory.
    if sum(_SIZES[kind] * count for _, kind, count, _ in first if kind < 19) > 2 * len(data):
        raise ValueError("tags that are more than the file")
    if _is_beside(first) and (len(pages) > 1 or any(tag[0] == _INNER_PAGES for tag in first)):
        raise UnreadableImageError("its first TIFF page is a thumbnail or mask: split the file")
    if not all(map(_is_beside, pages[1:])):
        several = f"more than {_MOST_PAGES}" if len(pages) > _MOST_PAGES else len(pages)
        raise UnreadableImageError(too_many(several))


def planes(page: Any) -> int:
    """How many images are behind one page, as ImageJ, MetaMorph and tifffile may store stacks.

    Args:
        page: tifffile's TiffPage.
    """
    if _PLANES_OF_STK in page.tags:
        return page.tags[_PLANES_OF_STK].count
    text = page.description if isinstance(page.description, str) else ""
    stack = re.match(r"ImageJ=.*^images=(\d{1,9})\s*$", text, re.M | re.S)
    # tifffile's own way, by its option `truncate`.
    stack = stack or re.match(r'{"shape": \[(\d{1,9}).*"truncated": true', text)
    return int(stack[1]) if stack else 1


def too_many(pages: int | str) -> str:
    """What an error says of a file of several images."""
    return f"has {pages} pages: a file must hold one image; split it, or store bands in one page"


def _directories(data):
    """The entries of each page: [(tag, type, count, value or its place)]."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    number, entry, offset = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    entry = struct.Struct(order + entry)
    (place,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    # Two bytes are the first of the place for a value.
    shift = 8 * (struct.calcsize(order + offset) - 2) if order == ">" else 0
    seen = set()
    while place:
        (count,) = struct.unpack_from(order + number, data, place)
        if place in seen or count > _MOST_TAGS:
            raise ValueError("a circle of pages, or tags without end")
        seen.add(place)
        start = place + struct.calcsize(order + number)
        end = start + count * entry.size
        yield [
            (*tag, value >> shift if tag[1] == _SHORT else value)
            for *tag, value in entry.iter_unpack(data[start:end])
        ]
        (place,) = struct.unpack_from(order + offset, data, end)


def _is_beside(entries):
    """Whether a page is a smaller version or a mask of another."""
    return any(
        (tag == _KIND_OF_PAGE and value & (_SMALLER | _MASK))
        or (tag == _OLD_KIND_OF_PAGE and value == 2)
        for tag, _, _, value in entries
    )
