"""AVIF files by Pillow, HEIC files by pillow_heif: 8 bits, of deeper ones the upper 8."""

import importlib.util
import io

import numpy as np
from PIL import ExifTags, features

from sogclr_tf.data.files import stored_image
from sogclr_tf.data.files.decode_errors import UnreadableImageError
from sogclr_tf.data.files.stored_image import Header, StoredImage

_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
# Of either kind; which one tell the compatible brands.
_EITHER = (b"mif1", b"msf1", b"mif2", b"miaf")


def is_known(head: bytes) -> bool:
    """Whether a file begins as AVIF or HEIC does, by its first 64 bytes."""
    return head[4:8] == b"ftyp" and head[8:12] in (*_AVIF, *_HEIC, *_EITHER)


def kind(head: bytes) -> str:
    """AVIF or HEIC, of a file that `is_known`."""
    if head[8:12] in _EITHER:
        end = min(int.from_bytes(head[:4], "big"), 64)
        brands = [head[place : place + 4] for place in range(16, end, 4)]
        return "AVIF" if any(brand in _AVIF for brand in brands) else "HEIC"
    return "AVIF" if head[8:12] in _AVIF else "HEIC"


def opened(data: bytes) -> StoredImage:
    """The header of a file, and how to read its pixels: uint8, turned as the file says.

    Of a sequence the first frame, of a HEIC with several images the primary one.

    Args:
        data: the whole file.

    Raises:
        UnreadableImageError: pillow_heif, or Pillow's support of AVIF, is missing.
    """
    return _avif(data) if kind(data[:64]) == "AVIF" else _heic(data)


def _avif(data):
    if not features.check("avif"):
        raise UnreadableImageError("AVIF needs Pillow 11.3 or newer: pip install -U pillow")
    from PIL import AvifImagePlugin

    # Not by Image.open, which has limits of its own and warns of them.
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    orientation = stored_image.valid_orientation(image.getexif().get(ExifTags.Base.Orientation))
    return _stored(image, orientation)


def _heic(data):
    if importlib.util.find_spec("pillow_heif") is None:
        raise UnreadableImageError("HEIC needs pillow_heif: pip install 'sogclr_tf[heif]'")
    import pillow_heif

    # The library turns the image by itself; the Exif data may repeat it.
    images = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
    return _stored(images[images.primary_index], stored_image.UPRIGHT)


def _stored(image, orientation):
    """Of an object that has `size`, `mode` and, decoded when asked for, an array."""
    width, height = image.size
    channels = 1 if image.mode.startswith("L") else 3

    def read(box, max_pixels):
        del max_pixels  # Checked by the header.
        pixels = np.asarray(image)
        pixels = pixels.reshape(height, width, -1)[..., :channels]
        top, left, rows, columns = box
        shown = stored_image.turn(pixels, orientation)
        return shown[top : top + rows, left : left + columns]

    shape = stored_image.shown_shape(height, width, orientation)
    return StoredImage(Header(*shape, channels, np.dtype(np.uint8)), read)
