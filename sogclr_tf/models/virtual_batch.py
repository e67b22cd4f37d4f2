"""The gradient over a batch of which the activations of one part are held at a time.

Two passes, as in GradCache (Gao et al., arXiv 2101.06983). The first encodes part after part
without a tape; the loss over the whole global batch and its gradient by the projections follow. The
second encodes each part again, with its rows of that gradient handed in, and adds up the gradients
by the weights. That is the gradient of the whole batch, at the cost of one more forward pass.

Where one encoder takes both sides, a part has the first views of some examples and the second views
of others. Together they would share the statistics of a batch normalization, as most other views do
not, and an encoder learns to tell positives by that.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from sogclr_tf.data.finishing import key_of
from sogclr_tf.training import strategy


class Gradient(NamedTuple):
    """What a training step finds of a batch.

    Attributes:
        features: float [n, C], as `ContrastiveModel.encode_batch` gives them for the whole batch.
        logged: {name: float32 scalar}, as `ContrastiveLoss.loss_and_metrics` gives them.
        by_weights: of the model's `trainable_weights`, in their order; None for a weight that takes
            no part.
    """

    features: tf.Tensor
    logged: dict[str, tf.Tensor]
    by_weights: list


def gradient(model: Any, batch: dict[str, tf.Tensor]) -> Gradient:
    """The gradient of a batch in `model.chunks` parts.

    What the encoders keep and draw (moving statistics, states of dropout) is set back between the
    passes. The second draws the same then, and leaves behind what one pass would have left.

    Args:
        model: a `ContrastiveModel`, in a replica of its strategy.
        batch: this replica's.

    Raises:
        ValueError: `model.chunks` does not divide the examples of the batch.
    """
    _check_divides(model.chunks, batch["index"].shape[0])
    loss, begun = model.contrastive_loss, _values(model)
    sides = [model.feature_sides, "a", "b"]
    features, a, b = in_parts(
        model, batch, lambda part: model.encode_batch(part, training=True), sides
    )
    with tf.GradientTape() as tape:
        tape.watch((a, b))
        logged = model.contrast(a, b, model.index_of(batch), training=True)
        scaled = model.optimizer.scale_loss(logged["loss"])
    by_a, by_b, by_loss = tape.gradient(scaled, (a, b, loss.trainable_weights))
    _set_back(begun)
    own = {id(weight): by for weight, by in zip(loss.trainable_weights, by_loss, strict=True)}
    by_weights = [
        own.get(id(weight), by)
        for weight, by in zip(
            model.trainable_weights, _by_weights(model, batch, by_a, by_b), strict=True
        )
    ]
    return Gradient(features, logged, by_weights)


def in_parts(
    model: Any, batch: dict[str, tf.Tensor], encode: Callable, sides: Sequence[str]
) -> list[tf.Tensor]:
    """What `encode` gives of each part, of which it is given what encoders read, put together.

    Args:
        model: a `ContrastiveModel`.
        batch: this replica's.
        encode: function of a part, to a sequence of float [blocks * examples, width].
        sides: of each that it gives, which sides of the batch the blocks are of: "a", "b" or "ab".

    Returns:
        Of the whole batch, in the same order: float32, a block after another.
    """
    if model.chunks == 1:
        return [tf.cast(output, tf.float32) for output in encode(batch)]

    def write(number, *made):
        return [
            array.write(number, tf.cast(output, tf.float32))
            for array, output in zip(made, encode(_part_of(model, batch, number)), strict=True)
        ]

    made = [tf.TensorArray(tf.float32, model.chunks) for _ in sides]
    index = batch["index"]
    examples = (index.shape[0] or tf.shape(index)[0]) // model.chunks
    made = _in_turn(write, made, model.chunks)
    return [
        _whole(model, array.stack(), examples, of) for array, of in zip(made, sides, strict=True)
    ]


def encoding_parts(model: Any) -> list[keras.layers.Layer]:
    """The encoders and projectors: all that takes part in `encode_batch`."""
    others = model.contrastive_loss, getattr(model, "probe", None)
    return [layer for layer in model.layers if all(layer is not other for other in others)]


def encoding_variables(model: Any) -> list[keras.Variable]:
    """All that the encoders and projectors hold, states of what they draw among it."""
    return [variable for part in encoding_parts(model) for variable in part.variables]


def _part_of(model: Any, batch: dict, number: int | tf.Tensor) -> dict[str, tf.Tensor]:
    """What the encoders read of one part of a batch."""
    numbers = number, _part_of_b(model, number)
    return {
        key: _rows(batch[key], of, model.chunks)
        for side, of in zip(model.batch_spec.checks, numbers, strict=True)
        for key in (side, key_of(side))
        if key in batch
    }


def _part_of_b(model: Any, number: int | tf.Tensor) -> int | tf.Tensor:
    """The part of whose examples the sides b are encoded with the sides a of part `number`."""
    return (number + _shift(model)) % model.chunks


def _shift(model: Any) -> int:
    return 1 if model.feature_sides == "ab" else 0


def _check_divides(chunks: int, examples: int | None) -> None:
    if examples is not None and examples % chunks:
        raise ValueError(
            f"a batch of {examples} examples does not divide into {chunks} chunks: take a multiple"
        )


def _by_weights(
    model: Any, batch: dict[str, tf.Tensor], by_a: tf.Tensor, by_b: tf.Tensor
) -> list[tf.Tensor | None]:
    """The gradient by the model's trainable weights, None where none reaches a weight."""
    weights, chunks = model.trainable_weights, model.chunks
    reached: list[bool] = []

    def learn(number, *sums):
        with tf.GradientTape() as tape:
            _, a, b = model.encode_batch(_part_of(model, batch, number), training=True)
            # The weights' own losses count once, and those of outputs are means of examples.
            penalty = model.optimizer.scale_loss(model.penalty() / chunks)
        handed_in = [
            tf.cast(_rows(by_a, number, chunks), a.dtype),
            tf.cast(_rows(by_b, _part_of_b(model, number), chunks), b.dtype),
        ]
        found = tape.gradient(
            (a, b, penalty), weights, output_gradients=[*handed_in, tf.ones_like(penalty)]
        )
        reached[:] = [by is not None for by in found]
        return [
            total if by is None else total + tf.convert_to_tensor(by)
            for total, by in zip(sums, found, strict=True)
        ]

    # No part is encoded again before the first pass is over, whose memory is free by then.
    with tf.control_dependencies([by_a, by_b]):
        zeros = [tf.zeros(weight.shape, weight.dtype) for weight in weights]
    sums = _in_turn(learn, zeros, chunks)
    return [total if known else None for total, known in zip(sums, reached, strict=True)]


def _in_turn(body: Callable, carried: Sequence, count: int) -> list:
    """What `count` turns of body(number, *carried), which gives the next `carried`, leave.

    Each turn waits for the one before, so that the memory of one is in use.
    """
    if strategy.may_loop():
        _, *carried = tf.while_loop(
            lambda number, *_: number < count,
            lambda number, *carried: (number + 1, *body(number, *carried)),
            (0, *carried),
            parallel_iterations=1,
            maximum_iterations=count,
        )
        return carried
    for number in range(count):
        waits_for = [getattr(value, "flow", value) for value in carried]
        with tf.control_dependencies(waits_for):
            carried = body(number, *carried)
    return list(carried)


def _rows(values: tf.Tensor, number: int | tf.Tensor, count: int) -> tf.Tensor:
    """The rows of part `number` of `count`."""
    dynamic, shape = tf.shape(values), values.shape.as_list()
    shape[0] = shape[0] and shape[0] // count
    size = [dynamic[axis] if known is None else known for axis, known in enumerate(shape)]
    if shape[0] is None:
        size[0] = dynamic[0] // count
    begin = [number * size[0], *(0 for _ in shape[1:])]
    return tf.ensure_shape(tf.slice(values, begin, size), shape)


def _whole(model: Any, parts: tf.Tensor, examples: int | tf.Tensor, sides: str) -> tf.Tensor:
    """[parts, blocks * examples, width] as [blocks * parts * examples, width].

    A part holds a block of rows for each of the sides, and so does the whole.
    """
    count, _, width = parts.shape
    blocks = tf.unstack(tf.reshape(parts, [count, len(sides), examples, width]), axis=1)
    blocks = [
        tf.roll(block, _shift(model), axis=0) if side == "b" else block
        for block, side in zip(blocks, sides, strict=True)
    ]
    return tf.reshape(tf.stack(blocks), [-1, width])


def _values(model: Any) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """[(handle in this replica, value)] of what encoding may change."""
    found = [variable.value for variable in encoding_variables(model)]
    return [(value.handle, tf.identity(value)) for value in found]


def _set_back(values: list[tuple[tf.Tensor, tf.Tensor]]) -> None:
    # Raw, because it must write to this replica's resource and ask no strategy to aggregate.
    for handle, value in values:
        tf.raw_ops.AssignVariableOp(resource=handle, value=value)
