"""Every objective against golden numbers, loop-form references and its promises."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.exhaustive import exhaustive
from support.numerics import assert_close, close
from support.reference import (
    GlobalContrastive,
    RobustGlobalContrastive,
    TwoWayGlobalContrastive,
    clip,
    decoupled,
    nt_xent,
    numeric_gradient,
    siglip,
)

from sogclr_tf import (
    CLIPLoss,
    DecoupledContrastiveLoss,
    GlobalContrastiveLoss,
    NTXentLoss,
    RobustGlobalContrastiveLoss,
    SigLIPLoss,
    TwoWayGlobalContrastiveLoss,
)
from sogclr_tf.losses.registry import build_loss, loss_names, loss_options

AGAIN = pytest.mark.slow(reason="the same on another value")
# (temperature, batch, width) of what is compared with loop forms.
GRID = [
    *((temperature, 5, 8) for temperature in (0.01, 0.1, 1.0)),
    *(pytest.param(t, 2, 3, marks=AGAIN) for t in exhaustive([0.1], [0.01, 0.1, 1.0])),
]
N = 12
# Options of a loss beside its defaults, by the loss and a word for them.
VARIANTS = {
    "two_way/global": {"temperature_scheme": "global"},
    "two_way/adam": {"temperature_scheme": "global", "temperature_optimizer": "adam"},
    "two_way/unscaled": {"temperature_scheme": "unscaled", "epsilon": 0.001},
    "two_way/individual": {"temperature_scheme": "individual"},
    "two_way/individual_adam": {
        "temperature_scheme": "individual",
        "temperature_optimizer": "adam",
    },
    "clip/constant": {"temperature_scheme": "constant"},
}
NAMES = [*loss_names(), *VARIANTS]
# Room for every temperature that is tested.
WIDE = {"min_temperature": 0.001, "max_temperature": 2.0}


def build(name, num_examples=N, **options):
    options = {**VARIANTS.get(name, {}), **options}
    name = name.partition("/")[0]
    if "min_temperature" in loss_options(name):
        options = {**WIDE, **options}
    return build_loss(name, num_examples, **options)


def with_option(option):
    """The names of the objectives that have it."""
    return [name for name in NAMES if option in loss_options(name.partition("/")[0])]


def loss_and_gradients(contrastive_loss, a, b, index):
    a, b = tf.constant(a), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        loss = contrastive_loss(a, b, index)
    return [float(loss), *(g.numpy() for g in tape.gradient(loss, [a, b]))]


def projections(batch, width, seed):
    values = np.random.default_rng(seed).normal(size=(2, batch, width)).astype(np.float32)
    # Views of one example are near each other, as in training.
    values[1] = values[0] + 0.5 * values[1]
    return values


class TestGolden:
    @pytest.mark.parametrize("setting", ["tau0.1_gamma0.9", "tau0.5_gamma0.3"])
    def test_sogclr_follows_libauc_step_by_step(self, golden, setting):
        want = golden(f"libauc_unimodal_{setting}")
        contrastive_loss = GlobalContrastiveLoss(
            int(want["N"]), float(want["temperature"]), float(want["gamma"])
        )
        for step, index in enumerate(want["index"]):
            _, grad_a, grad_b = loss_and_gradients(
                contrastive_loss, want["a"][step], want["b"][step], index
            )
            assert_close(grad_a, want["grad_a"][step], terms=4)
            assert_close(grad_b, want["grad_b"][step], terms=4)
            visited = want["u"][step] > 0
            u = np.exp(contrastive_loss.log_u.numpy())
            assert_close(u[visited], want["u"][step][visited])
            assert (u[~visited] == 0).all()

    def test_isogclr_follows_libauc_step_by_step(self, golden):
        want = golden("libauc_unimodal_isogclr")
        contrastive_loss = RobustGlobalContrastiveLoss(
            int(want["N"]),
            float(want["temperature"]),
            gamma=float(want["gamma"]),
            **{k: v for k, v in json.loads(str(want["settings"])).items() if k != "enable_isogclr"},
        )
        for step, index in enumerate(want["index"]):
            _, grad_a, grad_b = loss_and_gradients(
                contrastive_loss, want["a"][step], want["b"][step], index
            )
            assert_close(grad_a, want["grad_a"][step], terms=4)
            assert_close(grad_b, want["grad_b"][step], terms=4)
            visited = want["u"][step] > 0
            u = np.exp(contrastive_loss.log_u.numpy())
            assert_close(u[visited], want["u"][step][visited])
            assert_close(contrastive_loss.temperatures, want["tau"][step], terms=4)

    @pytest.mark.parametrize("setting", ["tau0.03_gamma0.8", "tau0.07_gamma0.9", "isogclr"])
    def test_two_way_follows_libauc_step_by_step(self, golden, setting):
        want = golden(f"libauc_bimodal_{setting}")
        contrastive_loss = TwoWayGlobalContrastiveLoss(
            int(want["N"]),
            float(want["temperature"]),
            float(want["gamma"]),
            **two_way_options(json.loads(str(want["settings"]))),
        )
        for step, index in enumerate(want["index"]):
            sides = want["a"][step], want["b"][step]
            _, *gradients = loss_and_gradients(contrastive_loss, *sides, index)
            for side, z, gradient in zip("ab", sides, gradients, strict=True):
                theirs = want[f"grad_{side}"][step]
                # Theirs is by normalized projections: normalization passes on what stands at a
                # right angle. Theirs sums over the B - 1 negatives, of which this takes the mean.
                theirs = theirs - z * np.sum(theirs * z, axis=1, keepdims=True)
                assert_close(gradient * (len(z) - 1), theirs, terms=16)
                log_u = getattr(contrastive_loss, f"log_u_{side}").numpy()
                visited = np.isfinite(want[f"log_u_{side}"][step])
                theirs = want[f"log_u_{side}"][step][visited]
                assert_close(log_u[visited], theirs)
                assert np.isneginf(log_u[~visited]).all()
                if setting == "isogclr":
                    temperatures = getattr(contrastive_loss, f"temperatures_{side}")
                    assert_close(temperatures, want[f"tau_{side}"][step])

    @pytest.mark.parametrize("case", range(3))
    def test_nt_xent_equals_simclr(self, golden, case):
        want = golden("simclr_ntxent")
        a, b = np.split(want[f"h{case}"], 2)
        contrastive_loss = NTXentLoss(float(want[f"temperature{case}"]))
        loss, grad_a, grad_b = loss_and_gradients(contrastive_loss, a, b, np.arange(len(a)))
        assert_close(loss, want[f"loss{case}"], terms=4)
        assert_close(np.concatenate([grad_a, grad_b]), want[f"grad{case}"], terms=4)


def two_way_options(settings):
    """LibAUC's settings by the names that they have here."""
    if not settings:
        return {}
    ours = {"tau_min": "min_temperature", "tau_max": "max_temperature"}
    options = {ours.get(key, key): value for key, value in settings.items()}
    return {**options, "temperature_scheme": options["temperature_scheme"].partition("_")[0]}


def assert_steps_agree(contrastive_loss, reference, batch, width, steps=6):
    """Loss, gradients and log u of batches of old and new examples."""
    order = np.random.default_rng(3)
    for step in range(steps):
        index = order.permutation(N)[:batch]
        a, b = projections(batch, width, seed=step)
        loss, grad_a, grad_b = loss_and_gradients(contrastive_loss, a, b, index)
        value, surrogate = reference.step(a, b, index)
        assert_close(loss, value, at_least=1)
        assert_close(contrastive_loss.log_u, reference.log_u)
        want = numeric_gradient(lambda x, f=surrogate, b=b: f(x, b), a)
        # float32 similarities are off by 1e-7, which temperature 0.01 multiplies by 100.
        assert_close(grad_a, want)
        want = numeric_gradient(lambda x, f=surrogate, a=a: f(a, x), b)
        assert_close(grad_b, want)


@pytest.mark.parametrize("negatives", ["both", "other"])
@pytest.mark.parametrize(("temperature", "batch", "width"), GRID)
class TestReference:
    @pytest.mark.parametrize("gamma", [0.1, 0.9, 1.0])
    def test_sogclr_over_visits(self, batch, width, temperature, gamma, negatives):
        contrastive_loss = GlobalContrastiveLoss(N, temperature, gamma, negatives=negatives)
        reference = GlobalContrastive(N, temperature, gamma, negatives)
        assert_steps_agree(contrastive_loss, reference, batch, width)

    def test_isogclr_over_visits(self, batch, width, temperature, negatives):
        bounds = (temperature / 2, temperature * 1.2)
        contrastive_loss = RobustGlobalContrastiveLoss(
            N,
            temperature,
            gamma=0.7,
            rho=0.2,
            eta=0.05 * temperature,
            beta=0.8,
            min_temperature=bounds[0],
            max_temperature=bounds[1],
            negatives=negatives,
        )
        reference = RobustGlobalContrastive(
            N, temperature, 0.7, 0.2, 0.05 * temperature, 0.8, bounds, negatives
        )
        assert_steps_agree(contrastive_loss, reference, batch, width)
        assert len(np.unique(contrastive_loss.temperatures)) > 2
        assert_close(contrastive_loss.temperatures, reference.tau)

    @pytest.mark.parametrize(
        ("contrastive_loss", "reference"),
        [(NTXentLoss, nt_xent), (DecoupledContrastiveLoss, decoupled)],
        ids=["simclr", "dcl"],
    )
    def test_in_batch(self, contrastive_loss, reference, batch, width, temperature, negatives):
        a, b = projections(batch, width, seed=0)
        loss, grad_a, grad_b = loss_and_gradients(
            contrastive_loss(temperature, negatives), a, b, np.arange(batch)
        )
        want = reference(a, b, temperature, negatives)
        assert_close(loss, want, at_least=1)
        want = numeric_gradient(lambda x: reference(x, b, temperature, negatives), a)
        assert_close(grad_a, want)
        want = numeric_gradient(lambda x: reference(a, x, temperature, negatives), b)
        assert_close(grad_b, want)


@pytest.mark.parametrize(("temperature", "batch", "width"), GRID)
class TestPairsReference:
    """Between images and texts, where the temperature is learned too."""

    @pytest.mark.parametrize("gamma", [0.3, 1.0])
    @pytest.mark.parametrize(
        ("scheme", "epsilon", "adam"),
        [
            ("constant", 0.0, False),
            pytest.param("constant", 0.1, False, marks=AGAIN),
            ("global", 0.0, False),
            ("unscaled", 0.1, False),
            ("individual", 0.0, False),
            ("individual", 0.1, True),
        ],
    )
    def test_two_way_over_visits(self, batch, width, temperature, gamma, scheme, epsilon, adam):
        moving = {"eta": 0.05 * temperature, "beta": 0.8}
        bounds = (temperature / 2, temperature * 1.2)
        contrastive_loss = TwoWayGlobalContrastiveLoss(
            N,
            temperature,
            gamma,
            temperature_scheme=scheme,
            temperature_optimizer="adam" if adam else None,
            rho=0.7,
            **moving,
            min_temperature=bounds[0],
            max_temperature=bounds[1],
            epsilon=epsilon,
        )
        reference = TwoWayGlobalContrastive(
            N,
            temperature,
            gamma,
            rho=0.7 if scheme in ("global", "individual") else 0.0,
            **(moving if scheme == "individual" else {}),
            bounds=bounds,
            epsilon=epsilon,
            scaled=scheme != "unscaled",
            adam=adam,
        )
        order = np.random.default_rng(3)
        for step in range(6):
            index = order.permutation(N)[:batch]
            a, b = projections(batch, width, seed=step)
            loss, grad_a, grad_b, *slope = gradients_with_weights(contrastive_loss, a, b, index)
            value, surrogate, want_slope = reference.step(a, b, index)
            assert loss == close(value, at_least=1)
            for got, want in zip(
                (contrastive_loss.log_u_a, contrastive_loss.log_u_b), reference.log_u, strict=True
            ):
                assert_close(got, want)
            # Far below epsilon a gradient is one that float32 does not have.
            least = 1e-30 if epsilon else 0.0
            want = numeric_gradient(lambda x, f=surrogate, b=b: f(x, b), a)
            assert_close(grad_a, want, at_least=least)
            want = numeric_gradient(lambda x, f=surrogate, a=a: f(a, x), b)
            assert_close(grad_b, want, at_least=least)
            if scheme in ("global", "unscaled"):
                assert slope == close([temperature * want_slope], at_least=1)
        if scheme == "individual":
            got = [contrastive_loss.temperatures_a, contrastive_loss.temperatures_b]
            assert len(np.unique(got)) > 2
            assert_close(got, reference.tau)

    def test_siglip(self, batch, width, temperature):
        a, b = projections(batch, width, seed=0)
        # Where the sigmoids of this temperature are neither 0 nor 1.
        bias = -0.5 / temperature
        contrastive_loss = SigLIPLoss(temperature, bias)
        loss, grad_a, grad_b, *slopes = gradients_with_weights(
            contrastive_loss, a, b, np.arange(batch)
        )
        assert loss == close(siglip(a, b, temperature, bias), at_least=1)
        want = numeric_gradient(lambda x: siglip(x, b, temperature, bias), a)
        assert_close(grad_a, want)
        want = numeric_gradient(lambda x: siglip(a, x, temperature, bias), b)
        assert_close(grad_b, want)
        want = numeric_gradient(
            lambda x: siglip(a, b, np.exp(x[0]), x[1]), [np.log(temperature), bias]
        )
        assert_close(slopes, want, at_least=1)

    def test_clip(self, batch, width, temperature):
        a, b = projections(batch, width, seed=0)
        contrastive_loss = CLIPLoss(temperature)
        loss, grad_a, grad_b, slope = gradients_with_weights(
            contrastive_loss, a, b, np.arange(batch)
        )
        assert loss == close(clip(a, b, temperature), at_least=1)
        want = numeric_gradient(lambda x: clip(x, b, temperature), a)
        assert_close(grad_a, want)
        want = numeric_gradient(lambda x: clip(a, x, temperature), b)
        assert_close(grad_b, want)
        want = numeric_gradient(lambda x: clip(a, b, np.exp(x)), np.log(temperature))
        assert slope == close(float(want), at_least=1)


def gradients_with_weights(contrastive_loss, a, b, index):
    """As `loss_and_gradients`, then the gradients by the objective's trainable weights."""
    a, b = tf.constant(a), tf.constant(b)
    weights = [weight.value for weight in contrastive_loss.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        loss = contrastive_loss(a, b, index)
    found = tape.gradient(loss, [a, b, *weights])
    return [float(loss), *(g.numpy() for g in found)]


class TestByHand:
    def test_orthogonal_views_can_be_checked_by_hand(self):
        """Negatives all at similarity 0: g = 1, log u = 0, so F = -<z, z+> = -1."""
        contrastive_loss = GlobalContrastiveLoss(4)
        views = tf.eye(4)
        assert float(contrastive_loss(views, views, tf.range(4))) == close(-1, terms=4)
        assert_close(contrastive_loss.log_u, 0, terms=4)

    def test_negatives_of_the_other_side(self):
        """Two examples whose second views are alike: what is a negative depends on the side."""
        a, b = np.eye(2, dtype=np.float32), np.float32([[1, 0], [1, 0]])
        # Of each anchor, its similarity to the negative on its own side and on the other.
        similarities = [(0, 1), (0, 0), (1, 0), (1, 1)]
        for negatives, sides in (("both", slice(0, 2)), ("other", slice(1, 2))):
            log_g = [np.log(np.mean(np.exp(pair[sides]))) for pair in similarities]
            # The positives have similarity 1 and 0.
            want = np.mean(log_g) - 0.5
            loss = GlobalContrastiveLoss(2, 1.0, negatives=negatives)(a, b, np.arange(2))
            assert float(loss) == close(want, at_least=1)

    def test_decoupled_is_sogclr_without_memory(self):
        a, b = projections(5, 8, seed=0)
        _, *want = loss_and_gradients(GlobalContrastiveLoss(N, 0.2, gamma=1), a, b, np.arange(5))
        _, *got = loss_and_gradients(DecoupledContrastiveLoss(0.2), a, b, np.arange(5))
        assert_close(0.2 * np.array(got), want, terms=4)


@pytest.mark.parametrize("name", NAMES)
class TestEveryObjective:
    def test_half_precision_is_computed_in_float32(self, name):
        a, b = projections(4, 8, seed=1)
        for dtype in (tf.float16, tf.bfloat16):
            low = [tf.cast(x, dtype) for x in (a, b)]
            same = [tf.cast(x, tf.float32) for x in low]
            loss = build(name)(*low, np.arange(4))
            assert loss.dtype == tf.float32
            assert float(loss) == float(build(name)(*same, np.arange(4)))

    def test_scale_of_projections_does_not_matter(self, name):
        a, b = projections(4, 8, seed=1)
        loss = float(build(name)(a, b, np.arange(4)))
        assert float(build(name)(1000 * a, 0.001 * b, np.arange(4))) == close(loss, at_least=1)

    @pytest.mark.parametrize("temperature", [0.005, 1.0])
    def test_no_overflow(self, name, temperature):
        a, b = projections(4, 8, seed=1)
        contrastive_loss = build(name, 4, temperature=temperature)
        for _ in range(3):
            for result in loss_and_gradients(contrastive_loss, a, b, np.arange(4)):
                assert np.isfinite(result).all()
            for weight in contrastive_loss.weights:
                assert np.isfinite(weight).all(), weight.path

    def test_zero_projection_gives_finite_gradients(self, name):
        a, b = projections(4, 8, seed=1)
        a[2] = 0
        for gradient in loss_and_gradients(build(name), a, b, np.arange(4))[1:]:
            assert np.isfinite(gradient).all()

    def test_graph_and_xla_equal_eager(self, name):
        a, b = projections(4, 8, seed=1)
        results = []
        for wrap in (lambda f: f, tf.function, lambda f: tf.function(f, jit_compile=True)):
            contrastive_loss = build(name)
            step = wrap(lambda a, b, index, f=contrastive_loss: f(a, b, index))
            losses = [float(step(a, b, tf.constant([0, 1, 2, 3 + k]))) for k in range(3)]
            results.append((losses, [w.numpy() for w in contrastive_loss.weights]))
        for losses, weights in results[1:]:
            assert_close(losses, results[0][0], at_least=1)
            for got, want in zip(weights, results[0][1], strict=True):
                assert_close(got, want)

    def test_no_step_makes_anything_of_the_size_of_the_table(self, name):
        """So a step costs the same whatever N is, and the tables are all that grows with it."""
        size = 10_007
        falling = {"gamma_decay_steps": 9} if name in with_option("gamma_decay_steps") else {}
        contrastive_loss = build(name, size, **falling)

        @tf.function
        def step(a, b, index):
            return tf.gradients(contrastive_loss(a, b, index), [a, b])

        spec = tf.TensorSpec([4, 8])
        graph = step.get_concrete_function(spec, spec, tf.TensorSpec([4], tf.int32)).graph
        operations = graph.get_operations()
        large = [op.name for op in operations for out in op.outputs if size in (out.shape or ())]
        assert not large

    def test_evaluation_leaves_the_table_alone(self, name):
        a, b = projections(4, 8, seed=1)
        # A temperature of all that the loss moves itself counts in evaluation too.
        still = {"eta": 0.0} if name in with_option("eta") else {}
        contrastive_loss = build(name, **still)
        first = float(contrastive_loss(a, b, np.arange(4)))
        before = [w.numpy() for w in contrastive_loss.weights]
        held_out = float(contrastive_loss(b, a, np.arange(4), training=False))
        assert held_out == close(first, at_least=1)
        for weight, kept in zip(contrastive_loss.weights, before, strict=True):
            np.testing.assert_array_equal(weight, kept)

    def test_config_round_trip(self, name):
        other = {"negatives": "other"} if name in with_option("negatives") else {}
        contrastive_loss = build(name, temperature=0.3, **other)
        again = type(contrastive_loss).from_config(contrastive_loss.get_config())
        assert again.get_config() == contrastive_loss.get_config()
        a, b = projections(4, 8, seed=1)
        assert float(again(a, b, np.arange(4))) == float(contrastive_loss(a, b, np.arange(4)))

    def test_contrast_accuracy(self, name):
        """Two of four examples have identical views; the others' views are swapped."""
        a = tf.eye(4)
        _, metrics = build(name).loss_and_metrics(a, tf.gather(a, [0, 1, 3, 2]), tf.range(4))
        assert float(metrics["contrast_accuracy"]) == close(0.5, terms=4)

    def test_alignment_and_uniformity(self, name):
        """Wang and Isola's, over views and the views they are told from, one at a time."""
        built = build(name)
        if "uniformity" not in built.metric_names:
            assert name.partition("/")[0] in ("two_way", "clip", "siglip")
            return
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in projections(5, 7, seed=2))
        _, metrics = built.loss_and_metrics(tf.constant(a), tf.constant(b), tf.range(5))
        potentials = [
            np.exp(-2 * np.sum((x[i] - y[j]) ** 2))
            for x, y in itertools.product((a, b), repeat=2)
            for i, j in itertools.permutations(range(5), 2)
            if built.negatives == "both" or x is not y
        ]
        expected = np.mean(np.sum((a - b) ** 2, axis=1))
        assert float(metrics["alignment"]) == close(expected)
        assert float(metrics["uniformity"]) == close(np.log(np.mean(potentials)))

    @pytest.mark.parametrize("temperature", [0, -0.1, float("nan")])
    def test_bad_temperature(self, name, temperature):
        with pytest.raises(ValueError, match="temperature is .* must be > 0"):
            build(name, temperature=temperature)

    def test_bad_shapes(self, name):
        with pytest.raises(ValueError, match="global batch must be >= 2"):
            build(name)(np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), np.array([0]))
        with pytest.raises(ValueError, match=r"expected \[B, D\] twice"):
            build(name)(np.ones((2, 4), np.float32), np.ones((3, 4), np.float32), np.arange(2))


@pytest.mark.parametrize("name", with_option("negatives"))
def test_bad_negatives(name):
    with pytest.raises(ValueError, match="unknown negatives 'all': choose one of both, other"):
        build(name, negatives="all")


class TestTable:
    def test_first_visit_then_average(self):
        """Anchors along one axis: all similarities 1, so g = exp(1/temperature) each time."""
        contrastive_loss = GlobalContrastiveLoss(4, temperature=1.0, gamma=0.25)
        alike, apart = np.ones((2, 2), np.float32), np.eye(2, dtype=np.float32)
        contrastive_loss(alike, alike, np.array([1, 3]))
        assert_close(contrastive_loss.log_u, [-np.inf, 1, -np.inf, 1], terms=4)
        contrastive_loss(apart, apart, np.array([1, 2]))
        u = np.exp(contrastive_loss.log_u.numpy())
        assert_close(u, [0, 0.75 * np.e + 0.25, 1, np.e], terms=4)

    def test_gamma_one_forgets(self):
        contrastive_loss = GlobalContrastiveLoss(2, temperature=0.5, gamma=1.0)
        for seed in range(3):
            a, b = projections(2, 4, seed)
            contrastive_loss(a, b, np.arange(2))
        fresh = GlobalContrastiveLoss(2, temperature=0.5, gamma=0.5)
        fresh(a, b, np.arange(2))
        assert_close(contrastive_loss.log_u, fresh.log_u, terms=4)

    @pytest.mark.parametrize("name", [name for name in NAMES if build(name).has_table])
    def test_repeated_index_keeps_the_first_occurrence(self, name):
        a, b = projections(4, 8, seed=1)
        repeated, distinct, untouched = (build(name, 5) for _ in range(3))
        repeated(a, b, np.array([0, 3, 3, 0]))
        distinct(a, b, np.array([0, 3, 1, 2]))
        losses = (repeated, distinct, untouched)
        tables = [[w.numpy() for w in loss.weights if w.shape.rank] for loss in losses]
        for got, want, initial in zip(*tables, strict=True):
            np.testing.assert_array_equal(got[[0, 3]], want[[0, 3]])
            np.testing.assert_array_equal(got[[1, 2, 4]], initial[[1, 2, 4]])

    @pytest.mark.parametrize("wrong", [-1, 12])
    def test_index_outside_is_named(self, wrong):
        a, b = projections(2, 4, seed=1)
        with pytest.raises(ValueError, match=rf"index {wrong} is outside \[0, 12\)"):
            GlobalContrastiveLoss(N)(a, b, np.array([3, wrong]))

    def test_index_outside_stops_a_graph_on_cpu(self):
        a, b = projections(2, 4, seed=1)
        step = tf.function(GlobalContrastiveLoss(N))
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"indices\[1\] = {N}"):
            step(a, b, tf.constant([3, N]))

    def test_index_outside_is_nan_where_scatter_is_silent(self):
        """XLA clamps and drops such indices, as accelerators do."""
        a, b = projections(2, 4, seed=1)
        step = tf.function(GlobalContrastiveLoss(N), jit_compile=True)
        assert np.isnan(float(step(a, b, tf.constant([3, N]))))

    @pytest.mark.parametrize("gamma", [0, -0.5, 1.1, float("nan")])
    def test_bad_gamma(self, gamma):
        with pytest.raises(ValueError, match=r"gamma is .* must lie in \(0, 1\]"):
            GlobalContrastiveLoss(N, gamma=gamma)

    @pytest.mark.parametrize("num_examples", [0, 1, 2.5])
    def test_bad_num_examples(self, num_examples):
        with pytest.raises(ValueError, match="num_examples is .* whole number >= 2"):
            GlobalContrastiveLoss(num_examples)


class TestTemperatures:
    def test_step_can_be_checked_by_hand(self):
        """Negatives all at similarity 0: log u = 0 and no logits, so the gradient is rho."""
        contrastive_loss = RobustGlobalContrastiveLoss(5, 0.2, rho=0.5, eta=0.1, beta=0.9)
        views = tf.eye(4)
        loss = float(contrastive_loss(views, views, tf.range(4)))
        assert loss == close(-1 + 0.2 * 0.5, at_least=1)
        velocity = 0.9 * 0.5
        temperature = 0.2 - 0.1 * velocity
        assert_close(contrastive_loss.temperatures, [*[temperature] * 4, 0.2], terms=4)
        contrastive_loss(views, views, tf.range(4))
        velocity = 0.1 * velocity + 0.9 * 0.5
        temperature -= 0.1 * velocity
        assert_close(contrastive_loss.temperatures, [*[temperature] * 4, 0.2], terms=4)

    def test_gradient_is_that_of_the_objective(self):
        """On the first visit u = g: what moves t[i] is N dF/dt[i], here by central differences."""
        a, b = projections(4, 8, seed=2)
        contrastive_loss = RobustGlobalContrastiveLoss(4, 0.3, eta=1e-3, beta=1)
        contrastive_loss(a, b, np.arange(4))
        moved = (0.3 - contrastive_loss.temperatures.numpy().astype(np.float64)) / 1e-3

        def value(temperatures):
            reference = RobustGlobalContrastive(4, 0.3, 1.0, 0.3, 0.0, 1.0, (0, 1))
            reference.tau[:] = temperatures
            return 4 * reference.step(a, b, np.arange(4))[0]

        want = numeric_gradient(value, np.full(4, 0.3))
        np.testing.assert_allclose(moved, want, atol=1e-3)

    def test_fixed_temperatures_are_sogclr(self):
        robust = RobustGlobalContrastiveLoss(N, 0.2, gamma=0.5, rho=0.0, eta=0.0)
        plain = GlobalContrastiveLoss(N, 0.2, gamma=0.5)
        for seed in range(3):
            a, b = projections(4, 8, seed)
            index = np.arange(4) + seed
            got = loss_and_gradients(robust, a, b, index)
            for mine, theirs in zip(got, loss_and_gradients(plain, a, b, index), strict=True):
                assert_close(mine, theirs, terms=4)
        assert_close(robust.log_u, plain.log_u, terms=4)
        np.testing.assert_array_equal(robust.temperatures, np.full(N, 0.2, np.float32))

    def test_temperatures_stay_in_their_bounds(self):
        contrastive_loss = RobustGlobalContrastiveLoss(
            8, 0.2, eta=100, min_temperature=0.1, max_temperature=0.4
        )
        for seed in range(3):
            contrastive_loss(*projections(8, 3, seed), np.arange(8))
        assert set(np.unique(contrastive_loss.temperatures)) <= {np.float32(0.1), np.float32(0.4)}

    def test_evaluation_is_at_the_initial_temperature(self):
        contrastive_loss = RobustGlobalContrastiveLoss(4, 0.2, rho=0.0, eta=0.05)
        a, b = projections(4, 8, seed=1)
        for _ in range(3):
            contrastive_loss(a, b, np.arange(4))
        want = GlobalContrastiveLoss(4, 0.2)(a, b, np.arange(4), training=False)
        got = contrastive_loss(a, b, np.arange(4), training=False)
        assert float(got) == close(float(want), at_least=1)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"temperature": 0.01}, "temperature is 0.01: .* min_temperature 0.05"),
            ({"temperature": 0.9}, "temperature is 0.9: .* max_temperature 0.7"),
            ({"min_temperature": 0}, "min_temperature 0, above 0"),
            ({"rho": -0.1}, "rho is -0.1: it must be >= 0"),
            ({"eta": float("nan")}, "eta is nan: it must be >= 0"),
            ({"beta": 0}, r"beta is 0: it must lie in \(0, 1\]"),
            ({"beta": 1.5}, r"beta is 1.5: it must lie in \(0, 1\]"),
        ],
    )
    def test_bad_option(self, options, message):
        with pytest.raises(ValueError, match=message):
            RobustGlobalContrastiveLoss(N, **options)


class TestLearnedTemperature:
    """One temperature of all, which the optimizer moves as a weight of the loss."""

    @pytest.mark.parametrize("name", ["two_way/global", "two_way/unscaled", "clip"])
    def test_optimizer_moves_it_along_its_gradient(self, name):
        a, b = projections(4, 8, seed=1)
        contrastive_loss = build(name, temperature=0.1)
        *_, slope = gradients_with_weights(contrastive_loss, a, b, np.arange(4))
        keras.optimizers.SGD(0.1).apply([tf.constant(slope)], contrastive_loss.trainable_weights)
        want = 0.1 * np.exp(-0.1 * slope)
        assert float(contrastive_loss.learned_temperature) == close(want)

    @pytest.mark.parametrize("name", ["two_way/global", "clip"])
    @pytest.mark.parametrize(("gradient", "bound"), [(9.0, 0.02), (-9.0, 0.5)])
    def test_optimizer_leaves_it_in_its_bounds(self, name, gradient, bound):
        contrastive_loss = build(name, temperature=0.1, min_temperature=0.02, max_temperature=0.5)
        keras.optimizers.SGD(1.0).apply([tf.constant(gradient)], contrastive_loss.trainable_weights)
        assert float(contrastive_loss.learned_temperature) == close(bound, terms=4)

    @pytest.mark.parametrize("epsilon", [0.0, 0.1])
    @pytest.mark.parametrize("scheme", ["global", "unscaled"])
    def test_gradient_is_that_of_the_objective(self, scheme, epsilon):
        """On the first visit u = g, so F has this very derivative: by central differences."""
        a, b = projections(4, 8, seed=2)
        contrastive_loss = TwoWayGlobalContrastiveLoss(
            4, 0.3, temperature_scheme=scheme, rho=2.0, epsilon=epsilon
        )
        *_, slope = gradients_with_weights(contrastive_loss, a, b, np.arange(4))
        scaled = scheme == "global"
        options = {"rho": 2.0 if scaled else 0.0, "epsilon": epsilon, "scaled": scaled}

        def value(log_temperature):
            fresh = TwoWayGlobalContrastive(4, np.exp(log_temperature), 1.0, **options)
            return fresh.step(a, b, np.arange(4))[0]

        assert slope == close(float(numeric_gradient(value, np.log(0.3))), at_least=1)

    @pytest.mark.parametrize("rho", [0.3, 1.0])
    def test_it_rises_while_the_softmax_is_sharper_than_rho(self, rho):
        """Of 7 negatives 2 are near, at cosine 0.4: the divergence from evenness by hand."""
        views = np.eye(8, dtype=np.float32)
        near = views + 0.5 * np.roll(views, 1, axis=0)
        contrastive_loss = TwoWayGlobalContrastiveLoss(8, 0.2, temperature_scheme="global", rho=rho)
        *_, slope = gradients_with_weights(contrastive_loss, near, near, np.arange(8))
        share = np.exp([0.4 / 0.2] * 2 + [0.0] * 5)
        share /= share.sum()
        divergence = np.sum(share * np.log(7 * share))
        assert slope == close(0.2 * (rho - divergence), at_least=1)

    def test_individual_temperatures_that_rest_are_constant(self):
        fixed = TwoWayGlobalContrastiveLoss(N, 0.1, 0.5)
        resting = TwoWayGlobalContrastiveLoss(
            N, 0.1, 0.5, temperature_scheme="individual", rho=0.0, eta=0.0
        )
        for seed in range(3):
            a, b = projections(4, 8, seed)
            index = np.arange(4) + seed
            want = loss_and_gradients(fixed, a, b, index)
            for mine, theirs in zip(loss_and_gradients(resting, a, b, index), want, strict=True):
                assert_close(mine, theirs, terms=4)
        np.testing.assert_array_equal(resting.temperatures_a, np.full(N, 0.1, np.float32))

    @pytest.mark.parametrize("name", ["two_way/global", "two_way/individual", "clip", "siglip"])
    def test_it_is_logged(self, name):
        contrastive_loss = build(name, temperature=0.1)
        beside = ("bias",) if name == "siglip" else ()
        assert contrastive_loss.metric_names == ("contrast_accuracy", "temperature", *beside)
        a, b = map(tf.constant, projections(4, 8, seed=1))
        _, metrics = contrastive_loss.loss_and_metrics(a, b, tf.range(4))
        assert set(metrics) == set(contrastive_loss.metric_names)
        want = 0.1
        if name == "two_way/individual":
            want = np.mean(
                [contrastive_loss.temperatures_a[:4], contrastive_loss.temperatures_b[:4]]
            )
            assert want != close(0.1, terms=4)
        assert float(metrics["temperature"]) == close(want, terms=4)

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            (
                "two_way",
                {"temperature_scheme": "one"},
                "'one': choose one of constant, global, individual, unscaled",
            ),
            ("clip", {"temperature_scheme": "individual"}, "choose one of constant, global$"),
            ("two_way/global", {"temperature": 3.0}, "temperature is 3.0: .* max_temperature 2.0"),
            ("two_way/individual", {"min_temperature": 0}, "min_temperature 0, above 0"),
            ("clip", {"temperature": 0.0001}, "temperature is 0.0001: .* min_temperature 0.001"),
            ("two_way", {"rho": -1}, "rho is -1: it must be >= 0"),
            ("two_way", {"gamma": 2}, r"gamma is 2: it must lie in \(0, 1\]"),
            ("two_way", {"num_examples": 1}, "num_examples is 1"),
            ("two_way", {"epsilon": -1e-9}, "epsilon is -1e-09: it must be >= 0"),
            ("two_way/global", {"temperature_optimizer": "sgd"}, "'sgd': choose one of adam, or N"),
            ("two_way", {"temperature_optimizer": "adam"}, "is 'adam', but .* is constant"),
            ("siglip", {"bias": float("nan")}, "bias is nan: it must be a finite number"),
        ],
    )
    def test_bad_option(self, name, options, message):
        with pytest.raises(ValueError, match=message):
            build(name, **options)


class TestByName:
    def test_unknown_name_lists_the_valid_ones(self):
        with pytest.raises(
            ValueError, match="unknown loss 'moco': choose one of clip, dcl, isogclr, siglip"
        ):
            build("moco")

    def test_unknown_option_lists_the_valid_ones(self):
        with pytest.raises(ValueError, match="no option 'gama': it takes temperature, gamma"):
            build("sogclr", gama=1)
