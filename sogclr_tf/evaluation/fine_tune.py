"""Fine-tune an encoder on a share of the labels, to measure what it spares of them."""

import math

import keras

from sogclr_tf.data import labeled
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.subset import subset
from sogclr_tf.error_line import first_line
from sogclr_tf.evaluation import linear_evaluation
from sogclr_tf.evaluation.scores import Classified

# Big Transfer (arXiv 1912.11370) takes as many steps on any set of up to 20,000 images.
_LEAST_STEPS = 500


def fine_tune(
    encoder: keras.Model,
    train_source: Source,
    test_source: Source,
    policy: Policy,
    *,
    percent: float,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 0.05,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Classified:
    """Trains a copy of an encoder with a linear head on some labels, and tells how good it is.

    The semi-supervised protocol of SimCLR (arXiv 2002.05709, appendix B.5): all weights, stochastic
    gradient descent with Nesterov momentum 0.9, no weight decay, no warm-up, a learning rate of
    0.05 * batch_size / 256. It falls to 0 along a cosine here. The paper's batch is 4,096.

    Args:
        encoder: Keras model, images [B, H, W, C] in 0..1 -> features [B, C]; left as it is.
        train_source: `sogclr_tf.Source` with labels of at least two classes.
        test_source: `Source` with labels, whose images are seen whole.
        policy: `Policy` of the training images, such as `sogclr_tf.crops_and_flips(size)`; test
            images are resized to its size.
        percent: share of the labels, in (0, 100], drawn by `sogclr_tf.data.sources.subset.subset`.
        epochs: int >= 1. By default the paper's, 60 for less than 10 percent and 30 from there on,
            but as many as make 500 steps: the paper's would hardly move a few hundred images.
        batch_size: B, int >= 2; the number of images in the subset where that is less. By default a
            tenth of that number, within 32..1024, so that small sets do not see each image hundreds
            of times.
        learning_rate: for a batch of 256 images, above 0; scaled by B / 256.
        seed: of the subset, the order and the views.
        verbose: Keras's: "auto" or 1 for a bar of progress, 0 for none, 2 for a line at the end.

    Returns:
        `Classified`.

    Raises:
        TypeError: the encoder is no Keras model, such as one from a SavedModel.
        ValueError: labels are missing, a class has none in the subset, the encoder takes images of
            another size, cannot be copied or gives no features [B, C], or an argument is out of
            range.
        FloatingPointError: training diverged.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> labels = np.arange(80) % 2
        >>> images = np.zeros([80, 16, 16, 3], np.uint8)
        >>> images[np.arange(80), :, :, 2 * labels] = 255  # red ones and blue ones
        >>> train = sogclr_tf.ArraySource(images[:60], labels[:60])
        >>> test = sogclr_tf.ArraySource(images[60:], labels[60:])
        >>> encoder = keras.Sequential([keras.Input((16, 16, 3))])
        >>> encoder.add(keras.layers.GlobalAveragePooling2D())
        >>> encoder.add(keras.layers.Dense(3, kernel_initializer="identity"))
        >>> policy = sogclr_tf.crops_and_flips(16)
        >>> scores = sogclr_tf.fine_tune(
        ...     encoder, train, test, policy, percent=50, epochs=10, verbose=0
        ... )
        >>> scores.top1, scores.predictions[:4].tolist()
        (1.0, [0, 1, 0, 1])
    """
    copy = copied(encoder)
    train_labels, test_set = linear_evaluation.checked_sets(
        encoder, train_source, test_source, policy
    )
    share = subset(train_source, percent, seed)
    batch_size = min(batch_size or _default_batch(share.size), share.size)
    views = labeled.labeled_views(share, batch_size, policy, seed)
    model = linear_evaluation.Classifier(copy, int(train_labels.max()) + 1, frozen=False)
    epochs = epochs or _default_epochs(percent, views.steps_per_epoch)
    linear_evaluation.train(model, views, epochs * views.steps_per_epoch, learning_rate, verbose)
    return linear_evaluation.classify_images(model, train_labels, *test_set)


def copied(encoder: keras.Model) -> keras.Model:
    """A Keras model of the same layers and weights, all of which can be trained.

    Raises:
        TypeError: it is no Keras model.
        ValueError: it cannot be made from its configuration.
    """
    if not isinstance(encoder, keras.Model):
        raise TypeError(
            f"{encoder!r} cannot be fine-tuned, as it is no Keras model: load the checkpoint or "
            "the .keras file of the encoder"
        )
    try:
        copy = type(encoder).from_config(encoder.get_config())
        if not copy.built:
            copy.build(encoder.input_shape)
        copy.set_weights(encoder.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"the encoder '{encoder.name}' cannot be copied to be fine-tuned "
            f"({first_line(error)}): give its class get_config and build"
        ) from error
    copy.trainable = True
    return copy


def _default_batch(images: int) -> int:
    return min(max(images // 10, 32), 1024)


def _default_epochs(percent: float, steps_per_epoch: int) -> int:
    return max(60 if percent < 10 else 30, math.ceil(_LEAST_STEPS / steps_per_epoch))
