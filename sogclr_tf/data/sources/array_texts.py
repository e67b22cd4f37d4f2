"""The texts of images in memory: one each, or several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def checked(texts: Any, size: int, name: str) -> tuple[list[bytes], np.ndarray | None]:
    """All texts in turn, and where those of each image begin; None where each has one.

    Args:
        texts: N strings, or N lists of strings.
        size: N.
        name: of the images, for messages.

    Returns:
        list of bytes, and int64 [N + 1] or None, as `Source.caption_offsets`.

    Raises:
        ValueError: they are not as above, lists and strings are mixed, or a list is empty.
    """
    several = [isinstance(of_image, (list, tuple, np.ndarray)) for of_image in texts]
    if not any(several):
        return _strings(texts, size, f"texts of {name}"), None
    if len(several) != size:
        raise ValueError(f"captions of {name} are {len(several)} lists: expected {size}")
    if not all(several):
        raise ValueError(
            f"texts of {name} mix lists and single texts, as that of image "
            f"{several.index(False)}: give a list for each image, of one text where it has one"
        )
    counts = np.array([len(captions) for captions in texts], np.int64)
    if not counts.all():
        raise ValueError(
            f"image {counts.argmin()} of {name} has no caption: give one, or leave the image out"
        )
    flat = [
        text
        for image, captions in enumerate(texts)
        for text in _strings(captions, len(captions), f"captions of image {image} of {name}")
    ]
    return flat, np.concatenate([[0], np.cumsum(counts)])


def of_row(texts: tf.Tensor, starts: tf.Tensor | None, row: tf.Tensor) -> tf.Tensor:
    """The text of an image, or of several rows those of each; with starts string [k] of one."""
    return tf.gather(texts, row) if starts is None else texts[starts[row] : starts[row + 1]]


def add_to(digests: Sequence, texts: np.ndarray, offsets: np.ndarray | None) -> None:
    """Makes each image's texts, an object array of bytes, a part of its `hashlib` digest."""
    if offsets is None:
        for digest, text in zip(digests, texts, strict=True):
            digest.update(text)
        return
    for digest, first, end in zip(digests, offsets[:-1], offsets[1:], strict=True):
        for text in texts[first:end]:
            # With its length, so that no other cut of the same letters is the same.
            digest.update(b"%d " % len(text) + text)


def _strings(texts: Any, size: int, what: str) -> list[bytes]:
    texts = np.asarray(texts)
    if texts.shape != (size,) or texts.dtype.kind not in "USO":
        raise ValueError(f"{what} are {texts.dtype} {texts.shape}: expected {size} strings")
    return [text if isinstance(text, bytes) else str(text).encode() for text in texts]
