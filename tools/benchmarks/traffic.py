"""What replicas tell each other in a training step: from the traced graph and beside its tracing.

The graph of a step on several devices holds one collective for each tensor that travels, and plain
copies between devices for whole numbers. Which part of the program asks for which is known while
the step is traced; how large each tensor is, when it runs.
"""

import contextlib
import threading
import traceback
from typing import NamedTuple

import tensorflow as tf

# Who asks, by what is found on the stack, first match first.
_ASKERS = (
    ("the probe", "online_probe.py", None),
    ("gradients of the weights", "optimizer.py", None),
    ("statistics of batch normalization", "nn.py", "_compute_moments_sync"),
    ("projections", "similarities.py", None),
    ("the table", "table.py", None),
    ("means to read", "replica.py", "mean"),
)


class Message(NamedTuple):
    """A tensor that every replica tells all others.

    Attributes:
        what: whose it is.
        kind: "gather", of which each replica has a part; or "reduce", of which each has all.
        dtype: its name.
        shape: list of a replica's own tensor.
        bytes: of a replica's own tensor.
    """

    what: str
    kind: str
    dtype: str
    shape: list
    bytes: int

    def sent(self, replicas):
        """Bytes that each replica sends, around a ring."""
        if self.kind == "gather":
            return self.bytes * (replicas - 1)
        return 2 * self.bytes * (replicas - 1) / replicas


def of_step(strategy, model, batches):
    """What a training step of the model says.

    Args:
        strategy: of several replicas.
        model: built and compiled in its scope.
        batches: iterator of what the strategy distributes.

    Returns:
        ([Message], [(dtype, shape) copied from a device to another outside of collectives],
        {type of collective: how many of them a replica has}).
    """
    with _listening() as heard:

        @tf.function(autograph=False)  # whose files would hide who asks
        def step(batch):
            def one(batch):
                heard[threading.get_ident()] = said = []
                model.train_step(batch)
                return [shape for _, shape in said]

            return strategy.run(one, args=(batch,))

        batch = next(batches)
        graph = step.get_concrete_function(batch).graph
        shapes = [strategy.experimental_local_results(each)[0] for each in step(batch)]
    # One replica has nobody to tell, though it is asked to.
    said = next(iter(heard.values())) if strategy.num_replicas_in_sync > 1 else []
    messages = [
        Message(*what, shape.numpy().tolist(), _bytes(what[-1], shape))
        for (what, _), shape in zip(said, shapes, strict=False)
    ]
    return messages, _copies(graph), _collectives(graph, strategy)


@contextlib.contextmanager
def _listening():
    """Notes what replicas gather and reduce: {thread: [((what, kind, dtype), shape tensor)]}."""
    heard, context = {}, tf.distribute.ReplicaContext
    originals = {kind: getattr(context, f"all_{kind}") for kind in ("gather", "reduce")}

    def listen(kind):
        def replacement(self, *args, **kwargs):
            said = heard.get(threading.get_ident())
            value = kwargs["value"] if "value" in kwargs else args[kind == "reduce"]
            if said is not None:
                asker = _asker()
                for tensor in tf.nest.flatten(value):
                    said.append(((asker, kind, tensor.dtype.name), tf.shape(tensor)))
            return originals[kind](self, *args, **kwargs)

        return replacement

    for kind in originals:
        setattr(context, f"all_{kind}", listen(kind))
    try:
        yield heard
    finally:
        for kind, original in originals.items():
            setattr(context, f"all_{kind}", original)


def _asker():
    frames = traceback.extract_stack()
    names = [(frame.filename.rpartition("/")[2], frame.name) for frame in frames]
    backwards = ("distribute_lib.py", "grad") in names
    for what, file, function in _ASKERS:
        if any(name == file and function in (None, where) for name, where in names):
            return what
    if backwards:
        return "gradients of the projections"
    if ("distribute_lib.py", "<lambda>") in names:
        return "gradients of batch normalization"
    return "other"


def _bytes(dtype, shape):
    return int(tf.reduce_prod(shape)) * tf.as_dtype(dtype).size


def _copies(graph):
    return [
        (tensor.dtype.name, tensor.shape.as_list())
        for operation in graph.get_operations()
        for tensor in operation.inputs
        if tensor.op.device and operation.device and tensor.op.device != operation.device
    ]


def _collectives(graph, strategy):
    found = {}
    for operation in graph.get_operations():
        if operation.type.startswith("Collective"):
            found[operation.type] = found.get(operation.type, 0) + 1
    return {name: count // strategy.num_replicas_in_sync for name, count in found.items()}
