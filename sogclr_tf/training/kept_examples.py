"""The names of the examples whose rows a checkpoint's tables hold, and tables for other examples.

Beside the checkpoints lies a file of names for every collection that one of them was trained on,
called by the collection's fingerprint, which is a weight in the checkpoint: so that a checkpoint
finds its names whatever was written, or not written any more, before or after it.
"""

import contextlib
import functools
import logging
import pathlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from sogclr_tf.example_names import Collection, ExampleNames, check_same, names_of

_LOG = logging.getLogger("sogclr_tf")

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
# What a truncated checkpoint shows as.
_UNREADABLE = (tf.errors.OpError, IndexError, ValueError)
_FINGERPRINT = "model/_examples/.ATTRIBUTES/VARIABLE_VALUE"
# What models did not remember in version 0.2: nothing is known of it.
_MEMORY = ("_examples", "_stream_position")


def names_file(folder: pathlib.Path, fingerprint: int) -> pathlib.Path:
    """Where the names of this fingerprint lie."""
    return folder / f"examples-{fingerprint:016x}.npz"


def keep_names(folder: pathlib.Path, model: Any) -> None:
    """Writes the names that a model knows into a folder of checkpoints, unless they lie there."""
    file = names_file(folder, model.examples_fingerprint)
    names = None if file.exists() else model.known_examples()
    if names is not None:
        folder.mkdir(parents=True, exist_ok=True)
        names.save(file)


def forget_names(folder: pathlib.Path, prefixes: Iterable[str]) -> None:
    """Removes all names but those of these checkpoints; none where one cannot be read."""
    files = set(folder.glob("examples-*.npz"))
    if len(files) < 2:
        return
    try:
        needed = {names_file(folder, fingerprint_of(prefix)) for prefix in prefixes}
    except _UNREADABLE:
        return
    for path in files - needed:
        path.unlink(missing_ok=True)


def fingerprint_of(prefix: str) -> int:
    """That of the examples of a checkpoint's tables; 0 of a checkpoint that does not say it."""
    reader = tf.train.load_checkpoint(prefix)
    return int(reader.get_tensor(_FINGERPRINT)) if reader.has_tensor(_FINGERPRINT) else 0


def check_newest(folder: pathlib.Path, prefixes: list[str], source: Collection) -> None:
    """Raises ValueError where the newest checkpoint that can be read is of other examples.

    Args:
        folder: of the checkpoints.
        prefixes: all of them, the newest first.
        source: the examples to go on with.
    """
    for prefix in prefixes:
        try:
            fingerprint = fingerprint_of(prefix)
        except _UNREADABLE:
            continue
        if not fingerprint:
            return
        file = names_file(folder, fingerprint)
        kept = functools.partial(ExampleNames.load, file)
        check_same(source.name, names_of(source), fingerprint, kept)
        return


@contextlib.contextmanager
def fitting(prefix: str, model: Any, grow: Collection | None) -> Iterator[str]:
    """A checkpoint to restore `model` from, in place of one that has not what the model has.

    It is another one, gone at the end, where the tables' rows must go to other places, or where
    the checkpoint, of version 0.2, lacks the fingerprint; all else in it is the same.

    Args:
        prefix: of the checkpoint.
        model: with a `contrastive_loss`, whose `tables` are to hold the rows.
        grow: the examples that the rows are to belong to; None for those they belong to.

    Raises:
        ValueError: the checkpoint does not say whose its rows are, or more examples come than the
            tables have rows.
    """
    reader, graph = _opened(prefix)
    changed: dict[str, Any] = {}
    if grow is not None and model.contrastive_loss.has_table:
        if names_of(grow).fingerprint != fingerprint_of(prefix):
            changed = _grown(prefix, reader, graph, model.contrastive_loss, grow)
    elif not reader.has_tensor(_FINGERPRINT):
        changed = _with_memory(graph, model)
    if not changed:
        yield prefix
        return
    tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    tensors |= changed
    with tempfile.TemporaryDirectory() as folder, tf.device("CPU:0"):
        other = f"{folder}/checkpoint"
        tf.raw_ops.SaveV2(
            prefix=other,
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.convert_to_tensor(tensor) for tensor in tensors.values()],
        )
        yield other


def other_rows(prefix: str, loss: Any) -> str | None:
    """How many rows a checkpoint's tables have, as text, where a loss's have another number.

    None where they have the same, or the checkpoint cannot be read or is of another model.
    """
    try:
        reader, graph = _opened(prefix)
        keys = _keys_of(loss, graph)
    except (*_UNREADABLE, StopIteration):
        return None
    shapes, of_captions = reader.get_variable_to_shape_map(), _caption_tables(loss)
    for table, _ in loss.tables:
        shape = shapes.get(keys.get(id(table)), table.shape)
        what = "num_captions" if id(table) in of_captions else "num_examples"
        if tuple(shape) != tuple(table.shape):
            return (
                f"it has {what}={shape[0]}, this model has {what}={table.shape[0]}; "
                "restore(grow=views.source) carries the rows of the same examples over"
            )
    return None


def _opened(prefix):
    """(reader of a checkpoint, its object graph)."""
    reader = tf.train.load_checkpoint(prefix)
    stored = reader.get_tensor(_GRAPH)
    return reader, trackable_object_graph_pb2.TrackableObjectGraph.FromString(stored)


def _caption_tables(loss):
    """The ids of the tables that have a row per caption."""
    return {id(table) for table in loss.caption_tables}


def _grown(prefix, reader, graph, loss, grow):
    """{key: value} of the tables, their rows carried over by name, and of the fingerprint."""
    folder, fingerprint = pathlib.Path(prefix).parent, fingerprint_of(prefix)
    old, names = ExampleNames.load(names_file(folder, fingerprint)), names_of(grow)
    if old is None:
        lost = f"{names_file(folder, fingerprint)} is missing or broken"
        raise ValueError(
            "its rows cannot be carried over by name: "
            + (lost if fingerprint else "it does not say whose they are")
        )
    if (old.captions is None) != (names.captions is None):
        raise ValueError(
            "its rows cannot be carried over by name: images had one text each and have several "
            "captions now, or the other way round, so begin with a new loss"
        )
    rows = {"examples": names.rows_in(old)}
    if names.captions is not None:
        rows["captions"] = names.caption_rows_in(old)
    changed = {_FINGERPRINT: np.int64(names.fingerprint)}
    keys, of_captions = _keys_of(loss, graph), _caption_tables(loss)
    for table, initial in loss.tables:
        what = "captions" if id(table) in of_captions else "examples"
        stored = reader.get_tensor(keys[id(table)])
        changed[keys[id(table)]] = _carried(stored, rows[what], table, initial, grow.name, what)
    for what, found in rows.items():
        known = np.count_nonzero(found >= 0)
        before = len(old) if what == "examples" else int(old.captions.sum())
        _LOG.info(
            "%d of %d %s are new, %d are gone: the other rows of the table are carried over",
            len(found) - known,
            len(found),
            what,
            before - known,
        )
    return changed


def _carried(stored, rows, table, initial, name, what):
    """A table of the rows that `stored` has at `rows`; those at -1 begin anew."""
    if len(rows) > table.shape[0]:
        raise ValueError(
            f"{name} has {len(rows)} {what}, but the loss a table for {table.shape[0]}: give it "
            f"num_{what}={len(rows)}"
        )
    carried, known = np.full(table.shape, initial, table.dtype), np.flatnonzero(rows >= 0)
    carried[known] = stored[rows[known]]
    return carried


def _keys_of(loss, graph):
    """{id of a part of the loss: its key in a checkpoint}, by the names of attributes."""
    view, keys, waiting = tf.train.TrackableView(loss), {}, [(loss, _loss_node(graph))]
    while waiting:
        part, node = waiting.pop()
        if id(part) in keys or node is None:
            continue
        stored = {child.local_name: graph.nodes[child.node_id] for child in node.children}
        keys[id(part)] = next((value.checkpoint_key for value in node.attributes), None)
        waiting += [(child, stored.get(name)) for name, child in view.children(part).items()]
    return keys


def _with_memory(graph, model):
    """{key: value} of a checkpoint that knows neither its examples nor its place among them."""
    node, added = _child(graph, graph.nodes[0], "model"), {}
    for name in _MEMORY:
        node.children.add(node_id=len(graph.nodes), local_name=name)
        attribute = graph.nodes.add().attributes.add(name="VARIABLE_VALUE", full_name=name)
        attribute.checkpoint_key = f"model/{name}/.ATTRIBUTES/VARIABLE_VALUE"
        added[attribute.checkpoint_key] = np.zeros(getattr(model, name).shape, np.int64)
    return {**added, _GRAPH: graph.SerializeToString()}


def _loss_node(graph):
    return _child(graph, _child(graph, graph.nodes[0], "model"), "contrastive_loss")


def _child(graph, node, name):
    return graph.nodes[next(x.node_id for x in node.children if x.local_name == name)]
