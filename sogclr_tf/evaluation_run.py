"""What `--mode=evaluate` does with images, as a config says."""

import contextlib
import logging
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.metrics import confusion_matrix

import sogclr_tf
from sogclr_tf import fine_tune, labelled, linear, subsets
from sogclr_tf.linear_head import LinearHead

_LOG = logging.getLogger("sogclr_tf")

# Test examples of which two views are compared, at most.
ALIGNED = 2048
# Of the pictures: queries, neighbours of each, and examples at each end of the table.
QUERIES, NEIGHBOURS, EXTREMES = 16, 6, 8


class Found(NamedTuple):
    """What an evaluation leaves beside its numbers.

    Attributes:
        features: float32 [M, C] of the test images.
        labels: int32 [M]; None where there are none.
        predictions: int32 [M] of the linear probe; None where there was none.
        head: `LinearHead`, the linear probe itself; None where there was none.
    """

    features: np.ndarray
    labels: np.ndarray | None
    predictions: np.ndarray | None
    head: LinearHead | None = None


class Sets(NamedTuple):
    """The sources to judge on: `train`, to learn classifiers from, and `test`, to try them on."""

    train: sogclr_tf.sources.Source
    test: sogclr_tf.sources.Source

    @property
    def labelled(self):
        """Whether both have labels."""
        return self.train.labelled and self.test.labelled

    @property
    def unlabelled(self):
        """The name of the one that has no labels."""
        return (self.test if self.train.labelled else self.train).name

    @contextlib.contextmanager
    def clear_errors(self):
        """Names an image of either that cannot be decoded."""
        with (
            sogclr_tf.sources.clear_errors(self.train),
            sogclr_tf.sources.clear_errors(self.test),
        ):
            yield


def score(config, encoder, sets, policies, untrained=None, verbose="auto"):
    """Scores an encoder, as `config.evaluation` says: ({name: number}, `Found`).

    Args:
        config: the run's.
        encoder: images -> features: a Keras model, or what `encoders.load_encoder` gives.
        sets: `Sets`.
        policies: (policy of a view, of the other), by which alignment is measured.
        untrained: an encoder to score beside it, as "untrained_..."; None for none.
        verbose: Keras's, of what is trained to score.
    """
    compiled = sogclr_tf.evaluate.Compiled(encoder)
    if not sets.labelled:
        _LOG.warning("%s has no labels: accuracies are left out", sets.unlabelled)
        test_images, _ = sogclr_tf.data.evaluation_set(sets.test, config.data.image_size)
        features = sogclr_tf.evaluate.extract_features(compiled, test_images)
        found = Found(features, None, None)
        return _spread(compiled, features, sets.test, policies, config), found
    numbers, linear_by = {}, config.evaluation.linear
    if untrained is not None:
        _LOG.info("evaluating the untrained encoder")
        # Nobody waits for 90 epochs to be told what chance features give.
        by = "none" if linear_by == "sgd" else linear_by
        before, _ = _accuracies(config, untrained, sets, by, verbose)
        numbers |= {f"untrained_{name}": value for name, value in before.items()}
    _LOG.info("evaluating the encoder")
    accuracies, found = _accuracies(config, compiled, sets, linear_by, verbose, encoder)
    numbers |= accuracies
    numbers |= _spread(compiled, found.features, sets.test, policies, config)
    return {**numbers, **_fine_tuned(config, encoder, sets, verbose)}, found


def check(config, sets):
    """Raises ValueError where an evaluation cannot be what the config says, before training."""
    settings = config.evaluation
    if settings.linear not in ("lbfgs", "sgd", "none"):
        raise ValueError(
            f"unknown evaluation.linear '{settings.linear}': choose lbfgs, sgd or none"
        )
    if settings.fine_tune and not sets.labelled:
        raise ValueError(
            f"evaluation.fine_tune is {settings.fine_tune}, but {sets.unlabelled} has no labels: "
            "give labelled images in evaluation.data"
        )
    if sets.labelled and sets.train.class_names != sets.test.class_names:
        raise ValueError(
            f"{sets.train.name} and {sets.test.name} have other classes, so their labels mean "
            "different things: give both the same class folders, an empty one where none is left"
        )
    if settings.fine_tune:
        _, labels = sets.train.images_and_labels()
        # A class that a share has no example of is told here, not after the training.
        for percent in settings.fine_tune:
            subsets.balanced_subset(labels, percent, config.seed)


def _accuracies(config, encoder, sets, linear_by, verbose, trainable=None):
    """({name: percent}, `Found`) of an encoder on labelled images.

    `linear_by` is as in the config; `trainable`, where that is "sgd", the encoder not compiled.
    """
    settings, size = config.evaluation, config.data.image_size
    test_images, test_labels = sogclr_tf.data.evaluation_set(sets.test, size)
    by_features = linear_by == "lbfgs"
    if by_features or settings.knn_neighbours:
        judged = sogclr_tf.evaluate.judge(
            encoder,
            *sogclr_tf.data.evaluation_set(sets.train, size),
            test_images,
            test_labels,
            k=settings.knn_neighbours,
            temperature=settings.knn_temperature,
            linear="lbfgs" if by_features else None,
            seed=config.seed,
        )
        numbers = {f"knn{k}_top1": round(top1, 2) for k, top1 in judged.knn_top1.items()}
        features, predictions, head = judged.test_features, judged.predictions, judged.head
        numbers |= _tops("linear", judged.linear_top1, judged.linear_top5)
    else:
        # Nothing holds the features of the training images, which may be many millions.
        numbers, predictions, head = {}, None, None
        features = sogclr_tf.evaluate.extract_features(encoder, test_images)
    if linear_by == "sgd":
        classified = _linear(config, trainable, sets, verbose)
        predictions, head = classified.predictions, classified.head
        numbers |= _tops("linear", classified.top1, classified.top5)
    return numbers, Found(features, test_labels, predictions, head)


def _linear(config, encoder, sets, verbose):
    settings = config.evaluation
    return linear.linear_evaluation(
        encoder,
        *sets,
        crops(config),
        epochs=settings.linear_epochs,
        batch_size=settings.linear_batch_size,
        learning_rate=settings.linear_rate,
        seed=config.seed,
        verbose=verbose,
    )


def _fine_tuned(config, encoder, sets, verbose):
    numbers = {}
    for percent in config.evaluation.fine_tune:
        _LOG.info("fine-tuning with %g%% of the labels", percent)
        classified = fine_tune.fine_tune(
            encoder,
            *sets,
            crops(config),
            percent=percent,
            seed=config.seed,
            verbose=verbose,
        )
        numbers |= _tops(f"fine_tuned_{percent:g}", classified.top1, classified.top5)
    return numbers


def crops(config):
    """The `Policy` that classifiers are trained with: the config's crops and flips alone."""
    return labelled.crops_and_flips(
        config.data.image_size, min_area=config.augment.min_area, flip=config.augment.flip
    )


def _tops(name, top1, top5):
    return {f"{name}_top{k}": round(top, 2) for k, top in ((1, top1), (5, top5)) if top is not None}


def _spread(encoder, features, test_source, policies, config):
    """How the features of the test images lie: alignment of two views, uniformity of all."""
    batch = min(config.batch_size, test_source.size)
    views = sogclr_tf.training_views(
        test_source,
        batch_size=batch,
        policy=policies[0],
        policy_b=policies[1],
        seed=config.seed,
    )
    count = min(ALIGNED, views.steps_per_epoch * batch)
    sides = (
        views.epoch(0).unbatch().map(lambda view, key=key: view[key]).take(count)
        for key in ("view_a", "view_b")
    )
    of_views = [sogclr_tf.evaluate.extract_features(encoder, side) for side in sides]
    return {
        "alignment": round(sogclr_tf.evaluate.alignment(*of_views), 4),
        "uniformity": round(sogclr_tf.evaluate.uniformity(features), 4),
    }


def material(config, found, test_source, train_source=None, log_u=None):
    """What of `report.Material` an evaluation gives, as keyword arguments.

    Args:
        config: the run's.
        found: `Found`.
        test_source: the images that were judged.
        train_source: the images of training, where there is a table.
        log_u: float32 [N], the table; None where there is none.
    """
    confusion = None
    if found.predictions is not None:
        classes = max(found.labels.max(), found.predictions.max()) + 1
        confusion = confusion_matrix(found.labels, found.predictions, labels=range(classes))
    parts = {
        "features": found.features,
        "labels": found.labels,
        "class_names": test_source.class_names,
        "confusion": confusion,
        "neighbours": _neighbours(config, found, test_source),
    }
    if log_u is not None:
        parts |= {"log_u": log_u, **_extremes(train_source, log_u)}
    return parts


def _neighbours(config, found, test_source):
    """[(query, [nearest others of the test images])] as `report.Example`s."""
    count = len(found.features)
    rows = np.sort(np.random.default_rng(config.seed).permutation(count)[:QUERIES])
    nearest = sogclr_tf.evaluate.nearest(
        found.features[rows], found.features, min(NEIGHBOURS, count - 1), own_rows=rows
    )
    shown = _shown(test_source, {*rows.tolist(), *nearest.ravel().tolist()})
    return [
        (shown[query], [shown[row] for row in others])
        for query, others in zip(rows.tolist(), nearest.tolist(), strict=True)
    ]


def _shown(source, rows):
    """{row of `images_and_labels`: `report.Example`}."""
    numbered = source.examples().enumerate()
    return dict(_picked(source, numbered, rows))


def _extremes(source, log_u):
    """The examples with the largest and the smallest u, as `report.Example`s."""
    visited = np.flatnonzero(np.isfinite(log_u))
    order = visited[np.argsort(log_u[visited], kind="stable")]
    easiest, hardest = order[:EXTREMES].tolist(), order[::-1][:EXTREMES].tolist()
    by_index = source.examples().map(lambda example: (tf.cast(example["index"], tf.int64), example))
    shown = {
        index: _captioned(example, f"log u {log_u[index]:.2f}")
        for index, example in _picked(source, by_index, {*easiest, *hardest})
    }
    return {
        "hardest": [shown[index] for index in hardest],
        "easiest": [shown[index] for index in easiest],
    }


def _picked(source, numbered, wanted):
    """(number, `report.Example`) of the examples whose numbers are wanted; no other is decoded."""
    keys = tf.constant(sorted(wanted), tf.int64)
    chosen = numbered.filter(lambda number, _: tf.reduce_any(keys == number))
    names = source.class_names
    for number, example in chosen.take(len(wanted)):
        image = source.decode(source.read(example["image"])).numpy()
        label = int(example["label"]) if source.labelled else None
        caption = source.locate(int(example["index"]))
        if label is not None:
            caption = names[label] if names else f"class {label}"
        yield int(number), sogclr_tf.report.Example(image, caption, label)


def _captioned(example, caption):
    return sogclr_tf.report.Example(example.image, f"{example.caption}, {caption}", example.label)
