"""Which way up an image is to be shown: the orientation in the Exif data of its file.

Read from the APP1 segment of a JPEG, the eXIf chunk of a PNG and the EXIF chunk of a WebP, as
Pillow's `ImageOps.exif_transpose` reads it, and by TensorFlow's operations alone. Exif data that is
damaged, or that says something else than 1 to 8, is ignored. So is an orientation that stands in
XMP data only, unlike in Pillow.
"""

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files.outlined import outlined

UPRIGHT = 1


def _weights(width, among=None):
    """What each of the first `width` of `among` bytes counts: int64 [big or little end, bytes]."""
    powers = 256 ** np.arange(width)
    return np.pad([powers[::-1], powers], [(0, 0), (0, (among or width) - width)])


def _fields(*widths):
    """What each byte counts for each of several numbers in a row: int64 [2, bytes, numbers]."""
    ends = np.cumsum(widths)
    return np.stack(
        [
            np.pad(_weights(width), [(0, 0), (end - width, ends[-1] - end)])
            for width, end in zip(widths, ends, strict=True)
        ],
        axis=-1,
    )


_ORIENTATION = 0x0112
_HEADS = np.array([[*start, *magic] for start in (b"II", b"MM") for magic in (b"\0*", b"*\0")])
# Of an entry of a directory: tag, type, number of values, and where they are.
_FIELDS = _fields(2, 2, 4, 4)
# Bytes of a value of each type of TIFF; 0 where there is no such type.
_WIDTHS = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8])
# What each of 4 bytes counts for a value of each type: for SHORT, as the standard says, and for the
# other whole numbers. Nothing for the rest.
_VALUES = np.stack(
    [_weights(w if kind in (3, 4, 6, 8, 9, 13) else 0, 4) for kind, w in enumerate(_WIDTHS)], axis=1
)
# Segments or chunks that are looked at: more than cameras write, and soon over.
_MOST = 4096
# How far Exif data is looked for without going from segment to segment, which takes longer.
_WINDOW = 2**14
# The header before the pixels of a JPEG, after which there is no Exif data: of 3 or 1 components.
# A pattern is UTF-8, so it can name no byte above 127.
_TABLE = r"\C[\x00-\x33]"
_SCAN = rf"\C*?\x00(?:\x0c\x03(?:{_TABLE}){{3}}|\x08\x01{_TABLE})\x00[\x00-\x3f]\C*"


def of_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """The orientation of a JPEG file, 1 to 8: int32 scalar.

    Args:
        encoded: scalar string, the bytes of the file.
    """
    start = tf.strings.substr(encoded, 0, _WINDOW)
    unsure = _holds(start, r"Exif\x00\x00") | ~tf.strings.regex_full_match(start, _SCAN)
    return _if(unsure, _in_jpeg, encoded)


def of_png(encoded: tf.Tensor) -> tf.Tensor:
    """The orientation of a PNG file, as of a JPEG. Its chunk comes before the pixels or after."""
    end = tf.maximum(0, tf.strings.length(encoded) - _WINDOW)
    both = tf.strings.substr([encoded, encoded], [0, end], [_WINDOW, _WINDOW])
    return _if(_holds(both, "eXIf"), _in_png, encoded)


def of_webp(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """The orientation of a WebP file, as of a JPEG. `head` are its first bytes: int32."""
    return _if((head[15] == ord("X")) & (head[20] & 8 != 0), _in_webp, encoded)


def shown_shape(stored: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """(height, width) of an image as it is shown, from that of the stored one: int32 [2]."""
    return tf.where(orientation >= 5, tf.reverse(stored, [0]), stored)


def stored_box(box: tf.Tensor, stored: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The rectangle of the stored image that shows as `box`: outside of it where `box` is.

    Args:
        box: int32 [4], (top, left, height, width), of the image as it is shown.
        stored: int32 [2], (height, width) of the stored image.
        orientation: int32 scalar, 1 to 8.
    """
    start, sides = shown_shape(box[:2], orientation), shown_shape(box[2:], orientation)
    start = tf.where(_reversed(orientation), stored - start - sides, start)
    return tf.concat([start, sides], 0)


def shown_box(box: tf.Tensor, stored: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Where a rectangle of the stored image shows, the inverse of `stored_box`.

    Args:
        box: int32 [4], (top, left, height, width), of the stored image.
        stored, orientation: as for `stored_box`.
    """
    start = tf.where(_reversed(orientation), stored - box[:2] - box[2:], box[:2])
    return tf.concat([shown_shape(start, orientation), shown_shape(box[2:], orientation)], 0)


def as_shown(stored: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Stored pixels [h, w, 3] the way up that they are shown: [h, w, 3], or [w, h, 3]."""

    def turned():
        rows, columns = tf.unstack(_reversed(orientation))
        order = tf.range(tf.shape(stored)[0])
        # Reversing rows is slower than gathering them.
        pixels = tf.gather(stored, tf.where(rows, tf.reverse(order, [0]), order))
        pixels = tf.raw_ops.Reverse(tensor=pixels, dims=tf.stack([False, columns, False]))
        return tf.transpose(pixels, tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2]))

    return tf.cond(orientation == UPRIGHT, lambda: stored, turned)


def _reversed(orientation):
    """Whether rows and columns are shown from the last to the first, until they are exchanged."""
    return tf.reduce_any(orientation == [[3, 4, 6, 7], [2, 3, 7, 8]], axis=1)


def _holds(texts, pattern):
    """Whether one of `texts` holds what matches: a search, which is faster than a full match."""
    rest = tf.strings.regex_replace(texts, pattern, "", replace_global=False)
    return tf.reduce_any(tf.strings.length(rest) < tf.strings.length(texts))


def _if(condition, read, encoded):
    return tf.cond(condition, lambda: read(encoded), lambda: tf.constant(UPRIGHT))


@outlined
def _in_jpeg(encoded):
    name = [0xFF, 0xE1, *b"Exif\0\0"]

    def is_exif(segment):
        return tf.reduce_all(tf.gather(segment, [0, 1, 4, 5, 6, 7, 8, 9]) == name)

    def step(segment):
        code, length = segment[1], _number(segment[2:4])
        goes_on = (code != 0xDA) & (length >= 2) & ~is_exif(segment)
        long = (code != 1) & ((code < 0xD0) | (code > 0xD9))
        # What lies between segments is passed over, and a segment may start with several 0xff.
        starts = (segment[0] == 0xFF) & (code != 0) & (code != 0xFF)
        return tf.where(starts, tf.where(long, tf.where(goes_on, 2 + length, 0), 2), 1)

    place, segment = _go(encoded, 2, 10, step)
    length = tf.where(is_exif(segment), _number(segment[2:4]) - 2, 0)
    return _of_block(_part(encoded, place + 4, length))


@outlined
def _in_png(encoded):
    def parts(chunk):
        length = _number(chunk[:4])
        return chunk[4:], length, length + 12

    return _in_chunks(encoded, 8, b"eXIf", parts)


@outlined
def _in_webp(encoded):
    def parts(chunk):
        length = _number(chunk[4:], 1)
        return chunk[:4], length, length + length % 2 + 8

    return _in_chunks(encoded, 12, b"EXIF", parts)


def _in_chunks(encoded, first, name, parts):
    """Of the chunk of a name.

    Args:
        encoded: scalar string, the bytes of a file.
        first: where its first chunk starts.
        name: of the chunk, 4 bytes.
        parts: function from the first 8 bytes of a chunk to its name, length and all it takes.
    """

    def step(chunk):
        found, _, whole = parts(chunk)
        return tf.where(tf.reduce_any(found != [*name]), whole, 0)

    place, chunk = _go(encoded, first, 8, step)
    found, length, _ = parts(chunk)
    length = tf.where(tf.reduce_all(found == [*name]), length, 0)
    return _of_block(_part(encoded, place + 8, length))


def _go(encoded, first, count, step):
    """(a place in the file, `count` bytes there): the first where `step` of the bytes is 0."""

    def look(place):
        found = _bytes(encoded, place, count)
        return place, found, tf.where(place < _length(encoded), step(found), 0)

    place, found, _ = tf.while_loop(
        lambda *found: found[2] > 0,
        lambda *found: look(found[0] + found[2]),
        look(tf.constant(first, tf.int64)),
        maximum_iterations=_MOST,
    )
    return place, found


def _of_block(block):
    """The orientation that Exif data tells, which is a TIFF file without an image: int32."""
    block = tf.strings.regex_replace(block, r"\A(?:Exif\x00\x00){1,2}", "")
    head = _bytes(block, 0, 8)
    known = tf.reduce_any(tf.reduce_all(head[:4] == _HEADS, axis=1))
    little = tf.cast(head[0] == ord("I"), tf.int32)
    start = _number(head[4:], little)
    count = _number(_bytes(block, start, 2), little)
    most = tf.maximum(_length(block) - start - 2, 0) // 12
    count = tf.where(known, tf.minimum(count, most), 0)
    entries = tf.io.decode_raw(_part(block, start + 2, 12 * count), tf.uint8)
    entries = tf.cast(tf.reshape(entries, [-1, 12]), tf.int64)
    # Another of zeros, so that there always is one.
    return _of_entries(block, tf.pad(entries, [[0, 1], [0, 0]]), little)


def _of_entries(block, entries, little):
    """What the entries of a directory tell, int64 [n, 12]: the first of its tag that is whole."""
    tag, kind, count, place = tf.unstack(entries @ tf.gather(_FIELDS, little), axis=1)
    kind = tf.where(kind < len(_WIDTHS), kind, 0)
    size, length = count * tf.gather(_WIDTHS, kind), _length(block)
    # Values of more than 4 bytes lie elsewhere. Pillow passes over those that would take more than
    # there is, and reads no further once some lie outside.
    elsewhere = size > 4
    fits = ~elsewhere | (tf.cumsum(tf.where(elsewhere, size, 0)) <= length)
    outside = fits & elsewhere & (place + size > length)
    whole = fits & (size > 0) & (tf.cumsum(tf.cast(outside, tf.int32)) == 0)
    wanted = whole & (tag == _ORIENTATION)
    first = tf.argmax(tf.cast(wanted, tf.int32))
    value = tf.where(elsewhere[first], _bytes(block, place[first], 4), entries[first, 8:])
    value = tf.reduce_sum(value * tf.gather(_VALUES, little)[kind[first]])
    good = wanted[first] & (value >= 1) & (value <= 8)
    return tf.where(good, tf.cast(value, tf.int32), UPRIGHT)


def _length(encoded):
    return tf.cast(tf.strings.length(encoded), tf.int64)


def _part(encoded, place, count):
    """The bytes from a place on, or as many of them as there are: a string."""
    return tf.strings.substr(encoded, tf.minimum(_length(encoded), place), count)


def _bytes(encoded, place, count):
    """The bytes from a place on, zeros where there are none: int64 [count]."""
    part = _part(encoded, place, tf.constant(count, tf.int64))
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int64)


def _number(digits, little=0):
    """What bytes stand for, the highest first or, if `little` is 1, the lowest."""
    return tf.reduce_sum(digits * tf.gather(_weights(digits.shape[0]), little))
