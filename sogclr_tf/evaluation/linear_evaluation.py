"""Linear evaluation as papers do it: a head trained on views of what a frozen encoder sees."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.data import augment, labeled
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.labels import check_labeled, checked_labels
from sogclr_tf.data.sources.readable import clear_errors
from sogclr_tf.evaluation.features import CompiledEncoder, check_output, extract_features
from sogclr_tf.evaluation.scores import Classified, classify
from sogclr_tf.models import input_checks
from sogclr_tf.models.encoder_checks import check_usable
from sogclr_tf.models.linear_probe import LinearProbe
from sogclr_tf.training import schedules
from sogclr_tf.training.callbacks import StopAtNonFiniteLoss
from sogclr_tf.training.progress import Progress


def linear_evaluation(
    encoder: Callable,
    train_source: Source,
    test_source: Source,
    policy: Policy,
    *,
    epochs: int = 90,
    batch_size: int = 256,
    learning_rate: float = 0.1,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Classified:
    """Trains a linear classifier on a frozen encoder, and tells how good it is.

    The protocol of SimCLR (arXiv 2002.05709, appendix B.6): stochastic gradient descent with
    Nesterov momentum 0.9, no weight decay, no warm-up, a learning rate of 0.1 * batch_size / 256
    that falls to 0 along a cosine. The encoder is in inference mode and left as it is, to the bit.
    Test images are seen whole, the largest part in their middle that has the proportions of the
    views; the paper cuts off another eighth.

    Args:
        encoder: images [B, H, W, C] in 0..1 -> features [B, C]: a Keras model, or what
            `sogclr_tf.load_encoder` gives.
        train_source: `sogclr_tf.Source` with labels of at least two classes.
        test_source: `Source` with labels.
        policy: `Policy` of the training images, such as `sogclr_tf.crops_and_flips(size)`; test
            images are resized to its size.
        epochs: int >= 1.
        batch_size: B, int >= 2; the number of images where that is less.
        learning_rate: for a batch of 256 images, above 0; scaled by B / 256.
        seed: of the order and the views, which are a function of it, the epoch and the index.
        verbose: Keras's: "auto" or 1 for a bar of progress, 0 for none, 2 for a line at the end.

    Returns:
        `Classified`. A class that the training images lack counts as wrong.

    Raises:
        ValueError: labels are missing, the encoder takes images of another size or gives no
            features [B, C], or an argument is out of range.
        FloatingPointError: training diverged.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> labels = np.arange(80) % 2
        >>> images = (255 * labels[:, None, None, None] * np.ones([80, 8, 8, 3])).astype(np.uint8)
        >>> train = sogclr_tf.ArraySource(images[:60], labels[:60])
        >>> test = sogclr_tf.ArraySource(images[60:], labels[60:])
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> policy = sogclr_tf.crops_and_flips(8)
        >>> scores = sogclr_tf.linear_evaluation(
        ...     encoder, train, test, policy, epochs=5, batch_size=20, verbose=0
        ... )
        >>> print(scores.top1)
        1.0
    """
    train_labels, test_set = checked_sets(encoder, train_source, test_source, policy)
    batch_size = min(batch_size, train_source.size)
    views = labeled.labeled_views(train_source, batch_size, policy, seed)
    model = Classifier(encoder, int(train_labels.max()) + 1, frozen=True)
    train(model, views, epochs * views.steps_per_epoch, learning_rate, verbose)
    classified = classify_images(model, train_labels, *test_set)
    return dataclasses.replace(classified, probe=_probe(model.head, train_labels))


class Classifier(keras.Model):
    """An encoder and a linear head: images uint8, or float in 0..1 -> scores float32 [B, K].

    Args:
        encoder: images [B, H, W, C] in 0..1 -> features [B, C].
        classes: K.
        frozen: whether the encoder is in inference mode always, and none of its weights trained.
    """

    def __init__(
        self, encoder: Callable, classes: int, *, frozen: bool, name: str = "classifier"
    ) -> None:
        super().__init__(name=name)
        # Keras finds and trains the weights of layers, but not of those inside a function.
        self._features = CompiledEncoder(encoder) if frozen else encoder
        # From zeros nothing need be drawn, and no first step spoils the encoder.
        self.head = keras.layers.Dense(
            classes, kernel_initializer="zeros", dtype="float32", name="head"
        )

    @property
    def trained_steps(self) -> int:
        """Steps of training so far."""
        return int(self.optimizer.iterations)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.head(self._features(augment.as_float(images), training=training))


def _probe(layer: keras.layers.Dense, train_labels: np.ndarray) -> LinearProbe:
    """The `LinearProbe` that a trained layer is; classes without examples are out of question."""
    kernel, bias = layer.get_weights()
    bias[np.setdiff1d(np.arange(len(bias)), train_labels)] = -np.inf
    return LinearProbe(np.zeros(len(kernel), np.float32), kernel, bias)


def checked_sets(
    encoder: Callable, train_source: Source, test_source: Source, policy: Policy
) -> tuple[np.ndarray, tuple]:
    """(training labels int32 [N], (test images, test labels)), checked before hours are spent.

    Raises:
        ValueError: as `linear_evaluation`.
    """
    size = policy.image_size
    for source in (train_source, test_source):
        check_labeled(source)
    check_usable(encoder)
    shape = (*size, train_source.pixel_format.channels)
    input_checks.check_encoder("image", (None, *shape), encoder)
    check_output(encoder(tf.zeros([1, *shape]), training=False))
    train_labels = train_source.images_and_labels()[1]
    checked_labels(train_labels, f"labels of {train_source.name}", classes=2)
    return train_labels, evaluation_set(test_source, size)  # type: ignore[return-value]


def train(
    model: Classifier,
    views: labeled.LabeledViews,
    steps: int,
    learning_rate: float,
    verbose: str | int,
) -> None:
    """Trains a `Classifier` by SGD with Nesterov momentum and a cosine to 0, without decay.

    Args:
        model: `Classifier`.
        views: `LabeledViews`.
        steps: int >= 1, of one bar of progress.
        learning_rate: for a batch of 256 images, above 0; scaled in proportion.
        verbose: as for `linear_evaluation`.

    Raises:
        ValueError: an argument is out of range.
        FloatingPointError: the loss is not finite.
    """
    peak = schedules.scaled_learning_rate(learning_rate, views.batch_size, "linear")
    rate = schedules.warmup_cosine(peak, total_steps=steps, warmup_steps=0)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = views.stream().map(lambda batch: (batch["image"], batch["label"]))
    with clear_errors(views.source):
        model.fit(
            batches,
            steps_per_epoch=steps,
            callbacks=[
                StopAtNonFiniteLoss(f"Choose a learning_rate below {learning_rate}"),
                *([Progress()] if verbose else []),
            ],
            verbose=verbose,
            shuffle=False,
        )


def classify_images(
    model: Classifier, train_labels: np.ndarray, images: Any, labels: np.ndarray
) -> Classified:
    """`Classified` of whole images by a trained `Classifier`.

    Args:
        model: `Classifier`.
        train_labels: int [N], of its training.
        images: M images, in a form that `extract_features` takes.
        labels: int [M].
    """
    scores = extract_features(model, images)
    # They were pushed down, but might come among the five highest.
    scores[:, np.setdiff1d(np.arange(scores.shape[1]), train_labels)] = -np.inf
    return classify(scores, labels)
