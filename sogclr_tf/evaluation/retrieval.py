"""Scores of images and texts in one space: recall both ways, and classes by their names."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sogclr_tf.evaluation.scores import accuracy

SIMILARITIES_PER_BLOCK = 2**24


class Recall(NamedTuple):
    """How often the partner is among the k nearest of the other side, in 0..1.

    Attributes:
        image_to_text: {k: float}, an image looks for its text, or any of its texts.
        text_to_image: {k: float}, a text looks for its image.
    """

    image_to_text: dict
    text_to_image: dict


def recall(
    images: Any,
    texts: Any,
    ks: Sequence[int] = (1, 5, 10),
    *,
    image_of_text: Sequence[int] | np.ndarray | None = None,
) -> Recall:
    """Recall@k both ways over N images and their texts.

    A partner is found at k if fewer than k others are as near or nearer by cosine: what ties with
    it counts against it, so that embeddings which are all alike find nothing.

    Of images with several captions an image finds its text if any of its captions is among the k
    nearest of all M, and every caption is a query for its image: as is customary on Flickr30k and
    MS-COCO (Karpathy and Fei-Fei, CVPR 2015, arXiv 1412.2306; VSE++, arXiv 1707.05612), whose test
    sets have 1,000 and 5,000 images of 5 captions.

        sogclr_tf.recall(of_images, of_captions, image_of_text=np.repeat(np.arange(1000), 5))

    Args:
        images: float [N, D], embeddings; normalized here.
        texts: float [M, D], of the images' texts; normalized here. M is N, and the order the same,
            without `image_of_text`.
        ks: whole numbers >= 1.
        image_of_text: int [M] in [0, N), which image each text is of; every image has one.

    Returns:
        `Recall`.

    Raises:
        ValueError: the shapes differ or are not [., D], a number is not finite, a k is below 1, or
            an image has no text, a text no image.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.eye(4, dtype="float32")
        >>> texts = images[[0, 1, 3, 2]]  # the last two are each other's
        >>> found = sogclr_tf.recall(images, texts, ks=(1, 2))
        >>> found.image_to_text[1], found.text_to_image[1]
        (0.5, 0.5)
    """
    images, texts = _checked(images, texts)
    if image_of_text is None:
        if images.shape != texts.shape:
            raise ValueError(
                f"images are {images.shape} and texts {texts.shape}: expected [N, D] twice, in "
                "pairs; give image_of_text where images have several texts"
            )
        image_of_text = np.arange(len(images))
    image_of_text = _checked_owners(image_of_text, len(images), len(texts))
    if not ks or min(ks) < 1:
        raise ValueError(f"ks are {ks}: give whole numbers >= 1")
    ways = (
        _ranks(images, texts, np.arange(len(images)), image_of_text),
        _ranks(texts, images, image_of_text, np.arange(len(images))),
    )
    return Recall(*({k: accuracy(ranks <= k) for k in ks} for ranks in ways))


def zero_shot(images: Any, class_texts: Any) -> np.ndarray:
    """The class whose text is nearest to each image: int32 [M].

    Args:
        images: float [M, D], embeddings; normalized here.
        class_texts: float [C, D], the embedding of each class's name; or [C, T, D], of T texts
            about each class, whose normalized mean stands for it (CLIP, arXiv 2103.00020, 3.1.4).

    Returns:
        int32 [M], rows of `class_texts`.

    Raises:
        ValueError: the widths differ, a shape is another, or a number is not finite.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.array([[1, 0.1], [0.2, 1], [0.9, 0]], "float32")  # embeddings of images
        >>> names = np.array([[1, 0], [0, 1]], "float32")  # of "a photo of a cat", "... of a dog"
        >>> sogclr_tf.zero_shot(images, names).tolist()
        [0, 1, 0]
    """
    class_texts = np.asarray(class_texts, np.float32)
    if class_texts.ndim == 3:
        class_texts = _normalized(class_texts).mean(axis=1)
    images, class_texts = _checked(images, class_texts)
    return np.argmax(images @ class_texts.T, axis=1).astype(np.int32)


def _ranks(
    anchors: np.ndarray, others: np.ndarray, of_anchors: np.ndarray, of_others: np.ndarray
) -> np.ndarray:
    """1 for an anchor of which a partner is nearer than all that is of other images: int [anchors].

    Args:
        anchors, others: float32 [., D], normalized.
        of_anchors, of_others: int, the image that each is of.
    """
    rows = max(1, SIMILARITIES_PER_BLOCK // len(others))
    ranks = []
    for start in range(0, len(anchors), rows):
        similarity = anchors[start : start + rows] @ others.T
        own = of_anchors[start : start + rows, np.newaxis] == of_others
        nearest = np.max(similarity, axis=1, keepdims=True, where=own, initial=-np.inf)
        ranks.append(1 + np.count_nonzero((similarity >= nearest) & ~own, axis=1))
    return np.concatenate(ranks)


def _checked_owners(image_of_text: Any, images: int, texts: int) -> np.ndarray:
    """int [M], the image of each text, if every image has one."""
    owners = np.asarray(image_of_text)
    if owners.shape != (texts,) or not np.issubdtype(owners.dtype, np.integer):
        raise ValueError(
            f"image_of_text is {owners.dtype} {owners.shape}: expected whole numbers [{texts}], "
            "the image of each text"
        )
    if owners.min() < 0 or owners.max() >= images:
        wrong = owners.min() if owners.min() < 0 else owners.max()
        raise ValueError(f"image_of_text includes {wrong}: expected [0, {images}), the images")
    lacking = np.setdiff1d(np.arange(images), owners)
    if len(lacking):
        raise ValueError(
            f"image {lacking[0]} has no text ({len(lacking)} such in all): leave out what looks "
            "for nothing"
        )
    return owners


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
