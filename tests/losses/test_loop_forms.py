"""Objectives and their gradients against loops in float64 and finite differences."""

import numpy as np
import pytest
from support.exhaustive import exhaustive
from support.numerics import assert_close, close
from support.objectives import N, gradients_with_weights, loss_and_gradients, projections
from support.reference import (
    GlobalContrastive,
    RobustGlobalContrastive,
    TwoWayGlobalContrastive,
    numeric_gradient,
)
from support.reference_in_batch import clip, decoupled, nt_xent, siglip

from sogclr_tf import (
    CLIPLoss,
    DecoupledContrastiveLoss,
    GlobalContrastiveLoss,
    NTXentLoss,
    RobustGlobalContrastiveLoss,
    SigLIPLoss,
    TwoWayGlobalContrastiveLoss,
)

AGAIN = pytest.mark.slow(reason="the same on another value")
# (temperature, batch, width) of what is compared with loop forms.
GRID = [
    *((temperature, 5, 8) for temperature in (0.01, 0.1, 1.0)),
    *(pytest.param(t, 2, 3, marks=AGAIN) for t in exhaustive([0.1], [0.01, 0.1, 1.0])),
]


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


def two_way_and_loops(temperature, gamma, scheme, epsilon, adam):
    """(the loss, its loop form), of the same options."""
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
    loops = TwoWayGlobalContrastive(
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
    return contrastive_loss, loops


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
        contrastive_loss, reference = two_way_and_loops(temperature, gamma, scheme, epsilon, adam)
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
