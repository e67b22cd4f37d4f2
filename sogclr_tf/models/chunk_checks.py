"""What goes wrong in chunks alone, said before the first step."""

import logging
from typing import Any

import tensorflow as tf

# Private to TensorFlow, seen in 2.21: which variables an operation reads and which it writes.
from tensorflow.python.framework import auto_control_deps_utils

from sogclr_tf.models import virtual_batch
from sogclr_tf.models.batch_norm import batch_norms

_LOG = logging.getLogger("sogclr_tf")
# Operations that run a user's Python, of which nothing is known.
_PYTHON = ("PyFunc", "EagerPyFunc", "PyFuncStateless")


def check_replayable(model: Any, elements: dict[str, Any]) -> None:
    """Raises ValueError where encoding a chunk again would not give what it gave before.

    What is drawn by the state of a `keras.random.SeedGenerator` of a layer is drawn again, as all
    that a layer keeps in weights is set back. What TensorFlow draws by a hidden count is not, nor
    what a layer keeps in variables of its own.

    Args:
        model: a built `ContrastiveModel`.
        elements: {key: array or tf.TensorSpec} of its batches.
    """
    specs = {
        key: tf.TensorSpec([None, *elements[key].shape[1:]], elements[key].dtype)
        for key in model.batch_spec.checks
    }
    variables = virtual_batch.encoding_variables(model)
    with model.distribute_strategy.scope():
        encode = tf.function(lambda part: model.encode_batch(part, training=True), autograph=False)
        graph = encode.get_concrete_function(specs).graph
        # Captured as there, whichever handles a strategy has of a variable.
        read = tf.function(lambda: [tf.identity(v.value) for v in variables], autograph=False)
        weights = {id(handle) for handle, _ in read.get_concrete_function().graph.captures}
    mend = (
        f"so that chunks={model.chunks} cannot encode an image twice alike: draw by keras.random "
        "with a keras.random.SeedGenerator of the layer, keep state in add_weight, or leave chunks "
        "out"
    )
    drawn = _drawn_by_count(graph.as_graph_def(add_shapes=False))
    if drawn:
        raise ValueError(f"the encoder draws at random, or runs Python, in '{drawn}', {mend}")
    kept = _kept_elsewhere(graph, weights)
    if kept:
        raise ValueError(f"the encoder changes '{kept}', which is none of its weights, {mend}")


def warn_of_batch_norm(model: Any) -> None:
    """Warns where batch statistics are those of a chunk, which makes the training another one."""
    parts = virtual_batch.encoding_parts(model)
    layers = [layer for part in parts for layer in batch_norms(part) if layer.trainable]
    if model.chunks == 1 or not layers:
        return
    names = ", ".join(layer.name for layer in layers[:3]) + (", ..." if len(layers) > 3 else "")
    _LOG.warning(
        "%d trainable BatchNormalization layers (%s) take statistics of one of %d chunks alone, so "
        'that training differs from that on whole batches: ResNet(normalization="group") and '
        'projection_head(normalization="layer") have none',
        len(layers),
        names,
        model.chunks,
    )


def _drawn_by_count(graph: Any) -> str | None:
    """The name of an operation that gives something else each time it runs, if there is one."""
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    for node in (node for body in bodies for node in body):
        counts = "seed" in node.attr and "seed2" in node.attr
        # A recurrent network of cuDNN has seeds for its dropout, where it has some.
        without = "dropout" in node.attr and node.attr["dropout"].f == 0.0
        if (counts and not without) or node.op in _PYTHON:
            return node.name
    return None


def _kept_elsewhere(graph: tf.Graph, weights: set[int]) -> str | None:
    """The name of a variable that encoding changes and that is no weight, if there is one.

    Args:
        graph: of encoding.
        weights: the ids of the handles of all that may change.
    """
    outside = {id(inner): outer for outer, inner in graph.captures}
    names = {id(variable.handle): variable.name for variable in graph.variables}
    for operation in graph.get_operations():
        _, written = auto_control_deps_utils.get_read_write_resource_inputs(operation)
        for handle in map(id, written):
            changed = id(outside.get(handle))
            if handle in outside and changed not in weights:
                return names.get(changed, operation.name)
    return None
