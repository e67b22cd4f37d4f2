"""Fixed subsets of labels, as for training on 1% or 10% of them."""

from collections.abc import Sequence

import numpy as np

from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.labels import check_labeled, checked_labels


def balanced_subset(labels: Sequence | np.ndarray, percent: float, seed: int = 0) -> np.ndarray:
    """The same share of every class: row numbers int64 [n], sorted.

    A function of the arguments alone, and the same on every machine. Of one seed a smaller share
    lies inside every larger one. A class of c examples gives round(c * percent / 100).

    Args:
        labels: integers [N] from 0.
        percent: in (0, 100]; 100 gives all rows.
        seed: int >= 0, of the choice.

    Raises:
        ValueError: an argument is not as above, or a class would have no example.
    """
    labels = checked_labels(labels, "labels")
    if not 0 < percent <= 100:
        raise ValueError(f"percent is {percent}: give a share of the labels in (0, 100]")
    chosen = [
        _of_class(label, np.flatnonzero(labels == label), percent, seed)
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def subset(source: Source, percent: float, seed: int = 0) -> Source:
    """A `Source` of a balanced share of another's examples, which keep their indices.

    It passes over all examples to find its own: cheap where these are paths or lie in memory, but
    record files are read as a whole.

    Args:
        source: `Source` with labels.
        percent, seed: as for `balanced_subset`, by labels in the order of the indices.

    Raises:
        ValueError: as `balanced_subset`, or the source has no labels.
    """
    check_labeled(source)
    pairs = source.indices_and_labels()
    pairs = pairs[np.argsort(pairs[:, 0])]
    kept = pairs[balanced_subset(pairs[:, 1], percent, seed), 0]
    if len(kept) == source.size:
        return source
    return FilteredSource(source, only=kept, name=f"{percent:g}% of {source.name}")


def _of_class(label: int, rows: np.ndarray, percent: float, seed: int) -> np.ndarray:
    count = round(len(rows) * percent / 100)
    if count == 0:
        raise ValueError(
            f"{percent:g}% of the {len(rows)} examples of class {label} is none: take more than "
            f"{50 / len(rows):.2g}%"
        )
    # Raw numbers: what NumPy draws from them may change with its versions.
    numbers = np.random.PCG64([seed, label]).random_raw(len(rows))
    return rows[np.argsort(numbers)[:count]]
