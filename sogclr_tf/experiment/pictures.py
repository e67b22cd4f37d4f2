"""The images that the report of a run shows."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.sources.base import Source
from sogclr_tf.evaluation.neighbors import nearest
from sogclr_tf.experiment.evaluate import Evaluation
from sogclr_tf.report.displayed import displayed
from sogclr_tf.report.material import Example

# Queries, neighbors of each, and examples at each end of the table.
_QUERIES, _NEIGHBORS, _EXTREMES = 16, 6, 8


def report_parts(
    config: ConfigDict,
    evaluation: Evaluation,
    test_source: Source,
    train_source: Source | None = None,
    log_u: np.ndarray | None = None,
) -> dict[str, Any]:
    """What of `report.material.Material` an evaluation gives, as keyword arguments.

    Args:
        config: the run's.
        evaluation: of the encoder that is shown.
        test_source: the images that it was evaluated on.
        train_source: the images of training, where there is a table.
        log_u: float32 [N], the table; None where there is none.
    """
    confusion = None
    if evaluation.predictions is not None:
        # Training does not wait for its import.
        from sklearn.metrics import confusion_matrix

        classes = max(evaluation.labels.max(), evaluation.predictions.max()) + 1  # type: ignore[union-attr]
        confusion = confusion_matrix(
            evaluation.labels, evaluation.predictions, labels=range(classes)
        )
    parts = {
        "features": evaluation.features,
        "labels": evaluation.labels,
        "class_names": test_source.class_names,
        "confusion": confusion,
        "neighbors": _neighbors(config, evaluation.features, test_source),
    }
    if log_u is not None:
        extremes = _extremes(train_source, log_u, config.report.bands)  # type: ignore[arg-type]
        parts |= {"log_u": log_u, **extremes}
    return parts


def _neighbors(
    config: ConfigDict, features: np.ndarray, source: Source
) -> list[tuple[Example, list]]:
    """[(query, [nearest others of the test images])]."""
    count = len(features)
    rows = np.sort(np.random.default_rng(config.seed).permutation(count)[:_QUERIES])
    others = nearest(features[rows], features, min(_NEIGHBORS, count - 1), own_rows=rows)
    # By their place in `images_and_labels`.
    numbered = source.examples().enumerate()
    wanted = {*rows.tolist(), *others.ravel().tolist()}
    shown = dict(_picked(source, numbered, wanted, config.report.bands))
    return [
        (shown[query], [shown[row] for row in found])
        for query, found in zip(rows.tolist(), others.tolist(), strict=True)
    ]


def _extremes(source: Source, log_u: np.ndarray, bands: Sequence[int]) -> dict[str, list[Example]]:
    """The examples with the largest and the smallest u."""
    visited = np.flatnonzero(np.isfinite(log_u))
    order = visited[np.argsort(log_u[visited], kind="stable")]
    easiest, hardest = order[:_EXTREMES].tolist(), order[::-1][:_EXTREMES].tolist()
    by_index = source.examples().map(lambda example: (tf.cast(example["index"], tf.int64), example))
    shown = {
        index: Example(example.image, f"{example.caption}, log u {log_u[index]:.2f}", example.label)
        for index, example in _picked(source, by_index, {*easiest, *hardest}, bands)
    }
    return {
        "hardest": [shown[index] for index in hardest],
        "easiest": [shown[index] for index in easiest],
    }


def _picked(
    source: Source, numbered: tf.data.Dataset, wanted: Collection[int], bands: Sequence[int]
) -> Iterator[tuple[int, Example]]:
    """(number, `Example`) of the examples whose numbers are wanted; no other is decoded."""
    keys = tf.constant(sorted(wanted), tf.int64)
    chosen = numbered.filter(lambda number, _: tf.reduce_any(keys == number))
    names = source.class_names
    for number, example in chosen.take(len(wanted)):
        image = source.decode(source.read(example["image"])).numpy()
        label = int(example["label"]) if source.labeled else None
        caption = source.locate(int(example["index"]))
        if label is not None:
            caption = names[label] if names else f"class {label}"
        yield int(number), Example(displayed(image, bands), caption, label)
