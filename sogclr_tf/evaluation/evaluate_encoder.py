"""An encoder's scores by its frozen features: neighbors, and a linear probe."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources.labels import checked_labels
from sogclr_tf.evaluation import checks
from sogclr_tf.evaluation.features import CompiledEncoder, extract_features
from sogclr_tf.evaluation.linear_probe import fit_linear_probe
from sogclr_tf.evaluation.neighbors import votes_of_neighbors
from sogclr_tf.evaluation.scores import Classified, accuracy, classify


@dataclasses.dataclass(frozen=True)
class EncoderScores:
    """How good frozen features are, with the features themselves for further use.

    Attributes:
        knn_top1: {k: accuracy of `knn_predict` with k neighbors on the test images, in 0..1}.
        linear: `Classified` by the linear probe on the test images; None where it was left out.
        train_features: float32 [N, C], the encoder's output for the training images.
        test_features: float32 [M, C], the same for the test images.
    """

    knn_top1: dict[int, float]
    linear: Classified | None
    train_features: np.ndarray = dataclasses.field(repr=False, compare=False)
    test_features: np.ndarray = dataclasses.field(repr=False, compare=False)


def evaluate_encoder(
    encoder: Callable,
    train_images: Any,
    train_labels: Any,
    test_images: Any,
    test_labels: Any,
    *,
    k: int | Sequence[int] = (20, 200),
    temperature: float = 0.07,
    linear_probe: bool = True,
    seed: int = 0,
    batch_size: int = 256,
) -> EncoderScores:
    """Scores an encoder on labeled images it need not have seen labels of.

    The encoder sees every image once. A class that the training images lack counts as wrong.

    Args:
        encoder: images [B, H, W, C] in 0..1 -> features [B, C]: a Keras model, or what
            `sogclr_tf.load_encoder` gives.
        train_images: N images, in a form that `extract_features` takes.
        train_labels: integers [N] from 0.
        test_images: M images, in a form that `extract_features` takes.
        test_labels: integers [M] from 0.
        k: neighbors that vote in `knn_predict`, one number or several; () for no kNN.
        temperature: of the votes in `knn_predict`, above 0.
        linear_probe: whether to fit one by `fit_linear_probe`; not where
            `sogclr_tf.linear_evaluation` takes its place.
        seed: of the held-out tenth in `fit_linear_probe`.
        batch_size: images that the encoder sees at a time.

    Returns:
        `EncoderScores`.

    Raises:
        ValueError: labels that are missing, not integers from 0, of fewer than two classes or of
            another number than the images; images that `extract_features` refuses; or another
            argument that is not as above.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> labels = np.arange(60) % 2
        >>> images = np.zeros([60, 8, 8, 3], np.uint8)
        >>> images[np.arange(60), :, :, 2 * labels] = 255  # red ones and blue ones
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> train, test = (images[:40], labels[:40]), (images[40:], labels[40:])
        >>> scores = sogclr_tf.evaluate_encoder(encoder, *train, *test, k=5)
        >>> scores.knn_top1, scores.linear.top1
        ({5: 1.0}, 1.0)
    """
    train_labels = checked_labels(train_labels, "train_labels", classes=2)
    test_labels = checked_labels(test_labels, "test_labels")
    ks = tuple(np.atleast_1d(k).tolist())
    # Before the minutes that the encoder takes.
    checks.check_votes(ks, temperature)
    if not ks and not linear_probe:
        raise ValueError("k is empty and linear_probe False: there is nothing to evaluate by.")
    for name, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        # Of a data set the number is not known beforehand.
        if not isinstance(images, tf.data.Dataset):
            checks.check_lengths(f"{name}_images", images, f"{name}_labels", labels)
    encoder = CompiledEncoder(encoder)
    train_features = extract_features(encoder, train_images, batch_size)
    test_features = extract_features(encoder, test_images, batch_size)
    checks.check_lengths("train_images", train_features, "train_labels", train_labels)
    checks.check_lengths("test_images", test_features, "test_labels", test_labels)
    checks.checked_features(train_features, train_labels, test_features)
    classes = int(train_labels.max()) + 1
    votes = {}
    if ks:
        votes = votes_of_neighbors(
            train_features, train_labels, test_features, ks, temperature, classes
        )
    linear = None
    if linear_probe:
        probe = fit_linear_probe(train_features, train_labels, seed=seed)
        linear = dataclasses.replace(
            classify(probe.scores(test_features), test_labels), probe=probe
        )
    return EncoderScores(
        knn_top1={k: accuracy(predicted == test_labels) for k, predicted in votes.items()},
        linear=linear,
        train_features=train_features,
        test_features=test_features,
    )
