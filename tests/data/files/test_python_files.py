"""Files decoded by Python libraries: the values that were written, nothing broken, nothing huge."""

import concurrent.futures
import contextlib
import gc
import importlib.util
import io
import itertools
import logging
import struct
import sys
import time
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from support.exhaustive import exhaustive

from sogclr_tf.data.files import python_files
from sogclr_tf.data.files.decode_errors import UnreadableImageError

HEIGHT, WIDTH = 45, 70
LIMIT = 1_000_000
BANDS = {1: "minisblack", 3: "rgb", 5: "minisblack"}
needs_heif = pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None, reason="needs pillow_heif"
)


def values(channels=3, dtype="uint8", height=HEIGHT, width=WIDTH):
    """Smooth with noise, as photographs are; of all bits of 16."""
    rng = np.random.default_rng(0)
    slope = np.add.outer(np.arange(height) * 2, np.arange(width))[..., np.newaxis]
    pixels = slope + rng.integers(0, 20, (height, width, channels))
    if dtype == "uint8":
        return pixels.astype(dtype)
    return (pixels * 200 - (20_000 if dtype == "int16" else 0)).astype(dtype)


def tiff(pixels, **options):
    """As tifffile writes it; of a gray image one band, no axis."""
    options = {"photometric": "minisblack", "planarconfig": "contig"} | options
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = pixels.reshape(pixels.shape[:2])
        options["planarconfig"] = None
    elif options["planarconfig"] == "separate":
        pixels = pixels.transpose(2, 0, 1)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def by_pillow(pixels, name, mode=None, **options):
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, name, **options)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_tag(data, code, value):
    """A little-endian TIFF whose first page has another value for a tag that is stored inline."""
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    for start in range(place + 2, place + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, start) == (code,):
            return data[: start + 2] + struct.pack("<HII", 4, 1, value) + data[start + 12 :]
    raise KeyError(code)


def check(data, expected):
    """`header`, `decode` and crops agree with the expected pixels in values, type and layout."""
    expected = expected.reshape(*expected.shape[:2], -1)
    height, width, channels = expected.shape
    header = python_files.header(data)
    assert (header.height, header.width, header.channels) == expected.shape
    assert python_files.is_known(data[:64])
    decoded = python_files.decode(data, LIMIT)
    boxes = [(0, 0, 1, 1), (height - 1, width - 2, 1, 2), (7, 15, 20, 25), (0, 3, height, 9)]
    crops = [python_files.decode_crop(data, box, LIMIT) for box in boxes]
    for pixels in (decoded, *crops):
        assert pixels.dtype == expected.dtype == header.dtype
        assert pixels.flags.c_contiguous
        assert pixels.dtype.isnative
    np.testing.assert_array_equal(decoded, expected)
    for (top, left, rows, columns), crop in zip(boxes, crops, strict=True):
        np.testing.assert_array_equal(crop, expected[top : top + rows, left : left + columns])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", BANDS)
def test_every_layout_of_a_tiff_holds_the_values_that_were_written(dtype, channels):
    expected = values(channels, dtype)
    for compression, planar, tile in itertools.product(
        [None, "lzw", "zlib", "zstd", "packbits"], ["contig", "separate"], [None, (16, 32)]
    ):
        for predictor in {False, compression not in (None, "packbits")}:
            data = tiff(
                expected,
                photometric=BANDS[channels],
                planarconfig=planar,
                compression=compression,
                predictor=predictor,
                tile=tile,
                rowsperstrip=None if tile else 7,
            )
            check(data, expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_byte_orders_and_bigtiff(order, big):
    for dtype in ["uint8", "uint16", "float32"]:
        for compression in [None, "zlib"]:
            expected = values(5, dtype)
            options = {"byteorder": order, "bigtiff": big, "compression": compression}
            check(tiff(expected, predictor=compression is not None, **options), expected)


def test_floats_of_other_widths_become_float32():
    floats = values(2, "float32") / 1000
    floats[0, 0, 0], floats[1, 1, 1] = np.nan, np.inf
    for dtype in ["float16", "float64"]:
        expected = floats.astype(dtype).astype(np.float32)
        check(tiff(floats.astype(dtype)), expected)
    check(npy(floats.astype(np.float16)), floats.astype(np.float16).astype(np.float32))
    check(npy(floats.astype(np.float64)), floats.astype(np.float64))


def test_bits_are_spread_over_eight():
    dark = values(1)[..., 0] < 80
    expected = np.where(dark, 0, 255).astype(np.uint8)
    check(tiff(~dark), expected)
    check(tiff(dark, photometric="miniswhite", compression="zlib", tile=(16, 32)), expected)
    check(npy(~dark), expected)
    for compression in ["raw", "tiff_ccitt", "group3", "group4", "tiff_lzw"]:
        check(by_pillow(expected, "TIFF", "1", compression=compression), expected)
    four = values(1)[..., 0] >> 4
    data = bytearray(tiff(values(1)[:, : WIDTH // 2], rowsperstrip=HEIGHT))
    packed = (four[:, ::2] << 4 | four[:, 1::2]).tobytes()
    place = tifffile.TiffFile(io.BytesIO(bytes(data))).pages.first.dataoffsets[0]
    data[place : place + len(packed)] = packed
    check(with_tag(with_tag(bytes(data), 256, WIDTH), 258, 4), four * np.uint8(17))


def test_numbers_of_twelve_bits_keep_their_values():
    stored = values(1, "uint16") % 4096
    check(tiff(stored, bitspersample=12, rowsperstrip=7), stored)


def test_white_that_is_stored_as_zero():
    for dtype, most in [("uint8", 255), ("uint16", 65_535)]:
        stored = values(1, dtype)
        check(tiff(stored, photometric="miniswhite"), (most - stored).astype(dtype))
    with pytest.raises(UnreadableImageError, match="its TIFF white is 0"):
        python_files.decode(tiff(values(1, "float32"), photometric="miniswhite"), LIMIT)


def test_palettes_are_looked_up():
    photo = Image.fromarray(values()).convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    photo.save(buffer, "TIFF")
    check(buffer.getvalue(), np.asarray(photo.convert("RGB")))
    # Of single bits, and of numbers that fill the lower bytes only.
    two = [(320, "H", 6, (10, 20, 30, 40, 50, 60))]
    data = with_tag(tiff(values(1)[..., 0] > 80, extratags=two), 262, 3)
    check(data, np.where(values(1) > 80, [20, 40, 60], [10, 30, 50]).astype(np.uint8))
    table = np.random.default_rng(0).integers(0, 2**16, (3, 256), dtype=np.uint16)
    data = tiff(values(1), photometric="palette", colormap=table)
    check(data, (table >> 8).astype(np.uint8).T[values(1)[..., 0]])


@pytest.mark.parametrize("orientation", range(10))
def test_the_image_is_turned_as_pillow_turns_it(orientation):
    stored = values(3)
    options = {"extratags": [(274, "H", 1, orientation)], "compression": "lzw", "tile": (16, 32)}
    data = tiff(stored, photometric="rgb", **options)
    image = Image.fromarray(stored)
    image.getexif()[274] = orientation
    check(data, np.asarray(ImageOps.exif_transpose(image)))


def test_alpha_is_dropped_and_bands_are_kept():
    four, photo = values(4), {"photometric": "rgb"}
    for planar in ["contig", "separate"]:
        for kind, kept in [("unassalpha", 3), ("assocalpha", 3), ("unspecified", 4)]:
            data = tiff(four, extrasamples=[kind], planarconfig=planar, **photo)
            check(data, four[..., :kept])
        five = tiff(values(5), extrasamples=[2, 0], planarconfig=planar, **photo)
        check(five, values(5)[..., [0, 1, 2, 4]])
    check(tiff(values(2), extrasamples=["unassalpha"]), values(2)[..., :1])


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_inside_a_tiff_is_what_libtiff_decodes(photometric):
    options = {"photometric": photometric, "compression": "jpeg", "tile": (32, 32)}
    data = tiff(values(), subsampling=(2, 2) if photometric == "ycbcr" else None, **options)
    check(data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("array", ["uint8", ">u2", "<u2", ">i2", ">f4"])
@pytest.mark.parametrize("order", "CF")
def test_npy(array, order):
    for channels in [0, 1, 3, 13]:
        shape = (HEIGHT, WIDTH, channels) if channels else (HEIGHT, WIDTH)
        pixels = values(channels or 1, np.dtype(array).name).reshape(shape)
        expected = pixels.astype(pixels.dtype.newbyteorder("="))
        check(npy(np.asarray(pixels.astype(array), order=order)), expected)


def test_npy_of_version_two():
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, values(), version=(2, 0))
    check(buffer.getvalue(), values())


def test_a_crop_of_npy_copies_nothing_else():
    data = npy(np.zeros([1000, 1000, 3], np.float64))
    python_files.decode_crop(data, (5, 5, 10, 10), LIMIT)
    tracemalloc.start()
    python_files.decode_crop(data, (500, 500, 10, 10), LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_crop_of_a_tiff_decodes_only_what_it_touches():
    """All other tiles are damaged, so that decoding one of them would raise."""
    stored = values()
    data = bytearray(tiff(stored, photometric="rgb", compression="zlib", tile=(16, 32)))
    page = tifffile.TiffFile(io.BytesIO(bytes(data))).pages.first
    for index, (start, length) in enumerate(
        zip(page.dataoffsets, page.databytecounts, strict=True)
    ):
        if index not in (4, 5):
            data[start : start + length] = bytes(length)
    crop = python_files.decode_crop(bytes(data), (17, 33, 14, 37), LIMIT)
    np.testing.assert_array_equal(crop, stored[17:31, 33:70])
    with pytest.raises(UnreadableImageError, match="^its TIFF data is damaged or cut short$"):
        python_files.decode_crop(bytes(data), (15, 33, 14, 37), LIMIT)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_avif_is_what_pillow_decodes(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    for mode, channels in [("RGB", 3), ("RGBA", 3), ("L", 3)]:
        data = by_pillow(values(), "AVIF", mode, exif=exif, quality=90)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        expected = np.asarray(image.convert(mode)).reshape(*image.size[::-1], -1)[..., :channels]
        if image.mode == "L":
            expected = expected[..., :1]
        check(data, expected)


@needs_heif
@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_what_was_encoded_without_loss(orientation):
    import pillow_heif

    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(values())
    buffer = io.BytesIO()
    file = pillow_heif.from_pillow(image)
    file.info["exif"] = exif.tobytes()
    file.save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
    image.getexif()[274] = orientation
    check(buffer.getvalue(), np.asarray(ImageOps.exif_transpose(image)))


def stack(count, **options):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for _ in range(count):
            writer.write(values(1)[..., 0], photometric="minisblack")
    return buffer.getvalue()


def pyramid(kind, first=0):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(values(), photometric="rgb", subfiletype=first)
        beside = values(1)[..., 0] > 80 if kind == 4 else values()[::2, ::2]
        photometric = "minisblack" if kind == 4 else "rgb"
        writer.write(beside, photometric=photometric, subfiletype=kind)
    return buffer.getvalue()


def test_smaller_versions_and_masks_are_no_stack():
    for kind in [1, 4]:
        check(pyramid(kind), values())


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


def test_files_are_let_go_of_without_the_garbage_collector():
    data = tiff(np.zeros([1000, 1000, 3], np.uint8), photometric="rgb")
    gc.disable()
    tracemalloc.start()
    for _ in range(5):
        python_files.decode(bytes(bytearray(data)), LIMIT)
        python_files.header(bytes(bytearray(data)))
    assert tracemalloc.get_traced_memory()[0] < len(data)
    tracemalloc.stop()
    gc.enable()


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


def test_kinds_are_told_by_the_bytes():
    avif = by_pillow(values(), "AVIF")
    mif1 = avif.replace(b"ftypavif", b"ftypmif1", 1)
    assert python_files.is_known(mif1[:64])
    np.testing.assert_array_equal(
        python_files.decode(mif1, LIMIT), python_files.decode(avif, LIMIT)
    )
    for head in [b"", b"II", b"II\x2a\x01", by_pillow(values(), "PNG")[:64], b"....ftypisom"]:
        assert not python_files.is_known(head)


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


def test_threads_decode_side_by_side():
    images = [values(3, "uint16", HEIGHT + side) for side in range(8)]
    files = [
        tiff(pixels, photometric="rgb", compression="zlib", rowsperstrip=5) for pixels in images
    ]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(lambda data: python_files.decode(data, LIMIT), files * 10))
    for pixels, expected in zip(decoded, images * 10, strict=True):
        np.testing.assert_array_equal(pixels, expected)


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
