"""What `--mode=evaluate` measures of an image encoder, as a config says."""

import dataclasses
import logging
from collections.abc import Callable

import keras
import numpy as np
from ml_collections import ConfigDict

from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.labeled import crops_and_flips
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.training_views import training_views
from sogclr_tf.evaluation.evaluate_encoder import evaluate_encoder
from sogclr_tf.evaluation.features import CompiledEncoder, extract_features
from sogclr_tf.evaluation.fine_tune import fine_tune
from sogclr_tf.evaluation.geometry import alignment, uniformity
from sogclr_tf.evaluation.linear_evaluation import linear_evaluation
from sogclr_tf.evaluation.scores import Classified
from sogclr_tf.experiment.sets import EvaluationSets
from sogclr_tf.models.linear_probe import LinearProbe

_LOG = logging.getLogger("sogclr_tf")

# Test examples of which two views are compared, at most.
_ALIGNED = 2048


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What was found of an encoder.

    Attributes:
        numbers: {name: number}, accuracies in 0..1.
        features: float32 [M, C] of the test images.
        labels: int32 [M]; None where there are none.
        predictions: int32 [M] of the linear probe; None where there was none.
        probe: `LinearProbe`; None where there was none.
    """

    numbers: dict[str, float]
    features: np.ndarray
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None
    probe: LinearProbe | None = None


def evaluate(
    config: ConfigDict,
    encoder: Callable,
    sets: EvaluationSets,
    policies: tuple[Policy, Policy],
    untrained: keras.Model | None = None,
    verbose: str | int = "auto",
) -> Evaluation:
    """Evaluates an encoder, as `config.evaluation` says.

    Args:
        config: the run's.
        encoder: images -> features: a Keras model, or what `load_encoder` gives.
        sets: what to evaluate on.
        policies: (policy of a view, of the other), by which alignment is measured.
        untrained: an encoder to score beside it, as "untrained_..."; None for none.
        verbose: Keras's, of what is trained to score.
    """
    compiled = CompiledEncoder(encoder)
    if not sets.labeled:
        _LOG.warning("%s has no labels: accuracies are left out", sets.unlabeled_name)
        test_images, _ = evaluation_set(sets.test, config.data.image_size)
        features = extract_features(compiled, test_images)
        return Evaluation(_spread(compiled, features, sets.test, policies, config), features)
    numbers: dict[str, float] = {}
    linear = config.evaluation.linear
    if untrained is not None:
        _LOG.info("evaluating the untrained encoder")
        # Nobody waits for 90 epochs to be told what chance features give.
        before = _accuracies(config, untrained, sets, "none" if linear == "sgd" else linear)
        numbers |= {f"untrained_{name}": value for name, value in before.numbers.items()}
    _LOG.info("evaluating the encoder")
    found = _accuracies(config, compiled, sets, linear, verbose, encoder)
    numbers |= found.numbers
    numbers |= _spread(compiled, found.features, sets.test, policies, config)
    numbers |= _fine_tuned(config, encoder, sets, verbose)
    return dataclasses.replace(found, numbers=numbers)


def crops(config: ConfigDict) -> Policy:
    """The `Policy` that classifiers are trained with: the config's crops and flips alone."""
    return crops_and_flips(
        config.data.image_size, min_area=config.augment.min_area, flip=config.augment.flip
    )


def _accuracies(
    config: ConfigDict,
    encoder: Callable,
    sets: EvaluationSets,
    linear: str,
    verbose: str | int = "auto",
    trainable: Callable | None = None,
) -> Evaluation:
    """The accuracies of an encoder on labeled images.

    Args:
        linear: as in the config.
        trainable: where `linear` is "sgd", the encoder not compiled.
    """
    settings, size = config.evaluation, config.data.image_size
    test_images, test_labels = evaluation_set(sets.test, size)
    numbers, classified = {}, None
    if linear == "lbfgs" or settings.knn_neighbors:
        scores = evaluate_encoder(
            encoder,
            *evaluation_set(sets.train, size),
            test_images,
            test_labels,
            k=settings.knn_neighbors,
            temperature=settings.knn_temperature,
            linear_probe=linear == "lbfgs",
            seed=config.seed,
        )
        numbers = {f"knn{k}_top1": round(top1, 4) for k, top1 in scores.knn_top1.items()}
        features, classified = scores.test_features, scores.linear
    else:
        # Nothing holds the features of the training images, which may be many millions.
        features = extract_features(encoder, test_images)
    if linear == "sgd":
        classified = _by_sgd(config, trainable, sets, verbose)  # type: ignore[arg-type]
    if classified is None:
        return Evaluation(numbers, features, test_labels)
    numbers |= _tops("linear", classified)
    return Evaluation(numbers, features, test_labels, classified.predictions, classified.probe)


def _by_sgd(
    config: ConfigDict, encoder: Callable, sets: EvaluationSets, verbose: str | int
) -> Classified:
    settings = config.evaluation
    return linear_evaluation(
        encoder,
        *sets,
        crops(config),
        epochs=settings.linear_epochs,
        batch_size=settings.linear_batch_size,
        learning_rate=settings.linear_rate,
        seed=config.seed,
        verbose=verbose,
    )


def _fine_tuned(
    config: ConfigDict, encoder: Callable, sets: EvaluationSets, verbose: str | int
) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for percent in config.evaluation.fine_tune:
        _LOG.info("fine-tuning with %g%% of the labels", percent)
        classified = fine_tune(
            encoder, *sets, crops(config), percent=percent, seed=config.seed, verbose=verbose
        )
        numbers |= _tops(f"fine_tuned_{percent:g}", classified)
    return numbers


def _tops(name: str, classified: Classified) -> dict[str, float]:
    tops = ((1, classified.top1), (5, classified.top5))
    return {f"{name}_top{k}": round(top, 4) for k, top in tops if top is not None}


def _spread(
    encoder: Callable,
    features: np.ndarray,
    test_source: Source,
    policies: tuple[Policy, Policy],
    config: ConfigDict,
) -> dict[str, float]:
    """How the features of the test images lie: alignment of two views, uniformity of all."""
    batch = min(config.batch_size, test_source.size)
    views = training_views(
        test_source,
        batch_size=batch,
        policy=policies[0],
        policy_b=policies[1],
        seed=config.seed,
    )
    count = min(_ALIGNED, views.steps_per_epoch * batch)
    sides = (
        views.epoch(0).unbatch().map(lambda view, key=key: view[key]).take(count)
        for key in ("view_a", "view_b")
    )
    of_views = [extract_features(encoder, side) for side in sides]
    return {
        "alignment": round(alignment(*of_views), 4),
        "uniformity": round(uniformity(features), 4),
    }
