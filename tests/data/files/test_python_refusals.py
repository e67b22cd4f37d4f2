"""Files that Python libraries would decode to something else, or to something huge."""

import contextlib
import io
import struct
import sys
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from support.stored_images import HEIGHT, LIMIT, npy, pyramid, tiff, values, with_tag

from sogclr_tf.data.files import python_files
from sogclr_tf.data.files.decode_errors import UnreadableImageError


def stack(count, **options):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for _ in range(count):
            writer.write(values(1)[..., 0], photometric="minisblack")
    return buffer.getvalue()


def header_of(shape, dtype="|u1", rest=b""):
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b" \n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + rest


def truncated_stack():
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, np.zeros([12, 20, 30], np.uint8), photometric="minisblack", truncate=True
    )
    return buffer.getvalue()


GRAY = tiff(values(1))
HEIC = bytes(4) + b"ftypheic" + bytes(60)
DESCRIBED = {"metadata": None, "description": "ImageJ=1.53t\nimages=12\nslices=12\n"}
REFUSED = {
    "pages": (lambda: stack(12), "^has 12 pages: a file must hold one image; split it"),
    "many pages": (lambda: stack(1002), "^has more than 1000 pages"),
    "big-endian pages": (lambda: stack(2, byteorder=">"), "^has 2 pages"),
    "bands as pages": (lambda: tiff(values(5), planarconfig=None), f"^has {HEIGHT} pages"),
    "another page": (lambda: pyramid(0), "^has 2 pages"),
    "thumbnail first": (lambda: pyramid(0, first=1), "first TIFF page is a thumbnail"),
    "ImageJ": (lambda: tiff(values(1), **DESCRIBED), "^has 12 pages"),
    "truncated": (truncated_stack, "^has 12 pages"),
    "volume": (
        lambda: tiff(np.zeros([32, 32, 32], np.uint8), volumetric=True, tile=(16, 16, 16)),
        "^its TIFF page is a volume",
    ),
    "CMYK": (lambda: tiff(values(4), photometric="separated"), "colors are CMYK: convert it"),
    "CIELab": (lambda: tiff(values(), photometric="cielab"), "colors are CIELab: convert it"),
    "LZMA": (lambda: tiff(values(1), compression="lzma"), "compression LZMA is not supported"),
    "JPEG 2000": (lambda: tiff(values(1), compression="jpeg2000"), "is not supported: use none"),
    "uint32": (lambda: tiff(values(1, "uint32")), "are unsigned of 32 bits: save it as uint8"),
    "int8": (lambda: tiff(values(1).astype("int8")), "are signed of 8 bits: save it"),
    "complex": (lambda: tiff(values(1, "complex64")), "are complex of 64 bits: save it"),
    "large": (
        lambda: with_tag(with_tag(GRAY, 256, 30_000), 257, 30_000),
        "^image too large: its height and width 30000 30000 are more than max_pixels 1000000$",
    ),
    "large tile": (
        lambda: with_tag(tiff(values(1), tile=(16, 16)), 322, 1 << 28),
        "^image too large: its strips or tiles make",
    ),
    "many bands": (lambda: with_tag(GRAY, 277, 65_535), "^image too large: its height, width and"),
    "npy int64": (lambda: npy(np.zeros([4, 4], np.int64)), "array is of int64: save it as uint8"),
    "npy of objects": (lambda: npy(np.array([[None]])), "array is of object: save it"),
    "npy of fields": (lambda: npy(np.zeros([2, 2], "u1,u1")), "array is of .*: save it"),
    "npy stack": (lambda: npy(np.zeros([2, 4, 4, 3])), r"of shape \(2, 4, 4, 3\): expected"),
    "npy vector": (lambda: npy(np.zeros([4])), r"of shape \(4,\): expected \[height, width\]"),
    "empty npy": (lambda: npy(np.zeros([0, 4])), r"of shape \(0, 4\): expected"),
    "short npy": (lambda: npy(values())[:-5], "^its NumPy data is cut short: 5 bytes are missing$"),
    "lying npy": (lambda: header_of((10**9, 10**9)), "^its NumPy data is cut short"),
    "negative npy": (lambda: header_of((-3, -4, 1)), "expected .height, width."),
    "no npy header": (lambda: b"\x93NUMPY\x01\0\xff\xff{", "NumPy data is damaged or cut short"),
    "deep npy header": (
        lambda: header_of((1, 1)).replace(b"(1, 1)", b"(" * 6),
        "NumPy data is damaged or cut short",
    ),
    "version 9": (lambda: b"\x93NUMPY\x09\0" + bytes(99), "not of version 1.0 or 2.0"),
    "a circle of pages": (
        lambda: b"II*\0" + struct.pack("<IHHHIII", 8, 1, 256, 4, 1, 9, 8),
        "^its TIFF data is damaged or cut short$",
    ),
    "text": (lambda: b"P6 of another kind", "^no image: not one of TIFF, NumPy, AVIF, HEIC$"),
    "nothing": (lambda: b"", "^no image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name):
    make, why = REFUSED[name]
    with pytest.raises(UnreadableImageError, match=why) as caught:
        python_files.decode(make(), LIMIT)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")


def test_a_jpeg_that_claims_more_than_its_tile_is_refused_before_decoding():
    data = tiff(values(), photometric="rgb", compression="jpeg", tile=(32, 32))
    place = data.index(b"\xff\xc0")
    claims = data[: place + 5] + struct.pack(">HH", 65_000, 65_000) + data[place + 9 :]
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="damaged"):
        python_files.decode(claims, LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("compression", [8, 50000, 32773])
def test_segments_that_unpack_to_more_than_their_shape_are_not_unpacked(compression):
    pack = {
        8: zlib.compress,
        50000: imagecodecs.zstd_encode,
        32773: lambda zeros: b"\x81\0" * (len(zeros) // 128),
    }
    segment = pack[compression](bytes(1 << 26))
    data = tiff(values(1), compression="zlib", rowsperstrip=HEIGHT) + segment
    for tag, value in [(259, compression), (273, len(data) - len(segment)), (279, len(segment))]:
        data = with_tag(data, tag, value)
    tracemalloc.start()
    with contextlib.suppress(UnreadableImageError):
        python_files.decode(data, LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 5 * len(segment) + 1_000_000
    tracemalloc.stop()


def test_tags_that_would_be_read_many_times_over_are_refused():
    """A thousand descriptions, each as long as the file."""
    size = 1 << 20
    tags = b"".join(struct.pack("<HHII", 270, 2, size - 8, 8) for _ in range(1000))
    data = b"II*\0" + struct.pack("<IH", 8, 1000) + tags + bytes(size)
    with pytest.raises(UnreadableImageError, match="damaged"):
        python_files.decode(data, LIMIT)


@pytest.mark.parametrize("box", [(0, 0, 46, 1), (-1, 0, 2, 2), (0, 69, 1, 2), (0, 0, 0, 5)])
def test_boxes_outside_of_the_image_are_refused(box):
    for data in [GRAY, npy(values())]:
        with pytest.raises(UnreadableImageError, match="height and width 45 70 lack the box"):
            python_files.decode_crop(data, box, LIMIT)


@pytest.mark.parametrize(
    ("library", "data", "why"),
    [
        ("tifffile", GRAY, "TIFF needs tifffile and imagecodecs: pip install 'sogclr_tf[tiff]'"),
        ("imagecodecs", GRAY, "TIFF needs tifffile and imagecodecs: pip install 'sogclr_tf[tiff]'"),
        ("pillow_heif", HEIC, "HEIC needs pillow_heif: pip install 'sogclr_tf[heif]'"),
    ],
)
def test_a_library_that_is_missing_is_named(monkeypatch, library, data, why):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnreadableImageError) as caught:
        python_files.header(data)
    assert str(caught.value) == why
