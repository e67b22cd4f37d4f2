"""Damaged files give pixels or one line, and no more memory than they may."""

import importlib.util
import io
import logging
import struct
import time

import numpy as np
import pytest
from PIL import Image
from support.exhaustive import exhaustive
from support.stored_images import LIMIT, by_pillow, npy, tiff, values

from sogclr_tf.data.files import python_files
from sogclr_tf.data.files.decode_errors import UnreadableImageError


def samples():
    """A file of each kind that has a decoder of its own."""
    photo, options = values(), {"photometric": "rgb"}
    files = {
        "plain": tiff(photo, **options),
        "lzw": tiff(photo, compression="lzw", predictor=True, rowsperstrip=9, **options),
        "deflate": tiff(values(5, "uint16"), compression="zlib", tile=(16, 16)),
        "zstd": tiff(values(2, "float32"), compression="zstd", predictor=True, tile=(32, 32)),
        "jpeg": tiff(photo, compression="jpeg", tile=(32, 32), **options),
        "big": tiff(photo, compression="packbits", bigtiff=True, byteorder=">", **options),
        "planes": tiff(photo, planarconfig="separate", compression="lzw", **options),
        "palette": by_pillow(photo, "TIFF", "P"),
        "group 3": by_pillow(photo, "TIFF", "1", compression="group3"),
        "group 4": by_pillow(photo, "TIFF", "1", compression="group4"),
        "npy": npy(values(3, "uint16")),
        "avif": by_pillow(photo, "AVIF", quality=50),
    }
    if importlib.util.find_spec("pillow_heif") is not None:
        import pillow_heif

        buffer = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(photo)).save(buffer, quality=50)
        files["heic"] = buffer.getvalue()
    return files


def check_survives(data):
    """Pixels that agree with the header, or one plain line; at once."""
    start, failure = time.perf_counter(), ""
    try:
        header = python_files.header(data)
        pixels = python_files.decode(data, LIMIT)
        assert pixels.shape == (header.height, header.width, header.channels)
        box = (header.height // 2, header.width // 2, 1, 1)
        crop = python_files.decode_crop(data, box, LIMIT)
        np.testing.assert_array_equal(crop[0, 0], pixels[box[0], box[1]])
    except UnreadableImageError as error:
        failure = str(error)
    assert "\n" not in failure
    assert len(failure) < 250
    # A hang, not a measure of speed.
    assert time.perf_counter() - start < 5


def damaged(data, rng, variants):
    """Cut at every 37th byte, then with a few bytes changed, of headers more often."""
    for length in range(8, len(data), 37):
        yield data[:length]
    (tags,) = struct.unpack_from("<I", data, 4)
    for variant in range(variants):
        changed = bytearray(data)
        if variant % 3 == 0 and data[:4] == b"II*\0":
            first, last = tags, min(tags + 220, len(data))
        else:
            first, last = 8, len(data) if variant % 3 == 1 else min(400, len(data))
        for _ in range(rng.integers(1, 6)):
            changed[rng.integers(first, last)] = rng.choice([0, 1, 2, 127, 255, rng.integers(256)])
        yield bytes(changed)


def fuzz(variants, seed, caplog):
    with caplog.at_level(logging.DEBUG, logger="tifffile"):
        for data in samples().values():
            for changed in damaged(data, np.random.default_rng(seed), variants):
                check_survives(changed)
    assert not caplog.records


def test_damaged_files_give_pixels_or_one_line(caplog):
    fuzz(30, 0, caplog)


@pytest.mark.slow(reason="thousands of damaged files")
def test_many_more_damaged_files_give_pixels_or_one_line(caplog):
    fuzz(exhaustive(1000, 3000), 1, caplog)
