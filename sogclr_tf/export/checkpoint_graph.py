"""The objects that a checkpoint of TensorFlow holds, and what a Keras optimizer keeps of them."""

from collections.abc import Sequence
from typing import Any

from tensorflow.core.protobuf import trackable_object_graph_pb2


def nodes_of(reader: Any) -> Sequence[Any]:
    """The objects of the checkpoint that `tf.train.load_checkpoint` reads, by their numbers."""
    graph = reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    return trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes


def children(nodes: Sequence[Any], node: int | None) -> dict[str, int]:
    """{name: number} of the children of a node; none of None."""
    return {} if node is None else {x.local_name: x.node_id for x in nodes[node].children}


def parts_of_model(nodes: Sequence[Any]) -> dict[str, int]:
    """{attribute: number} of the parts of the model; none where the checkpoint has no model."""
    return children(nodes, children(nodes, 0).get("model"))


def below(nodes: Sequence[Any], node: int) -> set[int]:
    """The numbers of all nodes below one, and its own."""
    found, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(children(nodes, node).values())
    return found


def stored(nodes: Sequence[Any], node: int | None) -> Any:
    """What a checkpoint says of a variable, with `checkpoint_key` and `full_name`, or None."""
    return next(iter(nodes[node].attributes), None) if node is not None else None


def averages(nodes: Sequence[Any], reader: Any) -> dict[int, int]:
    """{number of a weight: that of its average}, as a model's optimizer with `use_ema` keeps them.

    Empty where it keeps none, or has made no step, before which they are 0.

    Args:
        nodes: of a checkpoint of `sogclr_tf.Checkpoints`.
        reader: of the same, `tf.train.load_checkpoint`.
    """
    optimizer = parts_of_model(nodes).get("optimizer")
    found: dict[int, int] = {}
    # Those inside one that scales the loss, or of several, as well.
    for part in below(nodes, optimizer) if optimizer is not None else ():
        parts = children(nodes, part)
        steps = stored(nodes, parts.get("_iterations"))
        kept = children(nodes, parts.get("_model_variables_moving_average"))
        if not kept or not steps or not reader.get_tensor(steps.checkpoint_key):
            continue
        weights = children(nodes, parts.get("_trainable_variables"))
        found |= {weights[place]: average for place, average in kept.items()}
    return found
