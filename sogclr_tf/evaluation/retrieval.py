"""Scores of images and texts in one space: recall both ways, and classes by their names."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sogclr_tf.evaluation.scores import accuracy

SIMILARITIES_PER_BLOCK = 2**24


class Recall(NamedTuple):
    """How often the partner is among the k nearest of the other side, in 0..1.

    Attributes:
        image_to_text: {k: float}, an image looks for its text.
        text_to_image: {k: float}, a text looks for its image.
    """

    image_to_text: dict
    text_to_image: dict


def recall(images: Any, texts: Any, ks: Sequence[int] = (1, 5, 10)) -> Recall:
    """Recall@k both ways over M pairs.

    A partner is found at k if fewer than k others are as near or nearer by cosine: what ties with
    it counts against it, so that embeddings which are all alike find nothing.

    Args:
        images: float [M, D], embeddings; normalized here.
        texts: float [M, D], of the images' texts, in the same order; normalized here.
        ks: whole numbers >= 1.

    Returns:
        `Recall`.

    Raises:
        ValueError: the shapes differ or are not [M, D], a number is not finite, or a k is below 1.
    """
    images, texts = _checked(images, texts)
    if images.shape != texts.shape:
        raise ValueError(
            f"images are {images.shape} and texts {texts.shape}: expected [M, D] twice, in pairs"
        )
    if not ks or min(ks) < 1:
        raise ValueError(f"ks are {ks}: give whole numbers >= 1")
    ways = (_ranks(images, texts), _ranks(texts, images))
    return Recall(*({k: accuracy(ranks <= k) for k in ks} for ranks in ways))


def zero_shot(images: Any, class_texts: Any) -> np.ndarray:
    """The class whose text is nearest to each image: int32 [M].

    Args:
        images: float [M, D], embeddings; normalized here.
        class_texts: float [C, D], the embedding of each class's name; or [C, T, D], of T texts
            about each class, whose normalized mean stands for it (CLIP, arXiv 2103.00020, 3.1.4).

    Raises:
        ValueError: the widths differ, a shape is another, or a number is not finite.
    """
    class_texts = np.asarray(class_texts, np.float32)
    if class_texts.ndim == 3:
        class_texts = _normalized(class_texts).mean(axis=1)
    images, class_texts = _checked(images, class_texts)
    return np.argmax(images @ class_texts.T, axis=1).astype(np.int32)


def _ranks(anchors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """1 for an anchor whose partner is nearer than everything else: int [M]."""
    rows = max(1, SIMILARITIES_PER_BLOCK // len(others))
    ranks = []
    for start in range(0, len(anchors), rows):
        similarity = anchors[start : start + rows] @ others.T
        own = similarity[np.arange(len(similarity)), start + np.arange(len(similarity))]
        ranks.append(np.count_nonzero(similarity >= own[:, np.newaxis], axis=1))
    return np.concatenate(ranks)


def _checked(*embeddings: Any) -> list[np.ndarray]:
    """Each as float32 [M, D], normalized."""
    embeddings = [np.asarray(x, np.float32) for x in embeddings]
    shapes = [x.shape for x in embeddings]
    if any(x.ndim != 2 or not len(x) for x in embeddings) or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"embeddings have shapes {shapes[0]} and {shapes[1]}: expected [., D]")
    for x in embeddings:
        if not np.isfinite(x).all():
            raise ValueError(f"{np.count_nonzero(~np.isfinite(x))} numbers are not finite")
    return [_normalized(x) for x in embeddings]


def _normalized(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
