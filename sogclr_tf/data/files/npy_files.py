"""NumPy's `.npy` files as images."""

import io
import math
import re

import numpy as np

from sogclr_tf.data.files import stored_image
from sogclr_tf.data.files.decode_errors import UnreadableImageError
from sogclr_tf.data.files.stored_image import Header, StoredImage

SIGNATURE = b"\x93NUMPY"
# The header as NumPy and most others write it. NumPy's own reader compiles it as a literal of
# Python, which may fail where other threads compile code.
_USUAL = re.compile(
    rb"\{'descr': '(?P<descr>[<>|=]?[a-z]\d)', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>[\d, ]*)\),? ?\} *\n?"
)
# Of headers that describe an image, bytes.
_LONGEST = 512
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# Of pixels, by what is stored.
_DTYPES = {
    **{"b1": "uint8", "u1": "uint8", "u2": "uint16", "i2": "int16"},
    **{"f2": "float32", "f4": "float32", "f8": "float64"},
}


def opened(data: bytes) -> StoredImage:
    """The header of a file, and how to read its pixels.

    Booleans become 0 and 255, floats of 16 bits float32.

    Args:
        data: the whole file: an array [height, width] or [height, width, channels], in the order
            of C or Fortran, of either byte order.

    Raises:
        UnreadableImageError: the array is no image of a type that can be read.
    """
    shape, fortran, stored, start = _header(data)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise UnreadableImageError(
            f"its NumPy array is of shape {shape}: expected [height, width] or [height, width, "
            "channels]"
        )
    dtype = _DTYPES.get(stored.str[1:])
    if dtype is None:
        raise UnreadableImageError(
            f"its NumPy array is of {stored}: save it as uint8, uint16, int16 or float32"
        )
    count = math.prod(shape)
    missing = start + count * stored.itemsize - len(data)
    if missing > 0:
        raise UnreadableImageError(f"its NumPy data is cut short: {missing} bytes are missing")

    def read(box, max_pixels):
        del max_pixels  # The file holds all that its header claims.
        values = np.frombuffer(data, stored, count, start)
        values = values.reshape(shape, order="F" if fortran else "C")
        top, left, height, width = box
        values = values[top : top + height, left : left + width]
        return _converted(values.reshape(height, width, -1))

    height, width, channels = (*shape, 1)[:3]
    return StoredImage(Header(height, width, channels, np.dtype(dtype)), read)


def _header(data):
    """(shape, whether in Fortran's order, dtype, where the values start)."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise UnreadableImageError("its NumPy format is not of version 1.0 or 2.0")
    begin = file.tell() + 2 * version[0]
    end = begin + int.from_bytes(data[file.tell() : begin], "little")
    found = _USUAL.fullmatch(data, begin, min(end, begin + _LONGEST))
    if found:
        shape = tuple(int(side) for side in found["shape"].split(b",") if side.strip())
        return shape, found["fortran"] == b"True", np.dtype(found["descr"].decode()), end
    shape, fortran, dtype = _HEADERS[version](file)
    return shape, fortran, dtype, file.tell()


def _converted(values):
    if values.dtype.kind == "b":
        # Any byte but 0 is true, in a damaged file too.
        return (values.view(np.uint8) != 0) * np.uint8(255)
    if values.dtype.kind == "f" and values.itemsize == 2:
        return stored_image.float32(values)
    return values.astype(values.dtype.newbyteorder("="), copy=False)
