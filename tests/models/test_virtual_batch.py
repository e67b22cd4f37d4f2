"""A batch in chunks is the whole batch, where its activations are not held at once."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.chunked import ARRAYS, encoder, fit, model
from support.equivalence import CASES
from support.exhaustive import exhaustive
from support.numerics import assert_all_close, assert_close
from support.paths import SUPPORT
from support.small_model import BATCH, N

import sogclr_tf
from sogclr_tf.losses.registry import build_loss
from sogclr_tf.models import virtual_batch

SCRIPT = SUPPORT / "equivalence.py"
# By the number of devices: on several every part is traced anew.
CHUNKS = {1: exhaustive((1, 4), (1, 2, 4, 8)), 2: (1, 4)}
OBJECTIVES = {1: CASES, 2: exhaustive(["sogclr", "two_way_individual", "two_tower"], CASES)}
AGAIN = pytest.mark.slow(reason="the same on another value")
# Of the values that took part, which are about 1.
AGREE = 1e-5


def weights(built):
    return [np.asarray(weight) for weight in built.variables]


def with_state():
    """Layers that keep and draw, and that add a loss of their outputs."""
    keras.utils.set_random_seed(1)
    return [
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.Dropout(0.5, seed=7),
        keras.layers.SpectralNormalization(keras.layers.Conv2D(6, 1)),
        keras.layers.ActivityRegularization(l2=0.01),
    ]


class InOneTape(keras.Model):
    """The meaning of chunks, without two passes: one tape over all parts, whatever it holds."""

    def __init__(self, whole):
        super().__init__()
        self.whole = whole

    def step(self, batch):
        whole, chunks, penalties, a, b = self.whole, self.whole.chunks, [], [], []
        views = [np.split(batch[key], chunks) for key in ("view_a", "view_b")]
        with tf.GradientTape() as tape:
            for number in range(chunks):
                # Never both views of an example in one part.
                part = {"view_a": views[0][number], "view_b": views[1][(number + 1) % chunks]}
                _, of_a, of_b = whole.encode_batch(part, training=True)
                a.append(of_a)
                b.append(of_b)
                penalties.append(tf.add_n(whole.losses))
            a, b = tf.concat(a, axis=0), tf.concat([b[-1], *b[:-1]], axis=0)
            total = whole.contrastive_loss(a, b, batch["index"]) + sum(penalties) / chunks
        found = tape.gradient(total, whole.trainable_weights)
        whole.optimizer.apply_gradients(zip(found, whole.trainable_weights, strict=True))
        return float(total)


@pytest.fixture(scope="module")
def plain():
    """(history, variables) of three steps on whole batches."""
    built = model(1)
    return fit(built), weights(built)


@pytest.mark.parametrize("chunks", [pytest.param(2, marks=AGAIN), 8])
def test_without_batch_statistics_chunks_change_nothing(plain, chunks):
    built = model(chunks)
    history, (want, arrays) = fit(built), plain
    for name, values in history.items():
        assert_close(values, want[name], at_least=1.0, name=name)
    for got, wanted, variable in zip(weights(built), arrays, built.variables, strict=True):
        assert np.allclose(got, wanted, rtol=0, atol=AGREE), variable.path


@pytest.mark.slow(reason="every objective with each number of chunks, on one device and on two")
@pytest.mark.parametrize("devices", [1, 2])
def test_every_objective_on_one_device_and_on_two(devices, tmp_path):
    path = tmp_path / "found.npz"
    options = [
        f"--devices={devices}",
        "--steps=3",
        f"--chunks={','.join(map(str, CHUNKS[devices]))}",
        f"--cases={','.join(OBJECTIVES[devices])}",
    ]
    process = processes.run(SCRIPT, path, *options, timeout=1200)
    assert process.returncode == 0, process.stderr
    with np.load(path) as file:
        found = dict(file)
    names = [key.partition("/")[2] for key in found if key.startswith("1 chunks/")]
    assert {name.partition("/")[0] for name in names} == set(OBJECTIVES[devices])
    for name in names:
        want = found[f"1 chunks/{name}"]
        largest = max(1.0, np.max(np.abs(want), initial=0.0, where=np.isfinite(want)))
        for chunks in CHUNKS[devices][1:]:
            got = found[f"{chunks} chunks/{name}"]
            np.testing.assert_allclose(
                got, want, rtol=0, atol=AGREE * largest, err_msg=f"{chunks} chunks/{name}"
            )


@pytest.mark.parametrize("chunks", [pytest.param(2, marks=AGAIN), 4])
def test_what_keeps_and_draws_is_that_of_one_pass(chunks):
    """Statistics of each part once, the same dropout in both passes, losses of weights once."""
    built, reference = model(chunks, *with_state()), model(chunks, *with_state())
    fit(built)
    one_tape = InOneTape(reference)
    for start in range(0, N, BATCH):
        one_tape.step({key: array[start : start + BATCH] for key, array in ARRAYS.items()})
    parts = [virtual_batch.encoding_variables(each) for each in (built, reference)]
    assert_all_close(*([np.asarray(v) for v in variables] for variables in parts), terms=1000)
    got, want = (each.contrastive_loss.log_u for each in (built, reference))
    assert_close(np.asarray(got), np.asarray(want), 1000)
    state = [v for v in parts[0] if "seed" in v.path]
    assert len(state) == 1
    assert np.asarray(state[0])[1] > 0


@pytest.mark.slow(reason="a step is traced for each way")
@pytest.mark.parametrize(
    "option", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 3}]
)
def test_every_way_to_run(plain, option):
    built = model(4, **option)
    fit(built)
    assert_all_close(weights(built), plain[1])


@pytest.mark.slow(reason="two models are traced for each precision")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    """The loss is scaled where its gradient passes through 16 bits."""
    found = []
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        for chunks in (1, 4):
            built = model(chunks)
            assert fit(built)["loss"][0] < 10
            found.append([np.asarray(weight) for weight in built.trainable_weights])
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    for got, want in zip(*found, strict=True):
        assert_close(got, want, dtype=policy.removeprefix("mixed_"), at_least=0.1)


class Unused(keras.layers.Layer):
    """Has a kernel that it does not use."""

    def build(self, input_shape):  # noqa: ARG002
        self.kernel = self.add_weight(name="kernel", shape=(3,))

    def call(self, x):
        return x


@pytest.mark.parametrize("chunks", [pytest.param(1, marks=AGAIN), 2])
def test_a_weight_without_a_gradient_stays_as_it_is(chunks):
    """With a gradient of 0 an optimizer would make it decay."""
    layer = Unused()
    built = model(chunks, layer, optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.5))
    before = np.asarray(layer.kernel)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        fit(built)
    np.testing.assert_array_equal(np.asarray(layer.kernel), before)


@pytest.mark.slow(reason="two models are traced")
def test_the_probe_learns_from_averages_in_chunks_too():
    found = []
    for chunks in (1, 4):
        average = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)
        built = model(chunks, optimizer=average)
        fit(built)
        found.append(weights(built))
    assert_all_close(found[1], found[0])


@pytest.mark.slow(reason="two models of two towers are traced")
def test_pairs_of_images_and_texts():
    """With a sparse gradient, that of an embedding, and a temperature that the loss learns."""
    found = []
    for chunks in (1, 4):
        keras.utils.set_random_seed(0)
        texts = sogclr_tf.TextEncoder(["", "[UNK]", *"abcd"], length=3, width=8, heads=2)
        loss = build_loss("two_way", N, temperature_scheme="global", temperature=0.5)
        built = sogclr_tf.TwoTowerSogCLR(encoder(), texts, loss, chunks=chunks)
        built.compile(keras.optimizers.SGD(0.05), jit_compile=False)
        tokens = np.random.default_rng(0).integers(1, 6, (N, 3))
        pairs = {"image": ARRAYS["view_a"], "text": tokens, "index": ARRAYS["index"]}
        built.fit(pairs, batch_size=BATCH, shuffle=False, verbose=0)
        found.append(weights(built))
    assert_all_close(found[1], found[0])


def test_files_keep_it(tmp_path):
    built = model(4)
    assert sogclr_tf.SogCLR.from_config(built.get_config()).chunks == 4
    built.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").chunks == 4
