"""Temperatures of single examples, and one that is learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close
from support.objectives import N, build, gradients_with_weights, loss_and_gradients, projections
from support.reference import (
    RobustGlobalContrastive,
    TwoWayGlobalContrastive,
    numeric_gradient,
)

from sogclr_tf import (
    GlobalContrastiveLoss,
    RobustGlobalContrastiveLoss,
    TwoWayGlobalContrastiveLoss,
)


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
