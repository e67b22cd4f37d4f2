"""The strips or tiles of a TIFF page: where they are, and those that a box touches, decoded."""

import itertools
import struct
from typing import Any

import numpy as np

from sogclr_tf.data.files import stored_image
from sogclr_tf.data.files.stored_image import Box

JPEG = 7
# Frames of JPEG, beside tables that have numbers among theirs.
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def shape(page: Any) -> tuple[int, int]:
    """(height, width) of a segment.

    Args:
        page: tifffile's TiffPage.
    """
    if 322 in page.tags or 323 in page.tags:
        return page.tilelength, page.tilewidth
    return page.rowsperstrip, page.imagewidth


def decode(data: bytes, page: Any, kept: list[int], box: Box, max_pixels: int) -> np.ndarray:
    """The values that are stored in a box: [height of the box, width of the box, len(kept)].

    Single bits are uint8, other values of the page's dtype.

    Args:
        data: the whole file.
        page: tifffile's TiffPage.
        kept: which samples of a pixel, ascending.
        box: in the image as stored.
        max_pixels: limits what all segments together may hold.

    Raises:
        UnreadableImageError: the segments hold too much.
        Exception: of any class, where data is damaged.
    """
    top, left, height, width = box
    step_y, step_x = shape(page)
    grid = (-(-page.imagelength // step_y), -(-page.imagewidth // step_x))
    padded = grid[0] * step_y * grid[1] * step_x * page.samplesperpixel
    stored_image.check_values(padded, max_pixels, "strips or tiles")
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    places = _places(data, page, grid[0] * grid[1] * (page.samplesperpixel if separate else 1))
    # Bits as bytes, which CCITT's decoder gives in any case.
    dtypes = (np.dtype(np.uint8), page.dtype) if page.dtype == bool else (page.dtype,)
    values = np.empty((height, width, len(kept)), dtypes[0])
    for row, column in itertools.product(
        range(top // step_y, -(-(top + height) // step_y)),
        range(left // step_x, -(-(left + width) // step_x)),
    ):
        target_y, source_y = _overlap(row * step_y, step_y, top, height)
        target_x, source_x = _overlap(column * step_x, step_x, left, width)
        target = values[target_y, target_x]
        for place, sample in enumerate(kept if separate else kept[:1]):
            index = ((sample if separate else 0) * grid[0] + row) * grid[1] + column
            block = _segment(data, page, places[index], index)[source_y, source_x]
            part = target[..., place : place + 1] if separate else target
            block = block if separate or block.shape[2] == len(kept) else block[..., kept]
            if block.shape != part.shape or block.dtype not in dtypes:
                raise ValueError("a segment of another shape or type")
            part[...] = block
    return values


def _overlap(start, length, box_start, box_length):
    """Where a segment and the box overlap, along one axis: slices of the box and the segment."""
    first, last = max(start, box_start), min(start + length, box_start + box_length)
    return slice(first - box_start, last - box_start), slice(first - start, last - start)


def _places(data, page, count):
    """Where the segments start and end in the file: int [count, 2]."""
    starts = np.asarray(page.dataoffsets[:count], np.int64)
    lengths = np.asarray(page.databytecounts[:count], np.int64)
    if starts.shape != (count,) or lengths.shape != (count,):
        raise ValueError("fewer segments than the image needs")
    # Left out by some writers where all is 0, and by a write that was cut short.
    if min(starts.min(), lengths.min()) < 1 or (lengths > len(data) - starts).any():
        raise ValueError("missing segments")
    return np.stack([starts, starts + lengths], 1).tolist()


def _segment(data, page, place, index):
    """[height, width, samples], of which the last rows or columns may be missing."""
    start, end = place
    # As a view where nothing is undone in place.
    plain = page.compression == page.predictor == page.fillorder == 1
    segment = memoryview(data)[start:end] if plain else data[start:end]
    if page.compression == JPEG:
        _check_jpeg(segment, page)
        block = page.decode(segment, index, jpegtables=page.jpegtables)[0]
    else:
        block = page.decode(segment, index)[0]
    return block[0]


def _check_jpeg(segment, page):
    """Raises where a JPEG's own header claims more than the segment's shape, before decoding."""
    place = 2
    while segment[place] == 0xFF and segment[place + 1] not in _FRAMES:
        marker = segment[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker == 1 or 0xD0 <= marker <= 0xD7:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", segment, place + 2)[0]
    if segment[place] != 0xFF:
        raise ValueError("no marker")
    height, width, samples = struct.unpack_from(">HHB", segment, place + 5)
    most = (*shape(page), 1 if page.planarconfig == 2 else page.samplesperpixel)
    if not all(
        0 < stated <= limit for stated, limit in zip((height, width, samples), most, strict=True)
    ):
        raise ValueError("a JPEG of another shape")
