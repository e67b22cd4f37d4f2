"""Image files in bytes, of the kinds that Python libraries decode."""

import io
import struct

import numpy as np
import tifffile
from PIL import Image

HEIGHT, WIDTH = 45, 70
LIMIT = 1_000_000


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


def pyramid(kind, first=0):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(values(), photometric="rgb", subfiletype=first)
        beside = values(1)[..., 0] > 80 if kind == 4 else values()[::2, ::2]
        photometric = "minisblack" if kind == 4 else "rgb"
        writer.write(beside, photometric=photometric, subfiletype=kind)
    return buffer.getvalue()
