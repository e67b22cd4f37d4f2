"""What the start of an image file tells: its kind, size, bits and which way up it is shown.

All but `is_known` is made of TensorFlow operations, for a tf.data pipeline. The kind is told by the
bytes, never by a file's name.
"""

import re

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files import bmp, exif, gif, webp
from sogclr_tf.data.files.little_endian import whole
from sogclr_tf.data.files.outlined import outlined

JPEG, PNG, GIF, BMP, WEBP, UNKNOWN = range(6)
_SIGNATURES = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"RIFF????WEBP"]
_KNOWN = re.compile(
    b"|".join(re.escape(signature).replace(rb"\?", b".") for signature in _SIGNATURES), re.DOTALL
)
# Bytes that tell the kind of a file, and of most its height and width.
HEAD = 64
# Where a PNG says how many bits its values have.
_PNG_BITS = 24


def read(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """What the start of a file tells, without decoding.

    Args:
        encoded: scalar string, the bytes of an image file.

    Returns:
        (head, the first bytes, zeros where the file is shorter: int32 [64];
        kind, which of `_SIGNATURES` it starts with, or `UNKNOWN`: int32;
        size, the height and width that are stored: int32 [2];
        orientation, how these are to be shown: int32).
    """
    head = _head(encoded)
    kind = _kind(head)
    size = tf.switch_case(
        kind,
        {
            JPEG: lambda: tf.io.extract_jpeg_shape(encoded)[:2],
            PNG: lambda: tf.stack([whole(head[23:19:-1]), whole(head[19:15:-1])]),
            GIF: lambda: _gif_shape(encoded),
            BMP: lambda: bmp.shape(head),
            WEBP: lambda: webp.shape(head),
            UNKNOWN: lambda: _no_image(encoded, head),
        },
    )
    # Apart from the size, which asserts: TensorFlow computes it once then, however often it is
    # asked for.
    orientation = tf.switch_case(
        kind,
        {
            JPEG: lambda: exif.of_jpeg(encoded),
            PNG: lambda: exif.of_png(encoded),
            GIF: lambda: tf.constant(exif.UPRIGHT),
            BMP: lambda: tf.constant(exif.UPRIGHT),
            WEBP: lambda: exif.of_webp(encoded, head),
            UNKNOWN: lambda: tf.constant(exif.UPRIGHT),
        },
    )
    check = tf.debugging.Assert(
        tf.reduce_all(size > 0), ["damaged header: height and width would be", size]
    )
    with tf.control_dependencies([check]):
        return head, kind, tf.ensure_shape(tf.identity(size), [2]), orientation


def is_of_tensorflow(encoded: tf.Tensor) -> tf.Tensor:
    """Whether a file is of a kind that TensorFlow decodes: a bool scalar.

    Args:
        encoded: scalar string, the bytes of a file.
    """
    return _kind(_head(encoded)) != UNKNOWN


def has_16_bits(head: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Whether an image has 16 bits: a bool scalar.

    Args:
        head, kind: as `read` gives them.
    """
    return (kind == PNG) & (head[_PNG_BITS] == 16)


def is_known(head: bytes) -> bool:
    """Whether a file whose first `HEAD` bytes are given is of a kind that can be decoded."""
    if head[:2] == b"BM":
        # Text may begin so; what follows is the length of a header.
        return int.from_bytes(head[14:18], "little") in (40, 52, 56, 64, 108, 124)
    return _KNOWN.match(head) is not None


def is_16_bit_png(head: bytes) -> bool:
    """Whether a file whose first `HEAD` bytes are given is a PNG of 16 bits."""
    return head.startswith(_SIGNATURES[PNG]) and head[_PNG_BITS : _PNG_BITS + 1] == b"\x10"


def _head(encoded):
    """The first bytes, zeros where the file is shorter: int32 [64]."""
    return tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=HEAD), tf.int32)


def _kind(head):
    """Which of `_SIGNATURES` the file starts with, or `UNKNOWN`."""
    length = max(map(len, _SIGNATURES))
    table = np.full([len(_SIGNATURES), length], ord("?"), np.int32)
    for row, signature in zip(table, _SIGNATURES, strict=True):
        row[: len(signature)] = list(signature)
    matches = tf.reduce_all((head[:length] == table) | (table == ord("?")), axis=1)
    # argmax of booleans is the first that is true.
    return tf.argmax(tf.concat([tf.cast(matches, tf.int32), [1]], 0), output_type=tf.int32)


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


@outlined
def _gif_shape(encoded):
    return gif.first_frame(encoded)[1]
