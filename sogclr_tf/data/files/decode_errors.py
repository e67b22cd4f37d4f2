"""Why an image cannot be decoded, in plain words."""

import contextlib
import os
import re
from collections.abc import Iterator

import tensorflow as tf

from sogclr_tf.printable import printable


class UnreadableImageError(ValueError):
    """An image cannot be decoded."""


# What decoding or reading of a file may end with.
ERRORS = (
    UnreadableImageError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.DataLossError,
    tf.errors.UnknownError,
    # In place of any of these, where the message names a file whose name is no UTF-8.
    UnicodeDecodeError,
)

# What stands before the line of an `UnreadableImageError` that stops a pipeline.
UNREADABLE = "unreadable image: "
# What the assertions of `sogclr_tf.data.files.decoding`, and of records of raw pixels, begin with.
_OWN = (
    r"no image: |the file is empty|image too large: |damaged header: |animated WebP cannot |"
    r"BMP that cannot be read: |truncated GIF|16 bits, but no value |an image of 8 bits, but |"
    r"raw pixels: "
)
# What TensorFlow's decoders say of each format.
_DAMAGED = {
    "JPEG": "jpeg::Uncompress|Invalid JPEG",
    "PNG": "Invalid PNG",
    "GIF": "Invalid GIF",
    "BMP": r"Incomplete bmp|Input size should match \(header_size",
    "WebP": "Failed to decode WebP",
}


def why(message: str) -> str | None:
    """What makes an image unreadable, a line without an end; None if the error is another.

    Args:
        message: that of an error of TensorFlow.
    """
    said = _without_nodes(message)
    of_python = re.search(rf"(?<={UNREADABLE}).*", said)
    if of_python:
        return of_python.group()[:200].rstrip(" .;:")
    own = re.search(rf"(?:{_OWN}).*", said)
    if own:
        return own.group()[:200].rstrip(" .;:")
    for name, pattern in _DAMAGED.items():
        if re.search(pattern, said, re.I):
            also = ", or of a kind that is not supported (12 bits)" if name == "JPEG" else ""
            return f"its {name} data is damaged or cut short{also}"
    return None


def in_one_line(error: Exception) -> str:
    """`why` an image is unreadable, or else what TensorFlow says without the names of its nodes.

    Args:
        error: one of `ERRORS`.
    """
    message = os.fsdecode(error.object) if isinstance(error, UnicodeDecodeError) else str(error)
    said = why(message) or _without_nodes(message)[:200].rstrip(" .;:")
    return printable(said) or "unknown reason"


@contextlib.contextmanager
def in_plain_words(what: str) -> Iterator[None]:
    """Raises what decoding ends with as an `UnreadableImageError` of one line.

    Args:
        what: of which one cannot be decoded, such as "the images".
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        reason = why(error.message)
        if reason is None:
            raise
        raise UnreadableImageError(
            f"one of {what} cannot be decoded: {reason}. Mend it, or leave such images out with "
            "sogclr_tf.data.sources.readable.readable(source), whose `skipped` names them"
        ) from None


def _without_nodes(message):
    message = re.sub(
        r"\{\{.*?\}\}|\[Op:\w+\].*|assertion failed:|Expected '\w+' to be true\. Summarized data:|"
        r"Error in user-defined function passed to .*?: (?=[\w\[])|\[\[.*?\]\]|b'|'(?=\n|$)",
        " ",
        message,
        flags=re.S,
    )
    return " ".join(message.replace("[", " ").replace("]", " ").split())
