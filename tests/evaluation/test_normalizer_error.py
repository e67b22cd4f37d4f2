"""The error of the table against brute force in float64."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import close
from support.reference import normalized
from support.small_model import IMAGES, N, model, views

import sogclr_tf
from sogclr_tf import normalizer_error
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.input_checks import VIEWS

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
WIDTH = 16
# In nats, of 4,000 anchors at temperature 0.1.
NEAR = 1e-4


class Given(ContrastiveModel):
    """Projections that are given, by the index of an example."""

    batch_spec = VIEWS

    def __init__(self, loss, a, b):
        super().__init__(loss)
        self.a, self.b = (tf.constant(side, tf.float32) for side in (a, b))
        self.track_features(1)
        self.built = True

    def encode_batch(self, batch, training=False):  # noqa: ARG002
        a, b = (tf.gather(side, batch["index"]) for side in (self.a, self.b))
        return a, a, b


def projections(count, seed=0):
    a, b = np.random.default_rng(seed).normal(size=(2, count, WIDTH))
    return a, a + 0.7 * b


def trained(loss, count, epochs=2, batch=50, examples=None):
    """A `Given` whose loss has seen views that drift towards those that it is measured on."""
    a, b = projections(count)
    random = np.random.default_rng(1)
    for epoch in range(epochs):
        drift = (epochs - epoch) * 0.3
        for rows in random.permutation(examples or count).reshape(-1, batch):
            now = np.stack([a[rows], b[rows]]) + drift * random.normal(size=(2, batch, WIDTH))
            loss(*tf.unstack(tf.cast(now, tf.float32)), tf.constant(rows))
    return Given(loss, a, b)


def everyone(count):
    """Data of so many examples, in an order that is not that of their indices."""
    return {"index": np.random.default_rng(2).permutation(count).astype(np.int32)}


def brute(built, rows, temperature, *, sides=2, differences=False):
    """log g of both views of some examples among themselves, all at once, in float64: [2, n]."""
    a, b = (normalized(side.numpy()[rows]) for side in (built.a, built.b))
    temperature = np.broadcast_to(temperature, (2, len(rows)))
    found = []
    for own, other, t in zip((a, b), (b, a), temperature, strict=True):
        logits = [own @ z.T / t[:, None] for z in (other, own)[:sides]]
        for part in logits:
            np.fill_diagonal(part, -np.inf)
        both = np.concatenate(logits, axis=1)
        highest = both.max(axis=1)
        log_sum = highest + np.log(np.exp(both - highest[:, None]).sum(axis=1))
        log_g = log_sum - np.log(sides * (len(rows) - 1))
        found.append(log_g - np.sum(own * other, axis=1) / t if differences else log_g)
    return np.stack(found)


def assert_figures(found, log_u, log_g):
    """Of entries in the order of their indices, within `NEAR`."""
    error = log_u - log_g
    assert found.bias == pytest.approx(error.mean(), abs=NEAR)
    assert found.rms == pytest.approx(np.sqrt(np.mean(error**2)), abs=NEAR)
    assert found.deviation == pytest.approx(error.std(), abs=NEAR)
    assert found.correlation == pytest.approx(np.corrcoef(log_u, log_g)[0, 1], abs=NEAR)
    assert found.compared == error.size


@contextlib.contextmanager
def unchanged(built):
    """Within it nothing of a model changes."""
    held = [*built.variables, *built.optimizer.variables, *built.metrics_variables]
    before = [np.array(variable) for variable in held]
    yield
    for variable, then in zip(held, before, strict=True):
        np.testing.assert_array_equal(variable, then, err_msg=variable.path)


class TestBruteForce:
    @pytest.mark.parametrize(
        ("name", "count", "options"),
        [("sogclr", 2000, {}), ("sogclr", 200, {"drift_rate": 0.1}), ("isogclr", 200, {})],
    )
    def test_an_entry_for_both_views(self, name, count, options):
        built = trained(sogclr_tf.build_loss(name, count, temperature=0.1, **options), count)
        temperature = 0.1
        if name == "isogclr":
            temperature = built.contrastive_loss.temperatures.numpy()
            assert temperature.std() > 0.002
        found = normalizer_error(built, everyone(count), block=300)
        log_g = np.logaddexp(*brute(built, np.arange(count), temperature)) - np.log(2)
        np.testing.assert_array_equal(found.index, everyone(count)["index"])
        np.testing.assert_allclose(found.log_g, log_g[found.index], rtol=0, atol=NEAR)
        log_u = built.contrastive_loss.log_u.numpy()
        np.testing.assert_array_equal(found.log_u, log_u[found.index])
        assert_figures(found, log_u.astype(float), log_g)
        assert abs(found.bias) > 10 * NEAR
        assert (found.never_visited, found.age) == (0, None)

    @pytest.mark.parametrize("scheme", ["constant", "global", "individual"])
    def test_an_entry_for_each_side(self, scheme):
        count = 200
        loss = sogclr_tf.TwoWayGlobalContrastiveLoss(count, 0.1, temperature_scheme=scheme)
        built, temperature = trained(loss, count), 0.1
        if scheme == "individual":
            temperature = np.stack([loss.temperatures_a.numpy(), loss.temperatures_b.numpy()])
            assert np.abs(temperature[0] - temperature[1]).max() > 0.001
        found = normalizer_error(built, everyone(count), block=90)
        rows = np.arange(count)
        log_g = brute(built, rows, temperature, sides=1, differences=True)
        log_u = np.stack([loss.log_u_a.numpy(), loss.log_u_b.numpy()]).astype(float)
        assert_figures(found, log_u.ravel(), log_g.ravel())
        order = everyone(count)["index"]
        np.testing.assert_array_equal(found.index, np.tile(order, 2))
        np.testing.assert_array_equal(found.log_u, log_u[:, order].ravel())

    @pytest.mark.parametrize("name", ["simclr", "dcl", "clip"])
    def test_batches_where_there_is_no_table(self, name):
        count, size = 100, 32
        built = Given(sogclr_tf.build_loss(name, count, temperature=0.1), *projections(count))
        form = {"sides": 1, "differences": True} if name == "clip" else {}
        found = normalizer_error(built, everyone(count), batch_size=size)
        order = everyone(count)["index"]
        log_u = np.full((2, count), np.nan)
        drawn = np.random.default_rng(0).permutation(count)[: 3 * size].reshape(3, size)
        for rows in order[drawn]:
            log_u[:, rows] = brute(built, rows, 0.1, **form)
        in_a_batch = np.isfinite(log_u)
        log_g = brute(built, np.arange(count), 0.1, **form)
        assert_figures(found, log_u[in_a_batch], log_g[in_a_batch])
        assert (found.never_visited, found.age) == (2 * (count - 3 * size), None)
        # The log of a mean of few lies below that of the mean of all.
        assert found.bias < -0.05

    def test_a_batch_of_all_is_exact(self):
        """Whatever the loss has; and of a table that was just filled with all of them."""
        built = trained(sogclr_tf.GlobalContrastiveLoss(40), 40, epochs=0)
        assert normalizer_error(built, everyone(40), batch_size=40).rms < NEAR
        rows = tf.range(40)
        built.contrastive_loss(built.a, built.b, rows)
        assert normalizer_error(built, everyone(40)).rms < NEAR


class TestVisits:
    def test_what_was_never_visited_is_left_out_and_counted(self):
        loss = sogclr_tf.GlobalContrastiveLoss(60)
        found = normalizer_error(trained(loss, 60, batch=20, examples=40), everyone(60))
        assert (found.compared, found.never_visited) == (40, 20)
        assert sorted(found.index) == list(range(40))
        assert np.isfinite(found.rms)

    def test_nothing_was(self):
        built = trained(sogclr_tf.GlobalContrastiveLoss(20), 20, epochs=0)
        found = normalizer_error(built, everyone(20))
        assert (found.compared, found.never_visited) == (0, 20)
        assert np.isnan([found.bias, found.rms, found.correlation]).all()

    @pytest.mark.parametrize("steps", [7, pytest.param(1, marks=AGAIN)])
    def test_ages_in_the_middle_of_an_epoch(self, steps):
        """Two steps an epoch, and four of 24 examples left out, others each time."""
        built, stream = model("isogclr"), views(batch_size=10)
        built.fit(stream, epochs=1, steps_per_epoch=steps, verbose=0)
        last = np.full(N, -1)
        for step, batch in enumerate(stream.stream().take(steps)):
            last[batch["index"].numpy()] = step
        with unchanged(built):
            found = normalizer_error(built, stream)
        assert sorted(found.index) == np.flatnonzero(last >= 0).tolist()
        np.testing.assert_array_equal(found.age, steps - 1 - last[found.index])
        assert found.never_visited == (last < 0).sum()
        assert sum(group.entries for group in found.by_age()) == found.compared
        assert found.step == steps

    @pytest.mark.slow(reason="streams of other orders, traced anew")
    def test_no_ages_where_the_order_is_another(self):
        built = model()
        built.fit(views(batch_size=10), epochs=1, verbose=0)
        assert normalizer_error(built, views(batch_size=6)).age is None
        other = sogclr_tf.training_views(IMAGES, batch_size=10, policy=views().policy_a, seed=1)
        # It would have visited others by now.
        assert normalizer_error(built, other).age is None


class TestModel:
    def test_projections_are_those_of_a_training_step(self):
        """Batch by batch, of which the last, of 4 examples, is filled up."""
        built, stream = model("dcl"), views(batch_size=10)
        built.fit(stream, epochs=1, verbose=0)
        found = normalizer_error(built, stream, batch_size=N)
        examples = stream.all_examples(0)
        batches = list(examples.concatenate(examples.take(6)).batch(10))
        sides = [built.sides(batch, training=True) for batch in batches]
        a, b = (np.concatenate(side)[:N] for side in zip(*sides, strict=True))
        index = np.concatenate([batch["index"] for batch in batches])[:N]
        given = Given(built.contrastive_loss, a, b)
        want = normalizer_error(given, {"index": np.arange(N)}, batch_size=N)
        np.testing.assert_array_equal(found.index, np.tile(index, 2))
        assert found.log_g == close(want.log_g, terms=1000, at_least=2)
        inference = normalizer_error(built, stream, batch_size=N, training=False)
        assert np.abs(inference.log_g - found.log_g).max() > 0.05

    @pytest.mark.slow(reason="streams of all examples, traced anew")
    def test_a_stream_gives_the_views_of_its_epoch(self):
        """All of them, those that fill no batch too; as arrays they say the same."""
        built, stream = model(), views(batch_size=10)
        built.fit(stream, epochs=3, verbose=0)
        everything = next(iter(views(batch_size=N).epoch(2)))
        whole = {key: value.numpy() for key, value in everything.items()}
        of_arrays, of_stream = (
            normalizer_error(built, data, training=False) for data in (whole, stream)
        )
        at = np.argsort(of_arrays.index), np.argsort(of_stream.index)
        np.testing.assert_array_equal(of_arrays.log_u[at[0]], of_stream.log_u[at[1]])
        assert of_arrays.log_g[at[0]] == close(of_stream.log_g[at[1]], at_least=2)
        assert of_arrays.compared + of_arrays.never_visited == N
        assert of_arrays.age is None

    @pytest.mark.parametrize(
        ("loss", "data", "options", "message"),
        [
            ("sogclr", {"index": np.arange(9)}, {}, "lack example 9, which the table was"),
            ("dcl", {"index": np.arange(10)}, {}, "'dcl' has no table: give the batch_size"),
            ("dcl", {"index": np.arange(10)}, {"batch_size": 11}, "is 11: expected 2 to 10"),
            ("sogclr", {"index": np.arange(10)}, {"block": 0}, "block is 0"),
            ("sogclr", {"index": np.arange(10) // 2}, {}, "occurs twice"),
            ("sogclr", {"index": np.arange(9, -1, -1) + 1}, {}, r"index 10 is outside \[0, 10\)"),
        ],
    )
    def test_refuses(self, loss, data, options, message):
        built = Given(sogclr_tf.build_loss(loss, 10), *projections(11))
        if loss == "sogclr":
            rows = tf.range(10)
            built.contrastive_loss(built.a[:10], built.b[:10], rows)
        with pytest.raises(ValueError, match=message):
            normalizer_error(built, data, **options)

    def test_a_table_of_ones_own_must_tell(self):
        class Mine(sogclr_tf.ContrastiveLoss):
            has_table = True
            num_examples = 10

        with pytest.raises(NotImplementedError, match="Mine has a table: it must define log_u_of"):
            normalizer_error(Given(Mine(), *projections(10)), everyone(10))

    def test_pair_by_pair_there_is_no_g(self):
        built = Given(sogclr_tf.SigLIPLoss(), *projections(10))
        with pytest.raises(ValueError, match="'siglip' compares pair by pair: it has no g"):
            normalizer_error(built, everyone(10), batch_size=5)

    def test_before_there_are_weights(self):
        flatten = keras.Sequential([keras.layers.Flatten()])
        built = sogclr_tf.SogCLR(flatten, sogclr_tf.GlobalContrastiveLoss(N))
        with pytest.raises(ValueError, match="has no weights yet: train it first"):
            normalizer_error(built, views())
