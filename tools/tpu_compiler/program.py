"""A step of a model as the program that XLA compiles for every core."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tpu_compiler import hlo_text
from tpu_compiler.core import CoreContext


@dataclasses.dataclass(frozen=True)
class Argument:
    """An array that a program takes.

    Attributes:
        name: the key in the batch, the path of the weight, or "constant" with a number.
        shape, dtype: of the array, ints and a name.
        updated: whether the program gives it back changed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    updated: bool = False

    @property
    def bytes(self) -> int:
        """Its size, without padding."""
        return int(tf.TensorShape(self.shape).num_elements() * tf.dtypes.as_dtype(self.dtype).size)


@dataclasses.dataclass(frozen=True)
class Program:
    """What one core runs.

    Attributes:
        hlo: the serialized HloModuleProto.
        text: the same to read.
        batch: what comes from outside, in the order of the first parameters.
        state: the variables, in the order of the parameters behind.
    """

    hlo: bytes
    text: str
    batch: list[Argument]
    state: list[Argument]


def lower(
    step: Callable, batch: dict[str, tf.TensorSpec], variables: dict[str, Any], cores: int
) -> Program:
    """The program of `step` on one of so many cores.

    Args:
        step: function of a batch that returns a dictionary of tensors, or one tensor.
        batch: the specs of one core's share of a batch.
        variables: {path: tf.Variable} of all that the step may read.
        cores: how many replicas there are; 1 for a program without exchanges.

    Raises:
        ValueError: a shape is not static, or XLA lacks an operation.
    """
    names = {id(variable.handle): path for path, variable in variables.items()}
    data = {name: tf.zeros(_static(name, spec), spec.dtype) for name, spec in batch.items()}

    def on_core(data):
        with CoreContext(cores) if cores > 1 else contextlib.nullcontext():
            return step(data)

    # XLA lowers for the device at hand, and no TPU is: the program is the same.
    with tf.device("CPU:0"):
        compiled = tf.function(on_core, jit_compile=True, autograph=False)
        try:
            concrete = compiled.get_concrete_function(batch)
            stages = compiled.experimental_get_compiler_ir(data)
            hlo, text = stages(stage="hlo_serialized"), stages(stage="hlo")
        except (tf.errors.OpError, ValueError) as error:
            raise ValueError(f"XLA cannot lower the step: {_first_line(error)}") from error
    given = [Argument(name, tuple(s.shape), s.dtype.name) for name, s in sorted(batch.items())]
    # The parameters that an output takes the place of.
    updated = set(hlo_text.aliases(text).values())
    return Program(hlo, text, given, _state(concrete, names, variables, updated))


def _static(name, spec):
    if not spec.shape.is_fully_defined():
        raise ValueError(
            f"'{name}' has the shape {spec.shape}: a TPU compiles for static shapes alone"
        )
    return spec.shape


def _state(concrete, names, variables, updated):
    """The captured variables and constants as `Argument`s, in the order of the parameters."""
    handles = concrete.captured_inputs
    offset = len(concrete.inputs) - len(handles)
    found = []
    for number, handle in enumerate(handles, start=offset):
        if handle.dtype != tf.resource:
            # An array of a layer, such as the means of a Normalization.
            found.append(Argument(f"constant {number}", tuple(handle.shape), handle.dtype.name))
            continue
        if id(handle) not in names:
            raise ValueError(f"the step reads {handle}, which is no weight of the model")
        path = names[id(handle)]
        shape, dtype = variables[path].shape, variables[path].dtype.name
        found.append(Argument(path, tuple(shape), dtype, number in updated))
    return found


def _first_line(error):
    # Some come as the text of an error that has line breaks of its own.
    lines = str(error).replace("\\n", "\n").splitlines()
    return next(filter(None, map(str.strip, lines)))
