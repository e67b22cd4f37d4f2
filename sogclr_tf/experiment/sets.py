"""The collections that an encoder is evaluated on."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from ml_collections import ConfigDict

from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.data.sources.readable import clear_errors, usable
from sogclr_tf.data.sources.subset import balanced_subset


class EvaluationSets(NamedTuple):
    """`train`, to learn classifiers from, and `test`, to try them on."""

    train: Source
    test: Source

    @property
    def labeled(self) -> bool:
        """Whether both have labels."""
        return self.train.labeled and self.test.labeled

    @property
    def unlabeled_name(self) -> str:
        """The name of the one that has no labels."""
        return (self.test if self.train.labeled else self.train).name

    @contextlib.contextmanager
    def clear_errors(self) -> Iterator[None]:
        """Names an image of either that cannot be decoded."""
        with clear_errors(self.train), clear_errors(self.test):
            yield


def open_source(config: ConfigDict, split: str, where: ConfigDict | None = None) -> Source:
    """The source of a split of the config's data, or of the data that a section names."""
    data = config.data
    name, data_dir = (where.name, where.data_dir) if where else (data.name, data.data_dir)
    source = from_name(
        name,
        split,
        data_dir,
        data.features.to_dict(),
        channels=data.channels,
        value_range=data.value_range,
    )
    return usable(source, data.on_error)


def open_sets(config: ConfigDict, where: ConfigDict, train_source: Source) -> EvaluationSets:
    """The sets of the data that a section names, or of the config's own."""
    if not where.name:
        return EvaluationSets(train_source, open_source(config, config.data.test_split))
    splits = (where.train_split, where.test_split)
    return EvaluationSets(*(open_source(config, split, where) for split in splits))


def check_evaluation(config: ConfigDict, sets: EvaluationSets) -> None:
    """Raises ValueError where an evaluation cannot be what the config says, before training."""
    settings = config.evaluation
    if settings.linear not in ("lbfgs", "sgd", "none"):
        raise ValueError(
            f"unknown evaluation.linear '{settings.linear}': choose lbfgs, sgd or none"
        )
    if settings.fine_tune and not sets.labeled:
        raise ValueError(
            f"evaluation.fine_tune is {settings.fine_tune}, but {sets.unlabeled_name} has no "
            "labels: give labeled images in evaluation.data"
        )
    if sets.labeled and sets.train.class_names != sets.test.class_names:
        raise ValueError(
            f"{sets.train.name} and {sets.test.name} have other classes, so their labels mean "
            "different things: give both the same class folders, an empty one where none is left, "
            "or one table with a column of splits"
        )
    if settings.fine_tune:
        _, labels = sets.train.images_and_labels()
        # A class that a share has no example of is told here, not after the training.
        for percent in settings.fine_tune:
            balanced_subset(labels, percent, config.seed)  # type: ignore[arg-type]
