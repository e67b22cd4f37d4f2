"""The global objective itself, over all examples: what a small batch can only estimate."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from sogclr_tf.data.stream import Stream
from sogclr_tf.evaluation import caption_objective
from sogclr_tf.evaluation.all_pairs import AllPairs
from sogclr_tf.evaluation.projections import in_batches, project_all, projecting
from sogclr_tf.models import caption_checks, examples_check, input_checks, own_batches
from sogclr_tf.models.contrastive import ContrastiveModel


class ExactObjective(NamedTuple):
    """The objective and its gradient.

    Attributes:
        value: F, a float.
        gradient_norm: the Euclidean norm of all of `gradients` together, a float.
        gradients: list of float32 arrays: of the model's `trainable_weights`, in their order and
            without those of the loss; or, where projections were given, of these: [of a, of b],
            each [N, D].
    """

    value: float
    gradient_norm: float
    gradients: list


def exact_global_objective(
    model_or_projections: ContrastiveModel | Sequence[np.ndarray],
    data: Any = None,
    *,
    temperature: float | np.ndarray | None = None,
    negatives: str | None = None,
    block: int = 1024,
    image: np.ndarray | None = None,
) -> ExactObjective:
    """F of arXiv 2202.12387 over all N examples, by comparing each view with every other.

        F = mean over the 2N anchors of [ -<z, z+> + temperature * log g(z) ],
        g(z) = mean over all 2(N-1) negatives z- of exp(<z, z-> / temperature)

    `GlobalContrastiveLoss` estimates F by its value, and twice F's gradient by its gradient. Where
    the model's loss learns temperatures, they are those of by now, held fixed, and rho counts, as
    its epsilon does. Of images and texts (`TwoWayGlobalContrastiveLoss`, whose value and gradient
    estimate F's own; with "unscaled" they estimate F / temperature) each side is told from the
    other alone.

        exact_global_objective(model, views)                    # gradient by the encoder's weights
        exact_global_objective((a, b), temperature=0.1)         # gradient by the projections

    Time grows with the square of N: 50,000 examples of 128 dimensions take minutes on two CPU
    cores. Memory grows with N alone, by the projections and their gradients.

    Args:
        model_or_projections: a `SogCLR` or `TwoTowerSogCLR` model, which is called in inference
            mode, so that each projection depends on its own view alone; or the pair (a, b) of raw
            projections, float [N, D], row by row the two views of the same examples.
        data: with a model, the views of all N examples: a finite tf.data.Dataset or a dictionary of
            arrays, as the model's `fit` takes them, or a stream, for its epoch 0 without the
            examples that fill no batch. It is read twice and must say the same twice.
        temperature: float > 0, or float [N], one for each example in the order of the data, or
            [2N], for the anchors of a and then of b. By default that of the model's loss; needed
            with projections.
        negatives: "both" or "other", as for the losses. By default that of the model's loss, or
            "both".
        block: int >= 1, anchors that are compared at once with as many others.
        image: with projections of images and texts, int [N], the image that each row is of, where
            images have several captions: a has an image's projection once for each, b the
            captions', and F is that of `TwoWayGlobalContrastiveLoss` with `num_captions`. A model
            is given its data so, with a "caption_index"; of a stream epoch 0 shows one caption of
            each image, and F is that of these.

    Returns:
        `ExactObjective`. The encoder's regularization losses are no part of it.

    Raises:
        ValueError: an argument is missing or out of range, the projections are not [N, D] twice
            with N >= 2, a float image lies outside 0..1, an index occurs twice in the data, the
            data gave other examples when it was read again, or a stream is of others than those
            that the loss learned temperatures of.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> rng = np.random.default_rng(0)
        >>> a = rng.normal(size=[100, 16]).astype("float32")  # projections of all examples
        >>> near = sogclr_tf.exact_global_objective((a, a + 0.1 * a[::-1]), temperature=0.1)
        >>> far = sogclr_tf.exact_global_objective((a, a[::-1]), temperature=0.1)
        >>> bool(near.value < far.value)
        True
    """
    if isinstance(model_or_projections, (tuple, list)):
        if temperature is None:
            raise ValueError("projections were given without a temperature: give temperature=...")
        a, b = (np.asarray(x, np.float32) for x in model_or_projections)
        negatives = negatives or ("both" if image is None else "other")
        value, gradients = _of_projections(a, b, temperature, negatives, block, image=image)
    else:
        if image is not None:
            raise ValueError("image was given with a model: its data say which image a row is of")
        with input_checks.clear_errors():
            value, gradients = _of_model(model_or_projections, data, temperature, negatives, block)
    squares = (np.square(gradient, dtype=np.float64).sum() for gradient in gradients)
    return ExactObjective(value, float(np.sqrt(sum(squares))), gradients)


def _of_model(model, data, temperature, negatives, block):
    """(F, its gradient by the trainable weights)."""
    if data is None:
        raise ValueError("a model was given without data: give the views of all examples")
    batches, loss = in_batches(model.prepare_dataset(_stream(data))), model.contrastive_loss
    project = projecting(model)
    pull_back = _pulling_back(model, project)
    a, b, index = project_all(batches, project, index_of=model.index_of)
    of_loss: dict[str, Any] = {"image": index[:, 0]} if index.ndim == 2 else {}
    if model.batch_spec.captioned:
        caption_checks.check(index.ndim == 2, loss)
    if temperature is None:
        temperature, rho = loss.temperatures_and_rho(index)
        of_loss |= {"rho": rho, "epsilon": loss.epsilon}
        if isinstance(data, Stream) and np.ndim(temperature):
            # Only then they are those of examples; other examples have a temperature for all too.
            examples_check.compare(model, data.source)
    negatives = negatives or loss.negatives
    value, of_views = _of_projections(a, b, temperature, negatives, block, **of_loss)
    total = [np.zeros(weight.shape, np.float32) for weight in _encoder_weights(model)]
    start = 0
    for batch in batches:
        rows = slice(start, start + len(batch["index"]))
        start = rows.stop
        if not np.array_equal(model.index_of(batch), index[rows]):
            raise ValueError(
                "the data gave other examples when it was read again: give it in a fixed order"
            )
        gradients = pull_back(batch, *(gradient[rows] for gradient in of_views))
        for sums, part in zip(total, gradients, strict=True):
            sums += tf.convert_to_tensor(part).numpy()
    return value, total


def _stream(data):
    return data.epoch(0) if isinstance(data, Stream) else own_batches.checked(data)


def _encoder_weights(model):
    """The trainable weights but for those of the loss, a temperature, which is held fixed."""
    of_loss = {id(weight) for weight in model.contrastive_loss.trainable_weights}
    return [weight for weight in model.trainable_weights if id(weight) not in of_loss]


def _pulling_back(model, project):
    """A compiled function: the gradient by the encoder's weights, from that by the projections.

    pull_back(batch, of_a, of_b), of what `project` makes of the batch.
    """

    def pull_back(batch, of_a, of_b):
        with tf.GradientTape() as tape:
            projections = project(batch)
        return tape.gradient(
            projections,
            _encoder_weights(model),
            output_gradients=[of_a, of_b],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    return tf.function(pull_back, reduce_retracing=True)


def _of_projections(a, b, temperature, negatives, block, rho=0.0, epsilon=0.0, image=None):
    """(F, [its gradient by a, by b]), from raw projections float32 [N, D]."""
    if image is not None and negatives != "other":
        raise ValueError(
            f"negatives is '{negatives}': images with several captions are told from texts, and "
            "texts from images, so negatives='other'"
        )
    pairs = AllPairs(a, b, temperature, negatives, block, image)
    log_sum = pairs.log_sums()
    log_g = pairs.log_mean_of(log_sum)
    value_and_weights = _value_and_weights if image is None else caption_objective.value_and_weights
    value, log_weight = value_and_weights(pairs, log_g, rho, epsilon)
    # As an anchor and as the positive of its partner.
    weight = np.exp(log_weight).astype(np.float32)
    weight += np.roll(weight, len(a))
    attraction = pairs.attraction((log_sum - log_weight).astype(np.float32))
    gradient = (attraction - weight[:, np.newaxis] * pairs.partner) / (2 * pairs.images)
    # Normalization passes on what stands at a right angle to the projection.
    gradient -= pairs.z * np.einsum("nd,nd->n", pairs.z, gradient)[:, np.newaxis]
    return value, np.split(gradient / pairs.length, 2)


def _value_and_weights(pairs, log_g, rho, epsilon):
    """(F, the log of each anchor's weight in it), where every row is an image of its own."""
    log_epsilon = math.log(epsilon) if epsilon else -math.inf
    # It stands beside a g of differences from the positive.
    floored = np.logaddexp(log_epsilon + pairs.positive / pairs.temperature, log_g)
    value = np.mean(pairs.temperature * (floored + rho) - pairs.positive, dtype=np.float64)
    return float(value), log_g - floored
