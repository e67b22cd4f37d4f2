"""From the bytes of an image file to pixels: JPEG, PNG, WebP, BMP and the first frame of a GIF.

All functions are made of TensorFlow operations: they run in a tf.data pipeline, on any worker of a
tf.data service. The format is told by the bytes, never by a file's name.

What cannot be read raises tf.errors.InvalidArgumentError: an empty or truncated file, one that is
no image, one whose header claims more pixels than allowed (before anything is decoded), and the
kinds that TensorFlow has no decoder for: animated WebP, compressed or 1, 2, 4 and 16-bit BMP.
"""

import tensorflow as tf

from sogclr_tf.data.files import bmp, exif, gif, image_header, png, webp
from sogclr_tf.data.files.outlined import outlined
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.reduced import RATIOS, Reduced

# 100 million pixels decode to 300 MB.
MAX_PIXELS = 100_000_000
_RGB = PixelFormat()
# What images of these kinds can be decoded to.
FILE_CHANNELS = (1, 3)

# The values of white in 8 and in 16 bits.
_WHITE, _WHITE_16 = 255.0, 65_535.0
# Neighbors of a crop that its last columns are interpolated from, where color is subsampled.
_JPEG_MARGIN = 4


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
    head, kind, size, orientation = image_header.read(encoded)
    encoded = _allowed(encoded, size, max_pixels)
    pixels, full = _stored_pixels(encoded, head, kind, pixel_format)
    return _in_format(exif.as_shown(pixels, orientation), full, pixel_format)


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
    return decode_reduced(encoded, box, 1, max_pixels, pixel_format).pixels


def decode_reduced(
    encoded: tf.Tensor,
    box: tf.Tensor | None,
    ratio: tf.Tensor | int,
    max_pixels: int = MAX_PIXELS,
    pixel_format: PixelFormat | None = None,
) -> Reduced:
    """A rectangle of an image, which of a JPEG may be scaled down while it is decoded.

    Args:
        encoded: scalar string, the bytes of an image file.
        box: int32 [4], (top, left, height, width) in pixels of the whole image, inside of it; None
            for all of it. Of a scaled image all pixels are given that lie in it in part.
        ratio: by how much a JPEG is scaled down, one of `RATIOS`: an int or int32 scalar. Others
            are not scaled.
        max_pixels, pixel_format: as for `decode`.

    Returns:
        `Reduced`. At a ratio of 1 its pixels are those of `decode_crop`, or of `decode`.

    Raises:
        tf.errors.InvalidArgumentError: as `decode_crop`.
    """
    pixel_format = pixel_format or _RGB
    head, kind, size, orientation = image_header.read(encoded)
    encoded = _allowed(encoded, size, max_pixels)
    is_jpeg = kind == image_header.JPEG
    if tf.get_static_value(ratio) != 1:
        ratio = tf.where(is_jpeg, ratio, 1)
    whole = box is None
    if whole:
        window = tf.concat([[0, 0], -(size // -ratio)], 0)
    else:
        stored = exif.stored_box(tf.convert_to_tensor(box), size, orientation)
        window = _scaled(stored, ratio)
    sides = tf.unstack(window)
    # A JPEG without an end, or with more after it, is decoded whole, which tells one from the
    # other.
    ended = tf.strings.substr(encoded, -2, 2) == b"\xff\xd9"

    def cropped_jpeg():
        width = -(size[1] // -ratio)
        return _stored_8_bits(_jpeg_crop(encoded, sides, width, ratio, pixel_format), pixel_format)

    def cropped():
        pixels, full = _stored_pixels(encoded, head, kind, pixel_format, ratio)
        return pixels if whole else _crop(pixels, *sides), full

    pixels, full = cropped() if whole else tf.cond(is_jpeg & ended, cropped_jpeg, cropped)
    corner = exif.shown_box(ratio * window, size, orientation)[:2]
    return Reduced(
        _in_format(exif.as_shown(pixels, orientation), full, pixel_format), corner, ratio
    )


def _scaled(box, ratio):
    """The smallest box of scaled pixels that holds a box."""
    if tf.get_static_value(ratio) == 1:
        return box
    start, end = box[:2] // ratio, -((box[:2] + box[2:]) // -ratio)
    return tf.concat([start, end - start], 0)


def _allowed(encoded, size, max_pixels):
    """`encoded`, once its size is known to be allowed."""
    check = tf.debugging.Assert(
        tf.reduce_prod(tf.cast(size, tf.int64)) <= max_pixels,
        ["image too large: its height and width", size, "are more than max_pixels", max_pixels],
    )
    # What keeps no state waits for no assertion by itself.
    with tf.control_dependencies([check]):
        return tf.identity(encoded)


def _stored_pixels(encoded, head, kind, pixel_format, ratio=1):
    """(pixels as they are stored, the value of white): uint8, or uint16 where the format is deep.

    Both have the format's channels.
    """

    def of_16_bits():
        return png.pixels(encoded, pixel_format.channels), tf.constant(_WHITE_16)

    def of_8_bits():
        return _stored_8_bits(_pixels(encoded, head, kind, pixel_format, ratio), pixel_format)

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


def _pixels(encoded, head, kind, pixel_format, ratio):
    channels = pixel_format.channels
    pixels = tf.switch_case(
        kind,
        {
            image_header.JPEG: lambda: _jpeg(encoded, channels, ratio),
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


def _jpeg(encoded, channels, ratio):
    return _at(
        ratio,
        lambda scale: tf.io.decode_jpeg(
            encoded, channels=channels, ratio=scale, dct_method="INTEGER_ACCURATE"
        ),
    )


def _jpeg_crop(encoded, box, image_width, ratio, pixel_format):
    """A part of a JPEG; box and width are in scaled pixels, as libjpeg has them."""
    top, left, height, width = box
    start = tf.maximum(left - _JPEG_MARGIN, 0)
    end = tf.minimum(left + width + _JPEG_MARGIN, image_width)
    window = tf.stack([top, start, height, end - start])
    pixels = _at(
        ratio,
        lambda scale: tf.io.decode_and_crop_jpeg(
            encoded,
            window,
            channels=pixel_format.channels,
            ratio=scale,
            dct_method="INTEGER_ACCURATE",
        ),
    )
    return _crop(pixels, 0, left - start, height, width)


def _at(ratio, decoded):
    """What `decoded` gives for a ratio, which it takes as a number alone."""
    known = tf.get_static_value(ratio)
    if known is not None:
        return decoded(int(known))
    place = tf.argmax(tf.cast(ratio == RATIOS, tf.int32), output_type=tf.int32)
    return tf.switch_case(place, [lambda scale=scale: decoded(scale) for scale in RATIOS])


def _crop(pixels, top, left, height, width):
    """Not by Python's slicing, which would cut a wrong box to what there is."""
    return tf.slice(pixels, [top, left, 0], [height, width, pixels.shape[-1]])


@outlined
def _gif(encoded):
    return tf.io.decode_gif(gif.first_frame(encoded)[0])[0]
