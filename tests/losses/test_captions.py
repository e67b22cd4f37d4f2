"""Several captions per image: masks, tables of both sizes and gradients against loop forms."""

import numpy as np
import pytest
import tensorflow as tf
from support import reference, reference_in_batch
from support.numerics import assert_close
from support.reference import numeric_gradient

from sogclr_tf import TwoWayGlobalContrastiveLoss
from sogclr_tf.losses import similarities
from sogclr_tf.losses.registry import build_loss

# Images 0 to 5 with 1, 2 or 3 captions each: which image each of the 12 captions is of.
IMAGE_OF = np.repeat(np.arange(6), [1, 2, 3, 2, 1, 3])
AGAIN = pytest.mark.slow(reason="the same by another rule")
N, M, BATCH, WIDTH = 6, len(IMAGE_OF), 6, 4
BOUNDS = (0.05, 0.25)
RULES = {
    "constant": {"gamma": 0.6},
    "visits": {"gamma": 0.1, "gamma_rule": "visits", "drift_rate": 0.1},
    "global": {"temperature_scheme": "global", "rho": 0.7},
    "individual": {"temperature_scheme": "individual", "rho": 0.7, "eta": 0.01, "beta": 0.8},
    "adam": {
        "temperature_scheme": "individual",
        "temperature_optimizer": "adam",
        "rho": 0.7,
        "eta": 0.01,
        "epsilon": 0.1,
    },
}


def batches(steps=5):
    """(a, b, index [B, 2]) of captions in any order, so that images come twice in a batch."""
    random = np.random.default_rng(0)
    for _ in range(steps):
        captions = random.permutation(M)[:BATCH]
        a, b = random.normal(size=(2, BATCH, WIDTH)).astype(np.float32)
        yield a, a + b, np.stack([IMAGE_OF[captions], captions], axis=1).astype(np.int32)


def value_and_gradients(loss, a, b, index):
    a, b = tf.constant(a), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = loss(a, b, index)
    return float(value), *(g.numpy() for g in tape.gradient(value, [a, b]))


def build(rule, **options):
    scheme = RULES[rule].get("temperature_scheme", "constant")
    bounds = dict(zip(("min_temperature", "max_temperature"), BOUNDS, strict=True))
    options |= bounds if scheme != "constant" else {}
    return TwoWayGlobalContrastiveLoss(N, 0.2, num_captions=M, **RULES[rule], **options)


def looped(rule):
    options = dict(RULES[rule])
    options["rule"] = options.pop("gamma_rule", "constant")
    adam = options.pop("temperature_optimizer", None) == "adam"
    scheme = options.pop("temperature_scheme", "constant")
    if scheme != "individual":
        options["eta"] = 0.0
    gamma = options.pop("gamma", 0.9)
    return reference.TwoWayGlobalContrastive(
        M,
        0.2,
        gamma,
        adam=adam,
        bounds=BOUNDS if adam or scheme == "individual" else None,
        **options,
    )


@pytest.mark.parametrize(
    "rule",
    [
        "visits",
        "adam",
        *(pytest.param(r, marks=AGAIN) for r in ("constant", "global", "individual")),
    ],
)
def test_two_way_over_visits(rule):
    loss, loop = build(rule), looped(rule)
    for a, b, index in batches():
        got = value_and_gradients(loss, a, b, index)
        value, surrogate, _ = loop.step(a, b, index)
        assert_close(got[0], value, at_least=1)
        assert_close(got[1], numeric_gradient(lambda x, f=surrogate, b=b: f(x, b), a))
        assert_close(got[2], numeric_gradient(lambda x, f=surrogate, a=a: f(a, x), b))
        for side, (table, rows) in enumerate(((loss.log_u_a, N), (loss.log_u_b, M))):
            assert table.shape == (rows,)
            assert_close(table, loop.log_u[side, :rows])
    if loss.temperature_scheme == "individual":
        assert_close(loss.temperatures_a, loop.tau[0, :N])
        assert_close(loss.temperatures_b, loop.tau[1])
        assert len(np.unique(loss.temperatures_b)) > 2


@pytest.mark.parametrize(
    ("name", "loop", "options"),
    [
        ("clip", reference_in_batch.clip, {"temperature": 0.2}),
        ("siglip", reference_in_batch.siglip, {"temperature": 0.5, "bias": -1.0}),
        ("simclr", reference_in_batch.nt_xent, {"temperature": 0.2}),
    ],
)
def test_losses_of_a_batch_leave_out_other_captions(name, loop, options):
    a, b, index = next(batches())
    got = value_and_gradients(build_loss(name, N, **options), a, b, index)
    options["image"] = index[:, 0]
    assert_close(got[0], loop(a, b, **options), at_least=1)
    assert_close(got[1], numeric_gradient(lambda x: loop(x, b, **options), a))
    assert_close(got[2], numeric_gradient(lambda x: loop(a, x, **options), b))
    # Without a caption beside it an index is one of examples, whatever it repeats.
    masked = build_loss(name, N, temperature=0.2)(a, b, index)
    assert masked < build_loss(name, N, temperature=0.2)(a, b, index[:, 0])


def test_one_caption_each_is_as_without():
    """To the bit: the rows, the loss and its gradients."""
    several, one = (
        build("individual"),
        TwoWayGlobalContrastiveLoss(
            N, 0.2, **RULES["individual"], min_temperature=BOUNDS[0], max_temperature=BOUNDS[1]
        ),
    )
    for number, (a, b, _) in enumerate(batches(3)):
        image = np.roll(np.arange(N), number).astype(np.int32)
        got = value_and_gradients(several, a, b, np.stack([image, image], axis=1))
        for found, want in zip(got, value_and_gradients(one, a, b, image), strict=True):
            np.testing.assert_array_equal(found, want)
    for name in ("log_u", "temperatures"):
        for side in "ab":
            found, want = (np.asarray(getattr(x, f"{name}_{side}")) for x in (several, one))
            np.testing.assert_array_equal(found[:N], want)


def test_masks_of_replica_1_of_2(monkeypatch):
    """Drawn in `similarities._same_image`: the images 7 4 | 7 9."""
    everyone = tf.constant([7, 4, 7, 9])
    monkeypatch.setattr(similarities.replica, "gather", lambda _: everyone)
    want = [[True, False, True, False], [False, False, False, True]]
    np.testing.assert_array_equal(similarities._same_image(everyone[2:]), want)


@pytest.mark.slow(reason="XLA compiles each case")
@pytest.mark.parametrize("rule", ["visits", "adam"])
def test_graph_and_xla_equal_eager(rule):
    results = []
    for wrap in (lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)):
        loss = build(rule)
        step = wrap(lambda a, b, index, f=loss: f(a, b, index))
        values = [float(step(*map(tf.constant, batch))) for batch in batches(3)]
        results.append((values, [weight.numpy() for weight in loss.weights]))
    for values, weights in results[1:]:
        assert_close(values, results[0][0], at_least=1)
        for got, want in zip(weights, results[0][1], strict=True):
            assert_close(got, want)


def test_saved_and_built_anew():
    loss = build("adam")
    again = TwoWayGlobalContrastiveLoss.from_config(loss.get_config())
    assert (again.num_examples, again.num_captions) == (N, M)
    assert [w.shape for w in again.weights] == [w.shape for w in loss.weights]
    assert {w.name for w in loss.caption_tables} == {
        f"{name}_b"
        for name in (
            "log_u",
            "temperatures",
            "temperature_velocities",
            "temperature_squares",
            "temperature_steps",
        )
    }


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b, i: build("constant")(a, b, i[:, 0]), r"give \[B, 2\], the image and the"),
        (
            lambda a, b, i: TwoWayGlobalContrastiveLoss(N)(a, b, i),
            r"'two_way' has no rows of captions: give \[B\], or a loss with num_captions",
        ),
        (lambda a, b, i: build("constant")(a, b, i + [0, 10]), r"caption_index \d+ is .*num_capt"),
        (lambda a, b, i: build_loss("clip", N)(a, b, i[:, :1]), r"shape \(6, 1\): expected \[B\]"),
        (
            lambda *_: TwoWayGlobalContrastiveLoss(N, num_captions=5),
            "num_captions is 5: .*>= num_ex",
        ),
        (lambda *_: build_loss("sogclr", N, M), "'sogclr' has one row for an image and its text"),
    ],
)
def test_one_clear_line(function, message):
    with pytest.raises(ValueError, match=message):
        function(*next(batches()))
