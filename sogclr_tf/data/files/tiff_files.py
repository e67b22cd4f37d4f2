"""TIFF files: gray, color, palettes and any number of bands; one page, in strips or tiles.

Tags and segments are read by tifffile, decompressed by imagecodecs. What a header claims is held
against the file and `max_pixels` before either is asked to decode.
"""

import contextlib
import io
import logging
import threading

import numpy as np

from sogclr_tf.data.files import stored_image, tiff_pages, tiff_segments
from sogclr_tf.data.files.decode_errors import UnreadableImageError
from sogclr_tf.data.files.stored_image import Header, StoredImage

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# No compression, CCITT, LZW, JPEG, deflate, PackBits, Zstandard. Other codecs decode what their
# own headers claim, which no tag limits.
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_COLORS = {5: "CMYK", 4: "a mask", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "raw camera data"}
_FORMATS = {1: "unsigned", 2: "signed", 3: "floats", 5: "complex", 6: "complex"}
_ALPHA = (1, 2)
_NUMBERS = (
    *("imagewidth", "imagelength", "imagedepth", "samplesperpixel", "photometric", "planarconfig"),
    *("compression", "predictor", "fillorder", "rowsperstrip", "tilewidth", "tilelength"),
    "tiledepth",
)


def opened(data: bytes) -> StoredImage:
    """The header of a file, and how to read its pixels.

    White is 255 (or the largest number of the bits) also where a file stores it as 0. Fewer than 8
    bits are spread over 0..255; 10, 12 and 14 bits are uint16 of the values that are stored.

    Args:
        data: the whole file.

    Raises:
        UnreadableImageError: a library is missing, or the file is of a variant that is refused:
            several pages, volumes, CMYK and CIELab, integers of 32 bits, rare compressions.
    """
    tifffile = _tifffile()
    tiff_pages.check(data)
    # Closed, as tifffile's objects refer to each other, and so would hold the bytes for long.
    with _quiet(), io.BytesIO(data) as buffer:
        # Flags of microscopes: they would have tifffile look for more pages than the file lists.
        file = tifffile.TiffFile(
            buffer, is_lsm=False, is_scanimage=False, is_ndpi=False, _multifile=False
        )
        image = _page(data, file.pages.first)
        # It may look into the file, once.
        file.pages.first.init_decode()
    return image


def _page(data, page):
    _check(page)
    kept = _kept(page)
    orientation = stored_image.valid_orientation(page.tags.valueof(274))
    shape = stored_image.shown_shape(page.imagelength, page.imagewidth, orientation)
    palette = _palette(page) if _photometric(page) == _PALETTE else None
    channels = len(kept) if palette is None else 3

    def read(box, max_pixels):
        stored = stored_image.stored_box(box, page.imagelength, page.imagewidth, orientation)
        with _quiet():
            values = tiff_segments.decode(data, page, kept, stored, max_pixels)
        pixels = _levels(values, page) if palette is None else palette[values[..., 0]]
        return stored_image.turn(pixels, orientation)

    return StoredImage(Header(*shape, channels, _dtype(page)), read)


def _tifffile():
    try:
        import imagecodecs  # noqa: F401
        import tifffile
    except ImportError:
        raise UnreadableImageError(
            "TIFF needs tifffile and imagecodecs: pip install 'sogclr_tf[tiff]'"
        ) from None
    logging.getLogger("tifffile").addFilter(_loud)
    return tifffile


class _Quiet(threading.local):
    now = False


_in_this_thread = _Quiet()


def _loud(record):
    del record
    return not _in_this_thread.now


@contextlib.contextmanager
def _quiet():
    """Without tifffile's log, in this thread only: what is wrong with a file is raised."""
    _in_this_thread.now = True
    try:
        yield
    finally:
        _in_this_thread.now = False


def _check(page):
    """Raises UnreadableImageError where the page is of a variant that is refused."""
    if not all(isinstance(getattr(page, name), int) for name in _NUMBERS):
        raise ValueError("a tag that should be one whole number")
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise UnreadableImageError("its TIFF page is a volume: split it into flat images")
    planes = tiff_pages.planes(page)
    if planes > 1:
        raise UnreadableImageError(tiff_pages.too_many(planes))
    if page.compression not in _COMPRESSIONS:
        name = getattr(page.compression, "name", page.compression)
        raise UnreadableImageError(
            f"its TIFF compression {name} is not supported: use none, LZW, deflate, Zstandard or "
            "JPEG"
        )
    color = _photometric(page)
    if color not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR):
        name = _COLORS.get(color, f"photometric {int(color)}")
        raise UnreadableImageError(f"its TIFF colors are {name}: convert it to RGB")
    if color == _YCBCR and page.compression != tiff_segments.JPEG:
        raise UnreadableImageError("its TIFF colors are YCbCr without JPEG: convert it to RGB")
    if color == _WHITE_IS_ZERO and _dtype(page).kind != "u":
        raise UnreadableImageError("its TIFF white is 0, which has no meaning for signed numbers")
    if min(page.imagelength, page.imagewidth, *tiff_segments.shape(page)) < 1:
        raise ValueError("no pixels")
    if page.planarconfig not in (1, 2) or page.predictor not in (1, 2, 3):
        raise ValueError("unknown layout")


def _photometric(page):
    """Black is 0 where no tag says, as libtiff takes it; tifffile would take the inverse."""
    if 262 in page.tags:
        return page.photometric
    return _RGB if page.samplesperpixel == 3 else _BLACK_IS_ZERO


def _dtype(page):
    """Of the pixels as shown."""
    bits, stored = page.bitspersample, page.dtype
    if _photometric(page) == _PALETTE:
        return np.dtype(np.uint8)
    if stored is not None and isinstance(bits, int):
        if stored.kind == "f":
            return np.dtype(np.float32)
        if stored.kind in ("b", "u") and bits in (1, 2, 4, 8):
            return np.dtype(np.uint8)
        if stored.kind == "u" and bits in (10, 12, 14, 16):
            return np.dtype(np.uint16)
        if stored == np.int16:
            return np.dtype(np.int16)
    bits = f"{bits} bits" if isinstance(bits, int) else "bits that differ between its bands"
    form = _FORMATS.get(page.sampleformat, "of a kind that is unknown and")
    raise UnreadableImageError(
        f"its TIFF numbers are {form} of {bits}: save it as uint8, uint16, int16 or float32"
    )


def _kept(page):
    """Which samples are shown: all but alpha."""
    base = 3 if _photometric(page) in (_RGB, _YCBCR) else 1
    count = page.samplesperpixel
    if count < base:
        raise ValueError("fewer samples than colors")
    declared = page.tags.valueof(338)
    declared = () if declared is None else np.atleast_1d(declared)[: count - base]
    alpha = {base + place for place, kind in enumerate(declared) if kind in _ALPHA}
    kept = [sample for sample in range(count) if sample not in alpha]
    if _photometric(page) == _PALETTE and len(kept) > 1:
        raise UnreadableImageError("its TIFF has bands beside a palette: store them as gray")
    return kept


def _palette(page):
    """Of its 16 bits the upper 8; some writers fill the lower 8 only: uint8 [2**bits, 3]."""
    if page.dtype.kind not in ("b", "u"):
        raise ValueError("a palette for numbers with signs")
    table = np.asarray(page.tags.valueof(320), np.uint16)
    table = table.reshape(3, 1 << page.bitspersample).T
    return (table >> 8 if table.max() > 255 else table).astype(np.uint8)


def _levels(values, page):
    bits = page.bitspersample
    if values.dtype.kind == "f":
        return stored_image.float32(values)
    if values.dtype.kind == "i":
        return values
    if _photometric(page) == _WHITE_IS_ZERO:
        values = values.dtype.type((1 << bits) - 1) - values
    return values if bits >= 8 else values * np.uint8(255 // ((1 << bits) - 1))
