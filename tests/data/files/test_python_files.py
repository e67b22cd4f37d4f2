"""Files decoded by Python libraries: the values that were written."""

import concurrent.futures
import gc
import importlib.util
import io
import itertools
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps
from support.stored_images import (
    HEIGHT,
    LIMIT,
    WIDTH,
    by_pillow,
    npy,
    pyramid,
    tiff,
    values,
    with_tag,
)

from sogclr_tf.data.files import python_files
from sogclr_tf.data.files.decode_errors import UnreadableImageError

BANDS = {1: "minisblack", 3: "rgb", 5: "minisblack"}
needs_heif = pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None, reason="needs pillow_heif"
)


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


def test_smaller_versions_and_masks_are_no_stack():
    for kind in [1, 4]:
        check(pyramid(kind), values())


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


def test_kinds_are_told_by_the_bytes():
    avif = by_pillow(values(), "AVIF")
    mif1 = avif.replace(b"ftypavif", b"ftypmif1", 1)
    assert python_files.is_known(mif1[:64])
    np.testing.assert_array_equal(
        python_files.decode(mif1, LIMIT), python_files.decode(avif, LIMIT)
    )
    for head in [b"", b"II", b"II\x2a\x01", by_pillow(values(), "PNG")[:64], b"....ftypisom"]:
        assert not python_files.is_known(head)


def test_threads_decode_side_by_side():
    images = [values(3, "uint16", HEIGHT + side) for side in range(8)]
    files = [
        tiff(pixels, photometric="rgb", compression="zlib", rowsperstrip=5) for pixels in images
    ]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(lambda data: python_files.decode(data, LIMIT), files * 10))
    for pixels, expected in zip(decoded, images * 10, strict=True):
        np.testing.assert_array_equal(pixels, expected)
