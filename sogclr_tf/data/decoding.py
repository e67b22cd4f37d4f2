"""From the bytes of an image file to pixels: JPEG, PNG, WebP, BMP and the first frame of a GIF.

All functions are made of TensorFlow operations: they run in a tf.data pipeline, on any worker of a
tf.data service. The format is told by the bytes, never by a file's name.

What cannot be read raises tf.errors.InvalidArgumentError: an empty or truncated file, one that is
no image, one whose header claims more pixels than allowed (before anything is decoded), and the
kinds that TensorFlow has no decoder for: animated WebP, compressed or 1, 2, 4 and 16-bit BMP.
"""

import re

import numpy as np
import tensorflow as tf

from sogclr_tf.data import exif, gif
from sogclr_tf.data.outlined import outlined

# 100 million pixels decode to 300 MB.
MAX_PIXELS = 100_000_000

_JPEG, _PNG, _GIF, _BMP, _WEBP, _UNKNOWN = range(6)
_SIGNATURES = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF????WEBP"]
_KNOWN = re.compile(
    b"|".join(re.escape(signature).replace(rb"\?", b".") for signature in _SIGNATURES), re.DOTALL
)
# Bytes that tell the kind of a file, and of most its height and width.
HEAD = 64
# Neighbors of a crop that its last columns are interpolated from, where color is subsampled.
_JPEG_MARGIN = 4


def shape(encoded: tf.Tensor) -> tf.Tensor:
    """(height, width) as the header tells, without decoding: int32 [2].

    Args:
        encoded: scalar string, the bytes of an image file.

    Raises:
        tf.errors.InvalidArgumentError: the header cannot be read.
    """
    return exif.shown_shape(*_header(encoded)[2:])


def decode(encoded: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """The pixels of an image file: uint8 [height, width, 3].

    Gray is repeated, an alpha channel dropped, a palette looked up; of 16 bits the upper 8 are
    kept. The image is turned as its Exif data says (see `sogclr_tf.data.exif`).

    Args:
        encoded: scalar string, the bytes of an image file.
        max_pixels: height * width above which an image is refused.

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read, or is too large.
    """
    head, kind, size, orientation = _header(encoded)
    pixels = _pixels(_allowed(encoded, size, max_pixels), head, kind)
    pixels = exif.as_shown(pixels, orientation)
    return tf.ensure_shape(pixels, [None, None, 3])


def decode_crop(encoded: tf.Tensor, box: tf.Tensor, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """A rectangle of an image, equal bit for bit to the same rectangle of `decode(encoded)`.

    Of a JPEG little more than the rectangle is decoded. Damage outside of it may go unnoticed
    then, but never a missing end.

    Args:
        encoded: scalar string, the bytes of an image file.
        box: int32 [4], (top, left, height, width) in pixels, inside the image.
        max_pixels: height * width of the whole image above which it is refused.

    Returns:
        uint8 [height of the box, width of the box, 3].

    Raises:
        tf.errors.InvalidArgumentError: the file cannot be read, is too large or lacks the box.
    """
    head, kind, size, orientation = _header(encoded)
    encoded = _allowed(encoded, size, max_pixels)
    box = tf.unstack(exif.stored_box(tf.convert_to_tensor(box), size, orientation))
    # A JPEG without an end, or with more after it, is decoded whole, which tells one from the
    # other.
    ended = tf.strings.substr(encoded, -2, 2) == b"\xff\xd9"
    cropped = tf.cond(
        (kind == _JPEG) & ended,
        lambda: _jpeg_crop(encoded, box, size[1]),
        lambda: _crop(_pixels(encoded, head, kind), *box),
    )
    return tf.ensure_shape(exif.as_shown(cropped, orientation), [None, None, 3])


def _header(encoded):
    """What the start of a file tells, without decoding.

    Returns:
        (head, the first bytes, zeros where the file is shorter: int32 [64];
        kind, which of `_SIGNATURES` it starts with, or `_UNKNOWN`: int32;
        size, the height and width that are stored: int32 [2];
        orientation, how these are to be shown: int32).
    """
    head = _head(encoded)
    kind = _kind(head)
    size = tf.switch_case(
        kind,
        {
            _JPEG: lambda: tf.io.extract_jpeg_shape(encoded)[:2],
            _PNG: lambda: tf.stack([_whole(head[23:19:-1]), _whole(head[19:15:-1])]),
            _GIF: lambda: _gif_shape(encoded),
            _BMP: lambda: tf.abs(tf.stack([_whole(head[22:26]), _whole(head[18:22])])),
            _WEBP: lambda: _webp_shape(head),
            _UNKNOWN: lambda: _no_image(encoded, head),
        },
    )
    # Apart from the size, which asserts: TensorFlow computes it once then, however often it is
    # asked for.
    orientation = tf.switch_case(
        kind,
        {
            _JPEG: lambda: exif.of_jpeg(encoded),
            _PNG: lambda: exif.of_png(encoded),
            _GIF: lambda: tf.constant(exif.UPRIGHT),
            _BMP: lambda: tf.constant(exif.UPRIGHT),
            _WEBP: lambda: exif.of_webp(encoded, head),
            _UNKNOWN: lambda: tf.constant(exif.UPRIGHT),
        },
    )
    check = tf.debugging.Assert(
        tf.reduce_all(size > 0), ["damaged header: height and width would be", size]
    )
    with tf.control_dependencies([check]):
        return head, kind, tf.ensure_shape(tf.identity(size), [2]), orientation


def is_known(head: bytes) -> bool:
    """Whether a file whose first `HEAD` bytes are given is of a kind that can be decoded."""
    if head[:2] == b"BM":
        # Text may begin so; what follows is the length of a header.
        return int.from_bytes(head[14:18], "little") in (40, 52, 56, 64, 108, 124)
    return _KNOWN.match(head) is not None


def _head(encoded):
    """The first bytes, zeros where the file is shorter: int32 [64]."""
    return tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=HEAD), tf.int32)


def _kind(head):
    """Which of `_SIGNATURES` the file starts with, or `_UNKNOWN`."""
    length = max(map(len, _SIGNATURES))
    table = np.full([len(_SIGNATURES), length], ord("?"), np.int32)
    for row, signature in zip(table, _SIGNATURES, strict=True):
        row[: len(signature)] = list(signature)
    matches = tf.reduce_all((head[:length] == table) | (table == ord("?")), axis=1)
    # argmax of booleans is the first that is true.
    return tf.argmax(tf.concat([tf.cast(matches, tf.int32), [1]], 0), output_type=tf.int32)


def _allowed(encoded, size, max_pixels):
    """`encoded`, once its size is known to be allowed."""
    check = tf.debugging.Assert(
        tf.reduce_prod(tf.cast(size, tf.int64)) <= max_pixels,
        ["image too large: its height and width", size, "are more than max_pixels", max_pixels],
    )
    # What keeps no state waits for no assertion by itself.
    with tf.control_dependencies([check]):
        return tf.identity(encoded)


def _pixels(encoded, head, kind):
    pixels = tf.switch_case(
        kind,
        {
            _JPEG: lambda: _jpeg(encoded),
            _PNG: lambda: tf.io.decode_png(encoded, channels=3),
            _GIF: lambda: _gif(encoded),
            _BMP: lambda: _bmp(encoded),
            _WEBP: lambda: _webp(encoded, head),
        },
    )
    return tf.ensure_shape(pixels, [None, None, 3])


def _no_image(encoded, head):
    length = tf.strings.length(encoded)
    problem = tf.cond(
        length == 0,
        lambda: tf.constant("the file is empty: no image"),
        lambda: tf.strings.format(
            "no image: not one of JPEG, PNG, WebP, BMP, GIF. Its size in bytes is {} and it starts "
            "with {}",
            (length, head[:8]),
            summarize=8,
        ),
    )
    with tf.control_dependencies([tf.debugging.Assert(False, [problem])]):
        return tf.zeros([2], tf.int32)


def _whole(digits):
    """Bytes from the lowest to the highest as one number: int32."""
    return tf.reduce_sum(digits * (1 << (8 * np.arange(digits.shape[0], dtype=np.int32))))


def _jpeg(encoded):
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _jpeg_crop(encoded, box, image_width):
    top, left, height, width = box
    start = tf.maximum(left - _JPEG_MARGIN, 0)
    end = tf.minimum(left + width + _JPEG_MARGIN, image_width)
    window = tf.stack([top, start, height, end - start])
    pixels = tf.io.decode_and_crop_jpeg(encoded, window, channels=3, dct_method="INTEGER_ACCURATE")
    return _crop(pixels, 0, left - start, height, width)


def _crop(pixels, top, left, height, width):
    """Not by Python's slicing, which would cut a wrong box to what there is."""
    return tf.slice(pixels, [top, left, 0], [height, width, 3])


@outlined
def _gif_shape(encoded):
    return gif.first_frame(encoded)[1]


@outlined
def _gif(encoded):
    return tf.io.decode_gif(gif.first_frame(encoded)[0])[0]


@outlined
def _bmp(encoded):
    """A BMP of 8 (gray or palette), 24 or 32 bits."""
    head = _head(encoded)
    header, bits, compression = _whole(head[14:18]), _whole(head[28:30]), _whole(head[30:34])
    good = (header >= 40) & (compression == 0) & tf.reduce_any(bits == [8, 24, 32])
    check = tf.debugging.Assert(
        good, ["BMP that cannot be read: compressed, or not of 8, 24 or 32 bits but", bits]
    )
    with tf.control_dependencies([check]):
        encoded = tf.identity(encoded)
    pixels = tf.io.decode_bmp(encoded)
    return tf.cond(
        bits == 8,
        lambda: tf.gather(_palette(encoded, header), tf.cast(pixels[..., 0], tf.int32)),
        lambda: pixels[..., :3],
    )


def _palette(encoded, header):
    """The colors of a BMP, black where the table ends early: uint8 [256, 3]."""
    table = tf.io.decode_raw(encoded, tf.uint8)[14 + header :][: 4 * 256]
    table = tf.pad(table, [[0, 4 * 256 - tf.size(table)]])
    return tf.reshape(table, [256, 4])[:, 2::-1]


def _webp_shape(head):
    """Of the three kinds of WebP: lossy, lossless, extended."""
    lossy = tf.stack([_whole(head[28:30]), _whole(head[26:28])]) & 0x3FFF
    bits = _whole(head[21:25])
    lossless = 1 + (tf.stack([tf.bitwise.right_shift(bits, 14), bits]) & 0x3FFF)
    extended = 1 + tf.stack([_whole(head[27:30]), _whole(head[24:27])])
    kind = head[15]
    known = [ord(" "), ord("L"), ord("X")]
    return tf.reduce_sum(
        tf.where((kind == known)[:, tf.newaxis], [lossy, lossless, extended], 0), axis=0
    )


def _webp(encoded, head):
    # Asked for the channels that it has, TensorFlow's decoder corrupts memory on animations.
    still = (head[15] != ord("X")) | (head[20] & 2 == 0)
    with tf.control_dependencies([tf.debugging.Assert(still, ["animated WebP cannot be read"])]):
        encoded = tf.identity(encoded)
    return tf.raw_ops.DecodeWebP(contents=encoded, channels=0)[0, ..., :3]
