"""Image files that TensorFlow has no decoder for: TIFF, `.npy`, AVIF and HEIC, by Python libraries.

Functions of bytes that know nothing of TensorFlow's graphs; a pipeline calls them through
tf.numpy_function, from any number of threads. The format is told by the bytes, never by a name.

What cannot be read raises `decode_errors.UnreadableImageError`, and nothing else.
"""

import numpy as np

from sogclr_tf.data.files import heif_files, npy_files, tiff_files
from sogclr_tf.data.files.decode_errors import UnreadableImageError
from sogclr_tf.data.files.stored_image import Box, Header

# Of file names, in lower case.
SUFFIXES = (
    *(b".tif", b".tiff", b".btf", b".tf8"),
    *(b".npy", b".avif", b".avifs", b".heic", b".heif", b".hif"),
)
_HEAD = 64


def is_known(head: bytes) -> bool:
    """Whether a file is of a kind that `decode` takes.

    Args:
        head: its first 64 bytes.
    """
    return head.startswith((*tiff_files.SIGNATURES, npy_files.SIGNATURE)) or heif_files.is_known(
        head
    )


def header(data: bytes) -> Header:
    """What `decode` will give, from the file's headers alone: no pixel is decoded.

    Args:
        data: the whole file.

    Raises:
        UnreadableImageError: the file is of no kind or variant that can be read.
    """
    return _opened(data).header


def decode(data: bytes, max_pixels: int) -> np.ndarray:
    """The pixels of a file.

    Alpha is dropped, a palette looked up, the image turned as the file says. Booleans and single
    bits become 0 and 255, floats of 16 bits and those of a TIFF float32; other values are those of
    the file.

    Args:
        data: the whole file.
        max_pixels: height * width above which an image is refused before it is decoded. With
            several bands, height * width * bands may be four times as many, or 16 million.

    Returns:
        uint8, uint16, int16, float32 or float64 [height, width, channels], contiguous, of native
        byte order; it may be read-only.

    Raises:
        UnreadableImageError: the file cannot be read or is too large; one line that says why.
    """
    image = _opened(data)
    image.header.check_size(max_pixels)
    return _read(image, data, (0, 0, image.header.height, image.header.width), max_pixels)


def decode_crop(data: bytes, box: Box, max_pixels: int) -> np.ndarray:
    """A rectangle of an image, equal bit for bit to the same rectangle of `decode(data)`.

    Of a TIFF only the strips or tiles that it touches are decoded, so that damage elsewhere may go
    unnoticed, but never a missing end; of a `.npy` only its values are copied.

    Args:
        data: the whole file.
        box: (top, left, height, width) in pixels, inside the image as shown.
        max_pixels: as in `decode`, of the whole image.

    Returns:
        [height of the box, width of the box, channels], as of `decode`.

    Raises:
        UnreadableImageError: the file cannot be read, is too large or lacks the box.
    """
    image = _opened(data)
    image.header.check_size(max_pixels)
    top, left, height, width = box = (int(box[0]), int(box[1]), int(box[2]), int(box[3]))
    size = (image.header.height, image.header.width)
    inside = top + height <= size[0] and left + width <= size[1]
    if not inside or min(top, left) < 0 or min(height, width) < 1:
        raise UnreadableImageError(
            f"its height and width {size[0]} {size[1]} lack the box of top, left, height and width "
            f"{top} {left} {height} {width}"
        )
    return _read(image, data, box, max_pixels)


def _opened(data):
    return _guarded(data, _module(data[:_HEAD]).opened, data)


def _read(image, data, box, max_pixels):
    pixels = _guarded(data, image.read, box, max_pixels)
    if pixels.dtype != image.header.dtype or pixels.shape != (*box[2:], image.header.channels):
        raise UnreadableImageError(f"its {_kind(data[:_HEAD])} data is not what its header says")
    return np.ascontiguousarray(pixels)


def _module(head):
    if head.startswith(tiff_files.SIGNATURES):
        return tiff_files
    if head.startswith(npy_files.SIGNATURE):
        return npy_files
    if heif_files.is_known(head):
        return heif_files
    raise UnreadableImageError("no image: not one of TIFF, NumPy, AVIF, HEIC")


def _kind(head):
    module = _module(head)
    return {tiff_files: "TIFF", npy_files: "NumPy"}.get(module) or heif_files.kind(head)


def _guarded(data, function, *arguments):
    """What the function gives; whatever it raises becomes an UnreadableImageError.

    Libraries that meet damaged data raise errors of any class, such as struct.error and IndexError.
    """
    try:
        return function(*arguments)
    except UnreadableImageError:
        raise
    except MemoryError:
        raise UnreadableImageError(
            f"its {_kind(data[:_HEAD])} data needs more memory than there is"
        ) from None
    except Exception:
        raise UnreadableImageError(
            f"its {_kind(data[:_HEAD])} data is damaged or cut short"
        ) from None
