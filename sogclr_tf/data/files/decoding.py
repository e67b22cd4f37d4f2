"""From the bytes of an image file to pixels: JPEG, PNG, WebP, BMP and the first frame of a GIF.

All functions are made of TensorFlow operations: they run in a tf.data pipeline, on any worker of a
tf.data service. The format is told by the bytes, never by a file's name.

What cannot be read raises tf.errors.InvalidArgumentError: an empty or truncated file, one that is
no image, one whose header claims more pixels than allowed (before anything is decoded), and the
kinds that TensorFlow has no decoder for: animated WebP, compressed or 1, 2, 4 and 16-bit BMP.
"""

import functools

import tensorflow as tf

from sogclr_tf.data.files import bmp, exif, gif, image_header, jpeg, png, webp
from sogclr_tf.data.files.outlined import called, outlined
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.reduced import Reduced

# 100 million pixels decode to 300 MB.
MAX_PIXELS = 100_000_000
_RGB = PixelFormat()
# What images of these kinds can be decoded to.
FILE_CHANNELS = (1, 3)

# The values of white in 8 and in 16 bits.
_WHITE, _WHITE_16 = 255.0, 65_535.0


def shape(encoded: tf.Tensor) -> tf.Tensor:
    """(height, width) as the header tells, without decoding: int32 [2].

    Args:
        encoded: scalar string, the bytes of an image file.

    Raises:
        tf.errors.InvalidArgumentError: the header cannot be read.
    """
    return exif.shown_shape(*image_header.read(encoded)[2:])


def decode(
    encoded: tf.Tensor,
    max_pixels: int = MAX_PIXELS,
    pixel_format: PixelFormat | None = None,
) -> tf.Tensor:
    """The pixels of an image file: uint8, or where the format is deep float32, [height, width, C].

    Gray is repeated for 3 channels and colors are weighted for 1, an alpha channel is dropped, a
    palette looked up. The image is turned as its Exif data says (see `exif`). Of 16 bits all are
    kept where the format is deep, else the upper 8.

    Args:
        encoded: scalar string, the bytes of an image file.
        max_pixels: height * width above which an image is refused.
        pixel_format: of the result, with 3 channels or 1; by default 3 of 8 bits.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read, or is too large; it has 16 bits of
            which only lower ones are used, and the format is not deep; or 8 bits, and the format
            has a range that is wider.
    """
    # No default of its own, which a SavedModel could not hold.
    pixel_format = pixel_format or _RGB
    header = image_header.read(encoded)
    return _decoded(_allowed(encoded, header, max_pixels), header, pixel_format)


def decode_crop(
    encoded: tf.Tensor,
    box: tf.Tensor,
    max_pixels: int = MAX_PIXELS,
    pixel_format: PixelFormat | None = None,
) -> tf.Tensor:
    """A rectangle of an image, equal bit for bit to the same rectangle of `decode(encoded)`.

    Of a JPEG little more than the rectangle is decoded. Damage outside of it may go unnoticed
    then, but never a missing end.

    Args:
        encoded: scalar string, the bytes of an image file.
        box: int32 [4], (top, left, height, width) in pixels, inside the image.
        max_pixels: height * width of the whole image above which it is refused.
        pixel_format: as for `decode`.

    Returns:
        As `decode`, [height of the box, width of the box, C].

    Raises:
        tf.errors.InvalidArgumentError: as `decode`, or the image lacks the box.
    """
    pixel_format = pixel_format or _RGB
    header = image_header.read(encoded)
    encoded = _allowed(encoded, header, max_pixels)
    return _cropped(encoded, header, tf.convert_to_tensor(box), pixel_format)


def decode_reduced(
    encoded: tf.Tensor,
    box: tf.Tensor | None,
    ratio: tf.Tensor | int,
    max_pixels: int = MAX_PIXELS,
    pixel_format: PixelFormat | None = None,
) -> Reduced:
    """A rectangle of an image, which of a JPEG is scaled down while it is decoded.

    Args:
        encoded: scalar string, the bytes of an image file.
        box: int32 [4], (top, left, height, width) in pixels of the whole image, inside of it; None
            for all of it. Of a scaled image all pixels are given that lie in it in part.
        ratio: by how much a JPEG is scaled down, one of `RATIOS`: an int or int32 scalar. Others
            are not scaled.
        max_pixels, pixel_format: as for `decode`.

    Returns:
        `Reduced`. What is not scaled has the pixels of `decode_crop`, or of `decode`.

    Raises:
        tf.errors.InvalidArgumentError: as `decode_crop`, or as `decode`.
    """
    pixel_format = pixel_format or _RGB
    header = image_header.read(encoded)
    encoded = _allowed(encoded, header, max_pixels)

    def unscaled():
        if box is None:
            return _decoded(encoded, header, pixel_format), tf.zeros([2], tf.int32)
        return _cropped(encoded, header, box, pixel_format), tf.convert_to_tensor(box)[:2]

    def scaled():
        _, _, size, orientation = header
        shown = tf.pad(exif.shown_shape(size, orientation), [[2, 0]]) if box is None else box
        function = functools.partial(_scaled, pixel_format=pixel_format)
        return called(function, encoded, shown, ratio, size, orientation)

    if tf.get_static_value(ratio) == 1:
        pixels, corner = unscaled()
        return Reduced(pixels, corner, 1)
    ratio = tf.where(header[1] == image_header.JPEG, ratio, 1)
    pixels, corner = tf.cond(ratio > 1, scaled, unscaled)
    return Reduced(pixels, corner, ratio)


def _decoded(encoded, header, pixel_format):
    head, kind, _, orientation = header
    pixels, full = _stored_pixels(encoded, head, kind, pixel_format)
    return _in_format(exif.as_shown(pixels, orientation), full, pixel_format)


def _cropped(encoded, header, box, pixel_format):
    head, kind, size, orientation = header
    box = exif.stored_box(box, size, orientation)

    def cropped_jpeg():
        pixels = jpeg.cropped(encoded, box, size[1], pixel_format.channels)
        return _stored_8_bits(pixels, pixel_format)

    def cropped():
        pixels, full = _stored_pixels(encoded, head, kind, pixel_format)
        return jpeg.part(pixels, tf.unstack(box)), full

    is_cropped = (kind == image_header.JPEG) & jpeg.is_ended(encoded)
    pixels, full = tf.cond(is_cropped, cropped_jpeg, cropped)
    return _in_format(exif.as_shown(pixels, orientation), full, pixel_format)


def _scaled(encoded, box, ratio, size, orientation, pixel_format):
    """(pixels, corner) of a JPEG whose ratio is above 1, as of `Reduced`."""
    box = exif.stored_box(box, size, orientation)
    start, end = box[:2] // ratio, -((box[:2] + box[2:]) // -ratio)
    window = tf.concat([start, end - start], 0)
    pixels = jpeg.scaled(encoded, window, ratio, -(size[1] // -ratio), pixel_format.channels)
    pixels, full = _stored_8_bits(pixels, pixel_format)
    pixels = _in_format(exif.as_shown(pixels, orientation), full, pixel_format)
    return pixels, exif.shown_box(ratio * window, size, orientation)[:2]


def _allowed(encoded, header, max_pixels):
    """`encoded`, once its size is known to be allowed."""
    size = header[2]
    check = tf.debugging.Assert(
        tf.reduce_prod(tf.cast(size, tf.int64)) <= max_pixels,
        ["image too large: its height and width", size, "are more than max_pixels", max_pixels],
    )
    # What keeps no state waits for no assertion by itself.
    with tf.control_dependencies([check]):
        return tf.identity(encoded)


def _stored_pixels(encoded, head, kind, pixel_format):
    """(pixels as they are stored, the value of white): uint8, or uint16 where the format is deep.

    Both have the format's channels.
    """

    def of_16_bits():
        return png.pixels(encoded, pixel_format.channels), tf.constant(_WHITE_16)

    def of_8_bits():
        return _stored_8_bits(_pixels(encoded, head, kind, pixel_format), pixel_format)

    if not pixel_format.deep:
        return of_8_bits()
    return tf.cond(image_header.has_16_bits(head, kind), of_16_bits, of_8_bits)


def _stored_8_bits(pixels, pixel_format):
    """What `_stored_pixels` gives of pixels uint8."""
    white = tf.constant(_WHITE)
    if not pixel_format.deep:
        return pixels, white
    if pixel_format.value_range and pixel_format.value_range[1] > _WHITE:
        message = f"an image of 8 bits, but value_range is {pixel_format.value_range}"
        with tf.control_dependencies([tf.debugging.Assert(False, [message])]):
            pixels = tf.identity(pixels)
    return tf.cast(pixels, tf.uint16), white


def _in_format(pixels, white, pixel_format):
    pixels = tf.ensure_shape(pixels, [None, None, pixel_format.channels])
    return pixel_format.scaled(pixels, (0.0, white)) if pixel_format.deep else pixels


def _pixels(encoded, head, kind, pixel_format):
    channels = pixel_format.channels
    pixels = tf.switch_case(
        kind,
        {
            image_header.JPEG: lambda: jpeg.decoded(encoded, channels),
            image_header.PNG: lambda: tf.cond(
                image_header.has_16_bits(head, kind),
                lambda: png.upper_bits(encoded, channels),
                lambda: tf.io.decode_png(encoded, channels=channels),
            ),
            image_header.GIF: lambda: _of_rgb(_gif(encoded), channels),
            image_header.BMP: lambda: _of_rgb(bmp.pixels(encoded), channels),
            image_header.WEBP: lambda: _of_rgb(webp.pixels(encoded, head), channels),
        },
    )
    return tf.ensure_shape(pixels, [None, None, channels])


def _of_rgb(pixels, channels):
    """Colors as they are, or weighted to gray as JPEG does; gray stays what it is."""
    if channels == 3:
        return pixels
    gray = tf.tensordot(tf.cast(pixels, tf.float32), tf.constant([[0.299], [0.587], [0.114]]), 1)
    return tf.cast(tf.round(gray), tf.uint8)


@outlined
def _gif(encoded):
    return tf.io.decode_gif(gif.first_frame(encoded)[0])[0]
