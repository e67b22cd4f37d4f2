"""The training step under TPUStrategy, without a TPU.

The whole step, and Keras's loop over several, trace under TPUStrategy itself, over a stand-in for
eight cores; and every operation of the step is one that XLA compiles, to its end.
"""

import contextlib
import inspect
import re

import numpy as np
import pytest
import tensorflow as tf
from support.tpu_steps import CORES, imagenet, model, specs, views
from tensorflow.python.framework import kernels
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

import sogclr_tf
from sogclr_tf.data.labeled import with_labeled
from sogclr_tf.losses.registry import build_loss, losses_for
from sogclr_tf.models import chunk_checks
from sogclr_tf.training import strategy
from sogclr_tf.training.optimizers import optimizer_names

# Every loss for images with the optimizer of the ImageNet recipe, every optimizer with its loss.
FOR_IMAGES = losses_for("views")
STEPS = [(name, "lars") for name in FOR_IMAGES]
STEPS += [("sogclr", name) for name in optimizer_names() if name != "lars"]
# One loss with a table, and one without; the rest is slow, because every step is traced anew.
QUICK = [("sogclr", "lars"), ("simclr", "lars")]
TRACED = pytest.mark.slow(reason="a step is traced anew for each case")
each_step = pytest.mark.parametrize(
    ("loss", "optimizer"),
    [pytest.param(*step, marks=[] if step in QUICK else TRACED) for step in STEPS],
)


def traced(built, under, spec):
    """The operations that TPUStrategy sends to a core in one step."""

    @tf.function(autograph=False)
    def step(batch):
        return under.run(built.train_step, (batch,))

    graph = step.get_concrete_function(spec).graph
    nodes = [node for node in graph.get_operations() if "_tpu_replicate" in node.node_def.attr]
    # The learning rate's schedule has branches, which are functions beside the graph.
    with graph.as_default():
        for function in graph.as_graph_def().library.function:
            body = function_def_to_graph(function).get_operations()
            nodes += [node for node in body if node.type != "Placeholder"]  # its arguments
    return nodes


def xla_operations(device):
    """The operations that XLA has for XLA_CPU_JIT or XLA_TPU_JIT."""
    lower = tf.function(lambda x: x + 1, jit_compile=True).experimental_get_compiler_ir
    # The first use of XLA registers them, and fails for a TPU that is not there.
    with contextlib.suppress(ValueError):
        lower(tf.TensorSpec([]))(platform_name="TPU")
    found = kernels.get_all_registered_kernels().kernel
    return {kernel.op for kernel in found if kernel.device_type == device}


def outputs(nodes):
    return [tensor for node in nodes for tensor in node.outputs]


def operations_of_a_core():
    """The names of the operations that a core has."""
    # Without tensorflow-tpu the operations of XLA's CPU stand in: those of the TPU are the same
    # and one more (TensorFlow 2.20). The CPU lacks the collectives and the mark of the rewriting.
    known = xla_operations("XLA_TPU_JIT") or xla_operations("XLA_CPU_JIT")
    return known | {"CrossReplicaSum", "AllToAll", "TPUReplicateMetadata"}


def assert_fit_for_a_core(nodes):
    """Asserts that XLA has every operation, and nothing needs the host or a shape of run time."""
    assert len(nodes) > 500
    assert {node.type for node in nodes} - operations_of_a_core() == set()
    assert [t.name for t in outputs(nodes) if t.dtype in (tf.string, tf.variant)] == []
    assert [t.name for t in outputs(nodes) if not t.shape.is_fully_defined()] == []


@pytest.mark.slow(reason="steps of a ResNet-50, traced for many cores")
class TestTrace:
    """The step under TPUStrategy and its own collectives, traced but not run."""

    @each_step
    def test_every_operation_is_for_a_core(self, tpu, loss, optimizer):
        config = imagenet(loss=loss, optimizer=optimizer)
        nodes = traced(model(config, tpu), tpu, specs(config, CORES))
        assert_fit_for_a_core(nodes)

    def test_the_probe_reads_averages_of_weights_on_a_core(self, tpu):
        config = imagenet()
        config.optimizer.ema = 0.9
        assert_fit_for_a_core(traced(model(config, tpu), tpu, specs(config, CORES)))

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("siglip", {}),
            ("two_way", {"temperature_scheme": "unscaled", "epsilon": 1e-6}),
            ("two_way", {"temperature_scheme": "individual"}),
        ],
    )
    def test_losses_of_pairs_are_for_a_core(self, tpu, name, options):
        """Alone, with the steps that a loss takes itself: they take no long to trace."""
        if name == "two_way":
            options = {**options, "temperature_optimizer": "adam"}
        with tpu.scope():
            loss = build_loss(name, 48, **options)

        @tf.function(autograph=False)
        def step(a, b, index):
            return tpu.run(loss, (a, b, index))

        side = tf.TensorSpec([2, 8])
        graph = step.get_concrete_function(side, side, tf.TensorSpec([2], tf.int32)).graph
        nodes = [n for n in graph.get_operations() if "_tpu_replicate" in n.node_def.attr]
        assert {node.type for node in nodes} - operations_of_a_core() == set()
        written = {node.type for node in nodes} & {"AssignVariableOp", "ResourceScatterUpdate"}
        assert len(written) == {"siglip": 0}.get(name, 1 + ("epsilon" in options))

    @pytest.fixture(scope="class")
    def traced_step(self, tpu):
        """(config, model, its step's operations) of SogCLR with LARS."""
        config = imagenet()
        built = model(config, tpu)
        return config, built, traced(built, tpu, specs(config, CORES))

    def test_what_is_traced_is_for_a_core(self, traced_step):
        assert_fit_for_a_core(traced_step[2])

    def test_what_crosses_cores(self, traced_step):
        """All in types that the fast sum of replicas takes, but for counts of steps.

        They are the model's, its optimizer's and the probe's.
        """
        _, _, nodes = traced_step
        sums = [node.inputs[0] for node in nodes if node.type == "CrossReplicaSum"]
        assert {tensor.dtype for tensor in sums} == {tf.float32, tf.int32}
        # The gathered views, the indices, the table's rows, the views' gradients.
        gathered = [tuple(t.shape) for t in sums if t.shape.rank and t.shape[0] == CORES]
        assert gathered == [(8, 2, 2, 128), (8, 2), (8, 2, 1), (8, 2, 2, 128)]
        slow = [node.inputs[0].shape for node in nodes if node.type == "AllToAll"]
        assert slow == [(CORES,)] * 3

    def test_every_core_writes_the_global_batch_into_its_own_table(self, traced_step):
        config, built, nodes = traced_step
        (write,) = [node for node in nodes if node.type == "ResourceScatterUpdate"]
        table, index, rows = write.inputs
        assert table.op.type == "TPUReplicatedInput"
        assert len({copy.handle._id for copy in built.contrastive_loss.log_u.values}) == CORES
        assert index.dtype == tf.int32
        assert index.shape == rows.shape == [config.batch_size]

    def test_chunks_are_a_loop_on_the_core(self, tpu, traced_step):
        """Two, one for each pass; the batch crosses cores once, as without."""
        config = imagenet()
        config.batch_size *= 2
        config.chunks = 4
        built = model(config, tpu)
        chunk_checks.check_replayable(built, specs(config, CORES))
        nodes = traced(built, tpu, specs(config, CORES))
        assert {node.type for node in nodes} - operations_of_a_core() == set()
        assert len([node for node in nodes if node.type in ("While", "StatelessWhile")]) == 2

        def gathered(nodes):
            sums = [node.inputs[0].shape for node in nodes if node.type == "CrossReplicaSum"]
            return [tuple(shape) for shape in sums if shape.rank and shape[0] == CORES]

        in_chunks, whole = gathered(nodes), gathered(traced_step[2])
        assert len(in_chunks) == len(whole)
        assert in_chunks[0] == (8, 4, 2, 128)

    @pytest.mark.slow(reason="a network, or data, of full size")
    def test_the_imagenet_recipe_in_its_own_size(self, one_core):
        """ResNet-50 at 224 pixels; one core's share of the batch on eight."""
        config = imagenet(image_size=224, batch_size=32, encoder=None)
        nodes = traced(model(config, one_core, 1_281_167), one_core, specs(config))
        assert_fit_for_a_core(nodes)


@pytest.mark.slow(reason="Keras's loop traced for several kinds of data")
class TestLoop:
    """Keras's loop over several steps, which stays on the host, around the step of a core."""

    def traced_loop(self, built, tpu, data):
        """The function of several steps over an iterator, as `fit` makes both, as a graph."""
        built.make_train_function()
        loop = inspect.getclosurevars(built.train_function).nonlocals["multi_step_on_iterator"]
        if isinstance(data, tf.data.Dataset):
            data = tpu.experimental_distribute_dataset(data)
        return loop.get_concrete_function(iter(data)).graph

    def functions(self, graph):
        """{name: [its nodes]} of the functions that the graph calls."""
        library = graph.as_graph_def().library.function
        return {one.signature.name: list(one.node_def) for one in library}

    @pytest.mark.parametrize(
        ("steps", "probed"),
        [(4, False), *(pytest.param(*case, marks=TRACED) for case in [(1, False), (4, True)])],
    )
    def test_a_core_has_one_step_of_static_shapes(self, tpu, steps, probed):
        config = imagenet()
        config.steps_per_execution = steps
        built = model(config, tpu)
        stream = views(config)
        if probed:
            images, policy = np.zeros((48, 8, 8, 3), np.uint8), sogclr_tf.Policy(size=8)
            labeled = sogclr_tf.ArraySource(images, np.zeros(48, np.int64))
            stream = with_labeled(stream, labeled, policy, CORES)
        graph = self.traced_loop(built, tpu, built._prepare_stream(stream, 0))
        functions = self.functions(graph)
        (step,) = [
            nodes
            for nodes in functions.values()
            if any(node.op == "TPUReplicateMetadata" for node in nodes)
        ]
        assert [node.name for node in step if node.op == "XlaSetDynamicDimensionSize"] == []
        assert len([node for node in step if node.op == "CrossReplicaSum"]) > 40

    def test_data_that_end_are_refused(self, tpu):
        """Keras asks them for an element that may be missing, of whatever size."""
        config = imagenet()
        config.steps_per_execution = 4
        built = model(config, tpu)
        own = views(config).epoch(0)
        for work in (
            lambda: built.fit(own),
            lambda: built.evaluate(own),
            lambda: built.fit(own.repeat(), validation_data=own),
        ):
            with pytest.raises(ValueError, match="steps_per_execution is 4 on a TPU, .*repeat"):
                work()


class TestLowering:
    """The step as XLA's program, for the CPU: no wheel lowers variables for a missing TPU.

    `tests/tools/test_compile_for_tpu.py` compiles those of all objectives, where it can.
    """

    @pytest.mark.parametrize(("loss", "optimizer"), QUICK)
    def test_lowers_whole(self, loss, optimizer):
        hlo = lower(imagenet(loss=loss, optimizer=optimizer))
        assert_static_program(hlo)
        assert ("scatter(" in hlo) == (loss in ("sogclr", "isogclr"))


def lower(config):
    """The HLO of one replica's step, as text."""
    with tf.device("CPU:0"):
        built = model(config, strategy.build_strategy("one"))
        step = tf.function(built.train_step, jit_compile=True, autograph=False)
        batch = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), specs(config))
        return step.experimental_get_compiler_ir(batch)(stage="hlo")


def assert_static_program(hlo):
    assert hlo.startswith("HloModule")
    assert re.findall(r"(?:custom-call|infeed|outfeed|send|recv)\(.*", hlo) == []
    # A dimension known at run time alone is written <=N.
    assert re.findall(r"\[[^\]]*<=.*", hlo) == []
