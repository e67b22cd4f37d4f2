"""Steps compiled for eight cores by the TPU's own compiler, and what their programs mean."""

import collections
import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import equivalence, tpu_compiler
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from support.paths import ROOT
from support.tpu_programs import (
    CLASSES,
    CORES,
    EXAMPLES,
    TOPOLOGY,
    assert_in_place,
    config_of,
    lowered,
    measured,
)
from tpu_compiler import program, recipe, report
from tpu_compiler.compiler import Compiler, RefusedError
from tpu_compiler.core import AbsentCores

import sogclr_tf
from sogclr_tf.losses.registry import losses_for
from sogclr_tf.training.optimizers import optimizer_names
from sogclr_tf.training.strategy import build_strategy

COMPILES = pytest.mark.slow(reason="programs are compiled by the TPU's compiler")
TOOL = ROOT / "tools" / "compile_for_tpu.py"
# (recipe, loss, optimizer)
LOSSES = exhaustive(["sogclr", "isogclr"], losses_for("views"))
OPTIMIZERS = exhaustive(["lamb"], [name for name in optimizer_names() if name != "lars"])
OBJECTIVES = [("imagenet.py", name, "lars") for name in LOSSES]
OBJECTIVES += [("imagenet.py", "sogclr", name) for name in OPTIMIZERS]
OBJECTIVES += [
    ("emoji_text.py", name, "adamw") for name in exhaustive(["two_way"], losses_for("pairs"))
]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter that has the compiler."""
    return tpu_compiler.interpreter(tmp_path_factory.mktemp("tpu"))


@pytest.fixture(scope="module")
def compiler(python):
    """One process for all programs."""
    with Compiler(python) as process:
        yield process


class TestSteps:
    @COMPILES
    @pytest.mark.parametrize(("recipe_name", "loss", "optimizer"), OBJECTIVES)
    def test_every_objective_and_optimizer(self, compiler, recipe_name, loss, optimizer):
        found = measured(compiler, config_of(recipe_name, loss, optimizer))
        assert_in_place(found)
        # The rows of tables, the projections and the gradients are all that the method exchanges.
        needed, sent = found["needed_exchanges"], found["lowered_exchanges"]
        for kind in ("gather", "gather_gradient", "gradients", "statistics_gradient"):
            assert sent[kind]["bytes"] == needed[kind], kind
        lowered_messages = sum(one["messages"] for one in sent.values())
        assert found["messages"]["count"] < lowered_messages / 2
        assert report.fits(found)

    @COMPILES
    @needs_bfloat16
    def test_mixed_precision(self, compiler):
        config = config_of()
        config.precision = "mixed_bfloat16"
        assert_in_place(measured(compiler, config))

    @COMPILES
    def test_a_batch_in_chunks(self, compiler):
        """All is in place and crosses cores once; docs/tpu.md has the memory of a large network.

        The activations of a small one stay where the compiler does not count them.
        """
        config, found = config_of(batch_size=128), {}
        for config.chunks in (1, 8):
            found[config.chunks] = measured(compiler, config)
            assert_in_place(found[config.chunks])
        whole, in_chunks = (each["lowered_exchanges"] for each in found.values())
        for kind in ("gather", "gather_gradient", "gradients"):
            assert whole[kind]["bytes"] == in_chunks[kind]["bytes"], kind

    def test_the_speed_of_a_batch_in_chunks_is_not_told(self):
        """The compiler counts the operations of a loop once."""
        found = {
            "topology": TOPOLOGY,
            "batch": 64,
            "hbm": 2**34,
            "seconds": 1,
            "step": "train",
            "flops": 1e12,
            "memory": dict.fromkeys(("arguments", "temporaries", "code", "total"), 2**20),
            "state": {"updated": 3, "in_place": 3, "table_copies": 0},
        }
        table = report.summary([{**found, "config": {"chunks": n}} for n in (1, 4)], 0.4)
        whole, in_chunks = (row for row in table.splitlines() if row.startswith("| v5e"))
        assert "| 64 | in 1 s " in whole
        assert whole.endswith("| 0 | 1 | 79 |")
        assert "| 64 in 4 chunks | in 1 s " in in_chunks
        assert in_chunks.endswith("| 0 |  |  |")
        assert "the compiler counts those of a loop once" in table

    @COMPILES
    @pytest.mark.parametrize("kind", ["test", "features"])
    def test_evaluation(self, compiler, kind):
        cores = 1 if kind == "features" else CORES
        found = measured(compiler, config_of(), kind, cores)
        assert found["flops"] > 0
        # Held-out images leave the table alone.
        assert found["state"]["in_place"] == found["state"]["updated"] < 30

    @COMPILES
    def test_the_projections_are_compared_in_float32(self, compiler):
        """The compiler exchanges in bfloat16 what is used in no more than that."""
        _, its_program = lowered(config_of())
        text = compiler.compile(its_program, TOPOLOGY, CORES)["text"]
        gathered = [
            line
            for line in text.splitlines()
            if "all-reduce(" in line and "exchange_gather" in line
        ]
        assert any("f32[8,2,2,128]" in line for line in gathered)
        assert [line for line in gathered if "bf16" in line] == []


@pytest.mark.slow(reason="a step is traced under TPUStrategy")
def test_what_is_lowered_exchanges_what_tpu_strategy_does():
    """One for one, by dtype and shape."""
    config = config_of()
    strategy = tf.distribute.TPUStrategy(AbsentCores(CORES))
    with strategy.scope():
        built = recipe.model_of(config, EXAMPLES, CLASSES)
    step, share = recipe.step_of(config, built, "train", CORES)

    @tf.function(autograph=False)
    def under_strategy(batch):
        return strategy.run(step, (batch,))

    operations = under_strategy.get_concrete_function(share).graph.get_operations()
    sums = [node.outputs[0] for node in operations if node.type == "CrossReplicaSum"]
    want = collections.Counter((tensor.dtype.name, tuple(tensor.shape)) for tensor in sums)
    dtypes = {"f32": "float32", "s32": "int32"}
    got = collections.Counter()
    _, its_program = lowered(config)
    pattern = r"= (\w+)\[([\d,]*)\]\S* all-reduce\("
    for dtype, sizes in re.findall(pattern, its_program.text):
        got[dtypes[dtype], tuple(int(size) for size in sizes.split(",") if size)] += 1
    assert got == want
    assert got.total() > 40


class TestMeaning:
    """The program of eight cores against MirroredStrategy on eight devices."""

    STEPS = 3

    @COMPILES
    @pytest.mark.parametrize("name", ["two_tower", *exhaustive([], ["sogclr", "isogclr"])])
    def test_equals_eight_replicas(self, compiler, tmp_path, name):
        want = self.mirrored(name)
        got = self.of_program(compiler, tmp_path, name)
        read_alone = {path.rpartition("/")[2] for path in want.keys() - got.keys()}
        assert read_alone <= {"learning_rate", "examples", "vocabulary"}
        compared = want.keys() & got.keys()
        assert len(compared) > 10
        for path in compared:
            for one_core in got[path][1:]:
                np.testing.assert_array_equal(one_core, got[path][0], err_msg=path)
            np.testing.assert_allclose(got[path][0], want[path], rtol=0, atol=1e-5, err_msg=path)

    def mirrored(self, name):
        """{path: array} of what three steps of `fit` leave."""
        keras.utils.clear_session()
        with build_strategy("mirrored").scope():
            built = equivalence.model(name)
        built.fit(equivalence.stream(name), steps_per_epoch=self.STEPS, verbose=0)
        counted = {variable.path for variable in built.metrics_variables}
        kept = [w for w in [*built.weights, *built.optimizer.variables] if w.path not in counted]
        return {weight.path: np.asarray(weight) for weight in kept if "stream" not in weight.path}

    def of_program(self, compiler, folder, name):
        """{path: array [cores, ...]} of the same steps of the program that every core runs."""
        keras.utils.clear_session()
        with tf.device("CPU:0"):
            built = equivalence.model(name)
            built.optimizer.build(built.trainable_variables)
        stream = built.prepare_dataset(equivalence.stream(name).stream(0)).take(self.STEPS)
        batches = list(stream.as_numpy_iterator())
        return tpu_compiler.run_on_cpu(compiler, built, batches, CORES, folder)


def test_the_random_numbers_of_a_layer_are_state():
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dropout(0.5)]
    model = sogclr_tf.SogCLR(keras.Sequential(layers), sogclr_tf.NTXentLoss())
    model.compile("sgd")
    assert [path for path in recipe.variables_of(model) if path.endswith("seed_generator_state")]


def test_constants_of_a_layer_are_arguments():
    """As the mean and deviation of a Normalization are."""
    mean = tf.constant([0.5, 0.25])
    lowered = program.lower(lambda batch: batch["x"] - mean, {"x": tf.TensorSpec([4, 2])}, {}, 1)
    assert lowered.state == [program.Argument("constant 1", (2,), "float32")]


class TestRefusals:
    """What no TPU takes is refused, in the compiler's words."""

    def test_a_shape_that_is_not_static(self):
        model = recipe.model_of(config_of(), EXAMPLES, CLASSES)
        _, share = recipe.step_of(config_of(), model, "train", CORES)
        share["view_a"] = tf.TensorSpec([None, 16, 16, 3], tf.uint8)
        with pytest.raises(ValueError, match="'view_a' has the shape .None, .* static shapes"):
            program.lower(model.train_step, share, recipe.variables_of(model), CORES)

    def test_an_operation_that_xla_lacks(self):
        spec = {"x": tf.TensorSpec([4])}
        with pytest.raises(ValueError, match="XLA cannot lower the step: .*AsString"):
            program.lower(lambda batch: tf.strings.as_string(batch["x"]), spec, {}, 1)

    @COMPILES
    def test_an_operation_that_no_tpu_has(self, compiler):
        from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_custom_call_v2

        def step(batch):
            return xla_custom_call_v2(
                [batch["x"]], "of_another_chip", "", False, [tf.float32], [[4]]
            )

        its_program = program.lower(step, {"x": tf.TensorSpec([4])}, {}, 1)
        with pytest.raises(RefusedError, match="of_another_chip"):
            compiler.compile(its_program, TOPOLOGY, 1)

    @COMPILES
    def test_too_large_for_the_chip(self, compiler):
        def step(batch):
            return tf.reduce_sum(tf.sort(tf.random.normal([2**16, 2**16]) * batch["x"], axis=0))

        its_program = program.lower(step, {"x": tf.TensorSpec([])}, {}, 1)
        with pytest.raises(RefusedError, match="RESOURCE_EXHAUSTED|memory"):
            compiler.compile(its_program, TOPOLOGY, 1)

    @COMPILES
    def test_a_topology_that_does_not_exist(self, compiler):
        with pytest.raises(RefusedError, match="3x5"):
            compiler.topology("v5e:3x5")


@COMPILES
@needs_bfloat16
def test_the_imagenet_recipe_by_the_command(python, tmp_path):
    """At 224 pixels, batch 256 on eight cores, the table of ImageNet; by default a smaller network.

    Arguments are weights and their velocities, the views, the table.
    """
    encoder, flops, arguments = exhaustive(
        ("small_resnet", 1e10, (15e6, 60e6)), ("resnet50", 1e12, (230e6, 280e6))
    )
    options = ["--config.precision=mixed_bfloat16", f"--python={python}", "--json=found.json"]
    options.append(f"--config.encoder.name={encoder}")
    process = subprocess.run(
        [sys.executable, TOOL, *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    (found,) = json.loads((tmp_path / "found.json").read_text())
    assert_in_place(found)
    assert found["examples"] == 1_281_167
    assert found["flops"] > flops
    assert arguments[0] < found["memory"]["arguments"] < arguments[1]
    assert found["memory"]["total"] < 8e9
    assert "| v5e:2x4 | 256 | in " in process.stdout
