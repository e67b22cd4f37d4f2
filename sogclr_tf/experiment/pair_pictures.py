"""What the report of a run of images with texts shows of them."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources.base import Source
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.report.displayed import displayed
from sogclr_tf.report.material import Example
from sogclr_tf.report.retrieval import Retrieved

# Texts and images that ask, answers of each, and pairs at each end of the table.
_QUERIES, _IMAGES, _TEXTS, _EXTREMES = 12, 5, 5, 8


class Embedded(NamedTuple):
    """Held-out pairs and their embeddings.

    Attributes:
        of_images: float32 [N, D].
        of_texts: float32 [M, D].
        texts: list of str, M.
        owners: int [M], of each text the place of its image.
    """

    of_images: np.ndarray
    of_texts: np.ndarray
    texts: Sequence[str]
    owners: np.ndarray


def report_parts(
    embedded: Embedded, test: Source, train: Source, loss: ContrastiveLoss, seed: int
) -> dict[str, Any]:
    """What of `report.material.Material` a run of pairs gives, as keyword arguments.

    Args:
        embedded: the held-out pairs.
        test: their source.
        train: that of training.
        loss: whose tables and temperatures are shown, where it has some.
        seed: of the choice of what is shown.
    """
    parts: dict[str, Any] = {"retrieved": _retrieved(embedded, test, seed)}
    log_u = getattr(loss, "log_u_a", None)
    if log_u is not None:
        parts |= {"log_u": np.asarray(log_u), **_extremes(train, np.asarray(log_u))}
    if getattr(loss, "temperature_scheme", None) == "individual":
        parts["temperatures"] = {
            "Of images": np.asarray(loss.temperatures_a),
            "Of texts": np.asarray(loss.temperatures_b),
        }
    return parts


def _retrieved(embedded: Embedded, test: Source, seed: int) -> Retrieved:
    of_images, of_texts, texts, owners = embedded
    random = np.random.default_rng(seed)
    asking_texts = np.sort(random.permutation(len(texts))[:_QUERIES])
    asking_images = np.sort(random.permutation(len(of_images))[:_QUERIES])
    images = _nearest(of_texts[asking_texts], of_images, _IMAGES)
    answers = _nearest(of_images[asking_images], of_texts, _TEXTS)
    # By their place in the fixed order.
    shown = _picked(test, test.examples().enumerate(), {*images.ravel(), *asking_images})
    return Retrieved(
        images=[
            (texts[text], [shown[row] for row in rows], [row == owners[text] for row in rows])
            for text, rows in zip(asking_texts, images, strict=True)
        ],
        texts=[
            (shown[row], [texts[text] for text in found], [owners[text] == row for text in found])
            for row, found in zip(asking_images, answers, strict=True)
        ],
    )


def _nearest(queries: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    """int [queries, count]: the rows that are nearest by cosine, the nearest first."""
    return np.argsort(-(queries @ others.T), axis=1, kind="stable")[:, :count]


def _extremes(source: Source, log_u: np.ndarray) -> dict[str, list[Example]]:
    """The training images with the largest and the smallest u, with their texts."""
    visited = np.flatnonzero(np.isfinite(log_u))
    order = visited[np.argsort(log_u[visited], kind="stable")]
    easiest, hardest = order[:_EXTREMES], order[::-1][:_EXTREMES]
    by_index = source.examples().map(lambda example: (tf.cast(example["index"], tf.int64), example))
    shown = _picked(source, by_index, {*easiest, *hardest})
    return {
        name: [
            Example(shown[index].image, f"log u {log_u[index]:.2f}: {shown[index].caption}")
            for index in indices
        ]
        for name, indices in (("hardest", hardest), ("easiest", easiest))
    }


def _picked(
    source: Source, numbered: tf.data.Dataset, wanted: Collection[int]
) -> dict[int, Example]:
    """{number: `Example` with its first text} of those wanted; no other image is decoded."""
    keys = tf.constant(sorted(wanted), tf.int64)
    chosen = numbered.filter(lambda number, _: tf.reduce_any(keys == number))
    return {
        int(number): Example(
            displayed(source.decode(source.read(example["image"])).numpy()),
            np.ravel(example["text"].numpy())[0].decode(),
        )
        for number, example in chosen.take(len(wanted))
    }
