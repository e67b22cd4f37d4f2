"""Objectives against the numbers of LibAUC and of google-research/simclr, and by hand."""

import json

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close
from support.objectives import N, loss_and_gradients, projections

from sogclr_tf import (
    DecoupledContrastiveLoss,
    GlobalContrastiveLoss,
    NTXentLoss,
    RobustGlobalContrastiveLoss,
    TwoWayGlobalContrastiveLoss,
)


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
