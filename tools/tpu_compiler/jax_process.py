"""Compiles programs for TPUs that are not there, in a process of its own with JAX and libtpu.

    python jax_process.py

Each line of standard input is a request in JSON, each line of standard output the answer to one.
TensorFlow is not imported here, nor JAX anywhere else: all that is internal to JAX is in this file,
as it was in jax 0.10.2, jaxlib 0.10.2 and libtpu 0.0.52.
"""

import contextlib
import json
import os
import pathlib
import re
import sys
import time

# Else libtpu looks for the machine's TPU and for other processes that use it.
os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1", TF_CPP_MIN_LOG_LEVEL="3")

import jax
import numpy as np
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jax.experimental import topologies
from jaxlib import _jax
from jaxlib.mlir import ir

_MEMORY = {
    "arguments": "argument_size_in_bytes",
    "outputs": "output_size_in_bytes",
    "aliased": "alias_size_in_bytes",
    "temporaries": "temp_size_in_bytes",
    "code": "generated_code_size_in_bytes",
}


def main():
    # libtpu writes where it likes: the answers have the standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        work = {"cores": cores, "compile": compile_for_tpu, "run": run_on_cpu}[request.pop("do")]
        try:
            answer = work(**request)
        except Exception as error:
            answer = {"error": str(error).strip() or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def cores(topology):
    """{"cores": how many there are, "chip": what they call themselves} of a topology."""
    devices = _topology(topology).devices
    return {"cores": len(devices), "chip": devices[0].device_kind}


def compile_for_tpu(topology, replicas, hlo, optimized):
    """Compiles the program in the file `hlo`; writes what became of it to `optimized`.

    Returns:
        {"seconds": of compiling, "flops": of a core in a step, "memory": {what: bytes of a core}},
        and "unreadable" with a reason where nothing was written: libtpu may know instructions that
        jaxlib does not.
    """
    devices = tuple(_topology(topology).devices[:replicas])
    compile_program = devices[0].client.compile
    begin = time.perf_counter()
    with _module(hlo) as module:
        executable = compile_program(module, _jax.DeviceList(devices), _options(replicas))
    seconds = time.perf_counter() - begin
    stats = executable.get_compiled_memory_stats()
    answer = {
        "seconds": seconds,
        "memory": {name: getattr(stats, field) for name, field in _MEMORY.items()},
    }
    try:
        pathlib.Path(optimized).write_text(executable.hlo_modules()[0].to_string())
        return {**answer, "flops": _properties(executable)["flops"]}
    except jax.errors.JaxRuntimeError as error:
        return {**answer, "unreadable": str(error)}


def run_on_cpu(hlo, replicas, batches, state, outputs):
    """Runs the program step by step on this machine, every replica a thread.

    Args:
        hlo: file of the program.
        replicas: how many there are.
        batches: file of arrays `STEP/NUMBER` [replicas, ...], parameter NUMBER in each step.
        state: file of arrays `NUMBER`, the parameters behind; `updates` [n, 2], (output, parameter)
            of those that change.
        outputs: file to write all arrays `NUMBER` to as they are in the end, [replicas, ...].
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", replicas)
    # Else the counts of steps, which are int64, would be int32.
    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.array(devices), ("replica",))
    each, all_alike = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*names))
        for names in (("replica",), ())
    )
    load = devices[0].client.compile_and_load
    with _module(hlo) as module:
        executable = load(module, _jax.DeviceList(tuple(devices)), _options(replicas))
    with np.load(batches) as file:
        given = dict(file)
    with np.load(state) as file:
        held = dict(file)
    updates = held.pop("updates")
    arrays = {int(n): jax.device_put(value, all_alike) for n, value in held.items()}
    steps = 1 + max(int(name.partition("/")[0]) for name in given)
    for step in range(steps):
        for name, value in given.items():
            if name.startswith(f"{step}/"):
                # A program takes what one replica has: the rows of all, side by side.
                rows = value.reshape(-1, *value.shape[2:])
                arrays[int(name.partition("/")[2])] = jax.device_put(rows, each)
        results = executable.execute_sharded([arrays[number] for number in sorted(arrays)])
        shards = results.disassemble_into_single_device_arrays()
        for output, parameter in updates:
            arrays[int(parameter)] = jax.make_array_from_single_device_arrays(
                held[str(parameter)].shape, all_alike, shards[output]
            )
    found = {
        str(parameter): np.stack([np.asarray(s.data) for s in arrays[parameter].addressable_shards])
        for parameter in updates[:, 1].tolist()
    }
    np.savez(outputs, **found)
    return {"steps": steps}


def _topology(name):
    return topologies.get_topology_desc(name, platform="tpu")


@contextlib.contextmanager
def _module(hlo):
    """The program of a file, in the language that JAX's compile takes."""
    hlo = pathlib.Path(hlo).read_bytes()
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(xla_client.XlaComputation(hlo))
    text = text if isinstance(text, str) else text.decode()
    # A copy that TensorFlow asks for, which JAX's dialect lacks; a barrier keeps it a value.
    text = re.sub(r"\bmhlo\.copy ", "stablehlo.optimization_barrier ", text)
    with mlir.make_ir_context():
        yield ir.Module.parse(text)


def _options(replicas):
    options = xla_client.CompileOptions()
    options.num_replicas = replicas
    build = options.executable_build_options
    build.num_replicas, build.num_partitions = replicas, 1
    assignment = np.arange(replicas).reshape(replicas, 1)
    build.device_assignment = xla_client.DeviceAssignment.create(assignment)
    return options


def _properties(executable):
    found = executable.cost_analysis()
    return found if isinstance(found, dict) else found[0]


if __name__ == "__main__":
    main()
