"""The steps of temperatures that the two-way loss takes itself, by Adam."""

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close
from support.reference import Adam, TwoWayGlobalContrastive

from sogclr_tf import TwoWayGlobalContrastiveLoss
from sogclr_tf.losses import temperature_steps

N, BATCH = 8, 4


def batches(steps):
    random = np.random.default_rng(0)
    for _ in range(steps):
        a, b = random.normal(size=(2, BATCH, 6)).astype(np.float32)
        yield a, b, random.permutation(N)[:BATCH].astype(np.int32)


def built(scheme="global", temperature=0.1, eta=0.05, **options):
    return TwoWayGlobalContrastiveLoss(
        N,
        temperature,
        0.5,
        temperature_scheme=scheme,
        temperature_optimizer="adam",
        eta=eta,
        **options,
    )


class TestOfAll:
    @pytest.mark.parametrize("scheme", ["global", "unscaled"])
    def test_it_moves_by_adam(self, scheme):
        loss, adam, log_temperature = built(scheme, rho=1.0), Adam(), np.log(0.1)
        scaled = scheme == "global"
        reference = TwoWayGlobalContrastive(N, 0.1, 0.5, rho=float(scaled), scaled=scaled)
        for a, b, index in batches(5):
            reference.tau[:] = np.exp(log_temperature)
            value, _, slope = reference.step(a, b, index)
            log_temperature -= 0.05 * adam.step(np.exp(log_temperature) * slope)
            assert float(loss(a, b, index)) == close(value, at_least=1)
            assert float(loss.learned_temperature) == close(np.exp(log_temperature))

    @pytest.mark.parametrize(("temperature", "share"), [(0.0301, 1), (0.03, 1 / 3), (0.02, 1 / 3)])
    def test_at_a_low_temperature_by_a_third(self, temperature, share):
        """The first step of Adam is as long as the rate."""
        loss = built(temperature=temperature)
        loss(*next(batches(1)))
        moved = np.abs(np.log(float(loss.learned_temperature) / temperature))
        assert moved == close(0.05 * share, at_least=np.abs(np.log(temperature)))

    @pytest.mark.parametrize(("rho", "bound"), [(50.0, 0.09), (0.0, 0.11)])
    def test_it_stays_in_its_bounds(self, rho, bound):
        loss = built(rho=rho, eta=1.0, min_temperature=0.09, max_temperature=0.11)
        loss(*next(batches(1)))
        assert float(loss.learned_temperature) == close(bound, terms=4)

    def test_no_optimizer_moves_it(self):
        assert built().trainable_weights == []
        assert len(built().weights) == 2 + 4

    def test_evaluation_does_not_move_it(self):
        loss = built()
        loss(*next(batches(1)), training=False)
        assert float(loss.learned_temperature) == close(0.1, terms=4)

    def test_checkpoints_keep_its_state(self, tmp_path):
        loss, again = built(), built()
        for batch in batches(3):
            loss(*batch)
        path = tf.train.Checkpoint(loss=loss).write(str(tmp_path / "checkpoint"))
        tf.train.Checkpoint(loss=again).read(path).assert_consumed()
        for got, want in zip(again.weights, loss.weights, strict=True):
            np.testing.assert_array_equal(got, want)


class TestOfExamples:
    def test_a_first_step_is_as_long_as_eta(self):
        """Negatives and positives all alike: log u = 0, no logits, and the derivative is rho."""
        loss = built("individual", 0.1, eta=0.01, rho=2.0)
        views = tf.ones((BATCH, 3))
        loss(views, views, tf.range(BATCH))
        want = [*(BATCH * [0.09]), *((N - BATCH) * [0.1])]
        assert_close(loss.temperatures_a, want, terms=4)
        assert_close(loss.temperatures_b, want, terms=4)

    def test_derivatives_are_cut(self):
        zeros = 3 * [tf.zeros(1)]
        _, (velocity, square, steps) = temperature_steps.adam_of_examples(
            tf.constant([0.1]), zeros, tf.constant([-70.0]), eta=0.01, bounds=(0.01, 1.0)
        )
        assert_close([*velocity, *square, *steps], [-0.5, 0.025, 1], terms=4)


def test_accumulated_gradients_are_refused_for_all_alone():
    with pytest.raises(ValueError, match="gradient_accumulation_steps is 4, but .* 'adam'"):
        built().check_accumulation(4)
    built().check_accumulation(1)
    built("individual").check_accumulation(4)
