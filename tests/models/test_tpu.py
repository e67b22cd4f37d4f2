"""What can be known of a TPU without one.

That `build_strategy` asks TensorFlow for it in the right order; that the whole step, and
Keras's loop over several, trace under TPUStrategy itself, over a stand-in for eight cores; that
every operation of the step is one that XLA compiles, to its end; and that the ImageNet recipe's
trains on eight devices of another kind.
"""

import contextlib
import inspect
import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from tensorflow.python.framework import kernels
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

import sogclr_tf
from sogclr_tf.data.labeled import with_labeled
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import config_of_file, recipe_path
from sogclr_tf.losses.registry import build_loss, losses_for
from sogclr_tf.models import chunk_checks
from sogclr_tf.training import strategy
from sogclr_tf.training.optimizers import optimizer_names

CORES = 8
SMALL = {"name": "small_resnet", "widths": (12,), "stem_stride": 2}
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


def imagenet(image_size=8, batch_size=16, encoder=SMALL, loss="sogclr", optimizer="lars"):
    """The config of the ImageNet recipe, made smaller."""
    config = config_of_file(recipe_path("imagenet.py"))
    config.data.image_size = image_size
    config.batch_size = batch_size
    config.encoder = type(config)(encoder or config.encoder)
    config.loss.name = loss
    config.optimizer.name = optimizer
    if optimizer == "adam":  # which has no decay
        config.optimizer.weight_decay = 0.0
    return config


def model(config, under, num_examples=48):
    """The model of a config, made of what the command makes it of, under a strategy."""
    views = types.SimpleNamespace(
        num_examples=num_examples, steps_per_epoch=num_examples // config.batch_size
    )
    with under.scope():
        encoder = build.encoder(config)
        projector = sogclr_tf.projection_head(encoder.output_shape[-1], **config.projector)
        probe = sogclr_tf.OnlineProbe(10)
        loss = build.loss(config, views)
        built = sogclr_tf.SogCLR(encoder, loss, projector, probe, chunks=config.chunks)
        build.compile_model(config, built, views, under)
        built.optimizer.build(built.trainable_variables)
    return built


def specs(config, replicas=1):
    """What one replica gets of a stream's batch."""
    size, rows = config.data.image_size, config.batch_size // replicas
    view = tf.TensorSpec([rows, size, size, 3])
    numbers = {name: tf.TensorSpec([rows], tf.int64) for name in ("index", "label")}
    return {"view_a": view, "view_b": view, **numbers}


class TestWiring:
    """The calls of `build_strategy`, on recorders in place of what needs a TPU."""

    @pytest.fixture
    def calls(self, monkeypatch):
        """What is called, with which arguments, and what `fail` makes of it."""
        calls, real = types.SimpleNamespace(made=[], fail={}), tf.distribute.cluster_resolver
        places = {
            "resolver": (real, "TPUClusterResolver"),
            "connect": (tf.config, "experimental_connect_to_cluster"),
            "initialize": (tf.tpu.experimental, "initialize_tpu_system"),
            "strategy": (tf.distribute, "TPUStrategy"),
        }
        for stage, (module, name) in places.items():
            signature = inspect.signature(getattr(module, name))

            def stand_in(*args, stage=stage, signature=signature, **kwargs):
                calls.made.append((stage, signature.bind(*args, **kwargs).arguments))
                if stage in calls.fail:
                    raise calls.fail[stage]
                return f"the {stage}"

            monkeypatch.setattr(module, name, stand_in)
        return calls

    @pytest.mark.parametrize("tpu", ["my-tpu", "grpc://10.0.0.2:8470", None])
    def test_a_tpu_over_the_network(self, calls, tpu):
        built = strategy.build_strategy("tpu", tpu=tpu, tpu_zone="z", tpu_project="p")
        assert built == "the strategy"
        assert calls.made == [
            ("resolver", {"tpu": tpu, "zone": "z", "project": "p"}),
            ("connect", {"cluster_spec_or_resolver": "the resolver"}),
            ("initialize", {"cluster_resolver": "the resolver"}),
            ("strategy", {"tpu_cluster_resolver": "the resolver"}),
        ]

    def test_a_tpu_vm_has_no_cluster_to_connect_to(self, calls):
        """`cluster_spec()` of a local resolver is empty."""
        strategy.build_strategy("tpu", tpu="local")
        stages = [stage for stage, _ in calls.made]
        assert stages == ["resolver", "initialize", "strategy"]
        assert calls.made[0][1]["tpu"] == "local"

    def test_the_real_local_resolver_has_an_empty_cluster(self):
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        assert resolver.cluster_spec().jobs == []
        assert resolver.master() == ""

    @pytest.mark.parametrize("stage", ["resolver", "connect", "initialize", "strategy"])
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("why\nand where"),
            RuntimeError(),
            OSError("why"),
            tf.errors.NotFoundError(None, None, "why"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_failure_is_one_line_with_its_reason(self, calls, stage, error):
        calls.fail[stage] = error
        reason = "why" if str(error) else type(error).__name__
        line = rf"no TPU was found: name it with --tpu=NAME, .*\({reason}\)$"
        with pytest.raises(RuntimeError, match=line) as found:
            strategy.build_strategy("tpu", tpu="my-tpu")
        assert "\n" not in str(found.value)

    def test_keras_is_told_to_leave_compiling_to_the_tpu(self, tpu, one_core):
        assert strategy.jit_compile(tpu) is False
        assert strategy.jit_compile(one_core) is False


class StandIn:
    """A resolver of cores that do not exist: enough for TPUStrategy to trace, not to run."""

    def __init__(self, cores):
        self.cores = cores

    def get_tpu_system_metadata(self):
        place = "/job:localhost/replica:0/task:0/device:TPU:"
        devices = [types.SimpleNamespace(name=f"{place}{core}") for core in range(self.cores)]
        return tf.tpu.experimental.TPUSystemMetadata(self.cores, 1, self.cores, None, devices)


@pytest.fixture(scope="module")
def tpu():
    # Soft placement, TensorFlow's default, puts the variables of missing cores on the CPU.
    assert tf.config.get_soft_device_placement()
    return tf.distribute.TPUStrategy(StandIn(CORES))


@pytest.fixture(scope="module")
def one_core():
    return tf.distribute.TPUStrategy(StandIn(1))


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


class TestRehearsal:
    """The recipe trained on eight CPU devices, as a TPU's eight cores would."""

    @pytest.fixture
    def precision(self):
        yield keras.mixed_precision.set_dtype_policy
        keras.mixed_precision.set_dtype_policy("float32")

    @pytest.fixture(scope="class")
    def mirrored(self):
        # One for all: two of them in a process would share the keys of their collectives.
        return strategy.build_strategy("mirrored")

    def rehearse(self, config, mirrored, steps):
        """Trains the recipe from 48 images; checks what every run must leave behind."""
        built = model(config, mirrored)
        before = {weight.path: np.array(weight) for weight in built.trainable_weights}
        losses = built.fit(views(config), steps_per_epoch=steps, verbose=0).history["loss"]
        assert np.isfinite(losses).all()
        assert built.trained_steps == steps
        self.check_table(built, visited(config, steps))
        self.check_moved(before, {w.path: np.array(w) for w in built.trainable_weights})
        counted = {variable.path for variable in built.metrics_variables}
        for weight in built.weights:
            copies = [copy.numpy() for copy in mirrored.experimental_local_results(weight.value)]
            assert len(copies) == CORES
            # Metrics count on each replica for themselves.
            if weight.path in counted:
                continue
            for copy in copies[1:]:
                np.testing.assert_array_equal(copy, copies[0], err_msg=weight.path)
        return built

    def check_moved(self, before, after):
        """All but the normalizations behind a last gamma of 0, which the first real step opens."""
        still = {path for path, old in before.items() if np.array_equal(after[path], old)}
        closed = {path for path in still if re.search(r"_block\d+_bn[12]/(gamma|beta)$", path)}
        assert still - closed == set()
        opened = {path for path, old in before.items() if path.endswith("gamma") and not old.any()}
        assert opened
        assert opened.isdisjoint(still)

    def check_table(self, built, index):
        table = built.contrastive_loss.log_u.numpy()
        assert table.dtype == np.float32
        assert len(set(index)) == len(index) < len(table)
        assert np.flatnonzero(np.isfinite(table)).tolist() == sorted(index)
        assert np.isneginf(np.delete(table, index)).all()

    @pytest.mark.slow(reason="a ResNet on eight virtual devices")
    def test_the_imagenet_recipe(self, mirrored):
        """Synchronized batch normalization, LARS and its schedule; images of 32."""
        encoder = exhaustive(SMALL, {"name": "resnet18"})
        self.rehearse(imagenet(image_size=32, encoder=encoder), mirrored, steps=2)

    @pytest.mark.slow(reason="a step is traced and compiled anew for each case")
    @needs_bfloat16
    def test_in_bfloat16(self, mirrored, precision):
        precision("mixed_bfloat16")
        built = self.rehearse(imagenet(), mirrored, steps=2)
        assert built.encoder.layers[1].compute_dtype == "bfloat16"
        assert {weight.dtype for weight in built.trainable_weights} == {"float32"}
        assert built.contrastive_loss.compute_dtype == "float32"


def views(config):
    size = config.data.image_size
    images = np.random.default_rng(0).integers(0, 256, (48, size, size, 3), np.uint8)
    policy = sogclr_tf.Policy(size=size, **config.augment)
    labeled = tf.data.Dataset.from_tensor_slices((images, np.arange(48) % 10))
    return sogclr_tf.training_views(labeled, batch_size=config.batch_size, policy=policy)


def visited(config, steps):
    batches = views(config).stream().take(steps)
    return np.concatenate([batch["index"] for batch in batches]).tolist()
