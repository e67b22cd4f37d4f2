"""What the compiler says of one step, in numbers."""

import math
from typing import Any

from ml_collections import ConfigDict
from tpu_compiler import hlo_text
from tpu_compiler.chips import chip_of
from tpu_compiler.compiler import Compiler, RefusedError
from tpu_compiler.program import Program

from sogclr_tf.models import keras_hooks
from sogclr_tf.models.contrastive import ContrastiveModel

_FLOAT32 = 4


def measure(
    compiler: Compiler,
    program: Program,
    model: ContrastiveModel,
    config: ConfigDict,
    topology: str,
    cores: int,
) -> dict[str, Any]:
    """Compiles a program of a config's model for so many cores of a topology.

    Returns:
        A dictionary for JSON. "error" has the compiler's words where it refuses the program, with
        nothing else that it says; "unreadable" says why a program that it made cannot be looked
        into, of which only the memory is known. All sizes are bytes of one core.
    """
    lowered = hlo_text.exchanges(program.text)
    found = {
        "topology": topology,
        "cores": cores,
        "batch": config.batch_size,
        "hbm": chip_of(topology).hbm,
        "needed_exchanges": needed_exchanges(model, config),
        "lowered_exchanges": hlo_text.by_kind(lowered),
    }
    try:
        answer = compiler.compile(program, topology, cores)
    except RefusedError as refused:
        return {**found, "error": str(refused)}
    memory = answer["memory"]
    held = memory["arguments"] + memory["outputs"] - memory["aliased"] + memory["temporaries"]
    found |= {**answer, "memory": {**memory, "total": held + memory["code"]}}
    if "unreadable" in answer:
        return found
    text = found.pop("text")
    messages = hlo_text.exchanges(text)
    return {
        **found,
        "state": in_place(program, model, text),
        "messages": {
            "count": len(messages),
            "arrays": sum(one.arrays for one in messages),
            "bytes": sum(one.bytes for one in messages),
            "largest": max((one.bytes for one in messages), default=0),
        },
    }


def in_place(program: Program, model: ContrastiveModel, text: str) -> dict[str, int]:
    """How many of the updated arrays take no second place in memory, and copies of tables."""
    written = set(hlo_text.aliases(text).values())
    first = len(program.batch)
    updated = [number for number, one in enumerate(program.state, first) if one.updated]
    shapes = {tuple(table.shape) for table, _ in model.contrastive_loss.tables}
    return {
        "arrays": len(program.state),
        "updated": len(updated),
        "in_place": len(written.intersection(updated)),
        "bytes": sum(one.bytes for one in program.state),
        "table_copies": sum(hlo_text.copies(text, shape) for shape in shapes),
    }


def needed_exchanges(model: ContrastiveModel, config: ConfigDict) -> dict[str, int]:
    """Bytes that a step of the method has to exchange, in float32 and int32.

    Projections and their gradient, indices and rows of tables of the global batch; the gradient of
    every weight; two sums for each channel of a synchronized batch normalization, and theirs. The
    online probe has weights of its own, and a normalization that nothing is trained through.
    """
    batch, width = config.batch_size, config.projector.output
    tables = len(model.contrastive_loss.tables)
    probe = getattr(model, "probe", None)
    probed = [probe.kernel, probe.bias] if probe else []
    weights = sum(math.prod(weight.shape) for weight in [*model.trainable_weights, *probed])
    sums = 2 * _FLOAT32 * _synchronized_channels(model)
    return {
        "gather": _FLOAT32 * batch * (2 * width + (1 + tables if tables else 0)),
        "gather_gradient": _FLOAT32 * batch * 2 * width,
        "gradients": _FLOAT32 * weights,
        "statistics": sums,
        "statistics_gradient": sums - 2 * _FLOAT32 * _synchronized_channels(probe),
    }


def _synchronized_channels(layer):
    """How many channels have statistics of the global batch."""
    layers = keras_hooks.layers_below(layer) if layer else []
    found = [one for one in layers if getattr(one, "synchronized", False)]
    return sum(one.moving_mean.shape[0] for one in found)


def steps_per_second(found: dict[str, Any], utilization: float) -> float:
    """An estimate: the chip's peak at a utilization in 0..1, over the compiler's count."""
    return chip_of(found["topology"]).peak * utilization / found["flops"]
