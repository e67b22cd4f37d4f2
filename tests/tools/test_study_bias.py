"""The study of the bias of a small batch's estimate: what it measures, against loops."""

import math
import sys

import numpy as np
import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import study_bias
from studies import bias_report


def views_of(count, seed=0):
    """Normalized views, float32 [2, count, 5], of which the two of an example are alike."""
    random = np.random.default_rng(seed)
    center = random.normal(size=(count, 5))
    views = center + 0.5 * random.normal(size=(2, count, 5))
    return np.float32(views / np.linalg.norm(views, axis=-1, keepdims=True))


def of_one_anchor(views, anchor, temperature, batches):
    """The measures in loop form: `batches` are lists of the examples beside the anchor's own."""
    views = np.float64(views)
    z, own = views[0, anchor], views[1, anchor]
    others = [index for index in range(views.shape[1]) if index != anchor]

    def mean(examples, values=lambda _: 1.0):
        negatives = [views[side, index] for index in examples for side in (0, 1)]
        return np.mean([math.exp(z @ n / temperature) * values(n) for n in negatives], axis=0)

    def pull(examples):
        found = mean(examples, lambda n: n) / mean(examples)
        return found - z * (found @ z)

    g = mean(others)
    ratios = np.array([mean(batch) / g for batch in batches])
    share = math.exp(z @ own / temperature)
    shares = [share / (share + 2 * len(batch) * mean(batch)) for batch in batches]
    off = np.mean([pull(batch) for batch in batches], axis=0) - pull(others)
    return {
        "bias": np.log(ratios).mean(),
        "spread": np.log(ratios).std(),
        "weight": (1 / ratios).mean() - 1,
        "positive": np.mean(shares),
        "gradient": off @ off,
        "length": pull(others) @ pull(others),
    }


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_batches_of_one_negative_example(temperature):
    """A shuffle holds each of them once, so that its means are expectations."""
    views = views_of(7)
    run = study_bias.Run(7, temperature, 2)
    parts = []
    for anchor in range(7):
        batches = [[index] for index in range(7) if index != anchor]
        parts.append(of_one_anchor(views, anchor, temperature, batches))
    expected = {name: np.mean([part[name] for part in parts]) for name in parts[0]}
    expected["weight"] = np.median([part["weight"] for part in parts])
    expected["gradient"] = math.sqrt(expected["gradient"] / expected.pop("length"))
    found = study_bias.summarize(run, views)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, err_msg=name)


def test_batches_of_three_on_average():
    """Every pair of the other examples is as likely to be drawn."""
    views = views_of(6)
    rows = np.zeros(4000, int)
    run = study_bias.Run(6, 0.2, 3)
    found = study_bias.of_anchors(run, views, rows, np.random.default_rng(0))
    pairs = [[i, j] for i in range(1, 6) for j in range(1, i)]
    expected = of_one_anchor(views, 0, 0.2, pairs)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].mean(), value, rtol=0.05, err_msg=name)


def test_a_batch_of_all_is_exact():
    found = study_bias.summarize(study_bias.Run(40, 0.1, 40), views_of(40))
    assert max(abs(found[name]) for name in ("bias", "spread", "weight", "predicted")) < 1e-6
    assert max(found[name] for name in study_bias.PULLS) < 1e-6


def test_the_table_averages_over_visits():
    ratio = np.random.default_rng(0).uniform(0.5, 2, (3, 40))
    u = ratio[:, -1]
    for step in range(40):
        u = 0.8 * u + 0.2 * ratio[:, step]
    np.testing.assert_allclose(study_bias.averaged(ratio, 0.2)[:, -1], u, rtol=1e-3)
    np.testing.assert_array_equal(study_bias.averaged(ratio, 1.0), ratio)
    found = study_bias.summarize(study_bias.Run(300, 0.2, 8), views_of(300))
    pulls = [found[name] for name in study_bias.PULLS]
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[-1] < pulls[0] / 2


@pytest.mark.parametrize("batch", [8, 64])
def test_the_prediction_where_weights_are_alike(batch):
    found = study_bias.summarize(study_bias.Run(300, 0.5, batch), views_of(300))
    np.testing.assert_allclose(found["predicted"], found["bias"], rtol=0.1)


def test_shuffles_hold_every_other_example_once():
    rows = np.array([0, 3, 9])
    drawn = study_bias.shuffled(rows, 10, 3, 3, np.random.default_rng(0))
    for row, order in zip(rows, drawn.tolist(), strict=True):
        assert sorted(order) == [index for index in range(10) if index != row]


def test_tables_and_picture(tmp_path):
    """Harm is where the pull is off by more than a third, or the positive more than half."""
    results = {
        run: {"bias": -1 / run.batch, "predicted": -1.1 / run.batch, "gradient": 4 / run.batch}
        | {"positive": 10 / run.batch, "gamma 0.5": 1 / run.batch}
        for run in study_bias.runs()
    }
    bias_report.write(results, tmp_path)
    text = (tmp_path / "bias.md").read_text()
    assert "| τ = 0.1 | up to 16 | up to 8 | none |" in text
    assert "| τ = 0.1 | **-0.12 / -0.14** | -0.062 / -0.069 |" in text
    assert "| τ = 0.1 | 50.0 | 25.0 |" in text
    assert "| τ = 0.1 | 25.0 | 6.2 |" in text
    assert "batch 16 | N = 1,000 | N = 5,000 | N = 10,000 | N = 50,000 |" in text
    assert (tmp_path / "bias.png").stat().st_size > 10_000
    bias_report.write(dict(list(results.items())[:15]), tmp_path)


@pytest.mark.slow(reason="a training of a study")
def test_projections_of_a_trained_encoder(monkeypatch, tmp_path, data_dir):
    monkeypatch.setattr(study_bias, "IMAGES", "train[:1000]")
    monkeypatch.setattr(study_bias, "ENCODER", study_bias.ENCODER._replace(epochs=1))
    monkeypatch.setattr(study_bias, "ENCODER_IMAGES", 512)
    path = tmp_path / "projections.npy"
    study_bias.save_projections(path, str(data_dir))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    views = study_bias.load(path)
    assert (views.shape, views.dtype) == ((2, 1000, 128), np.float32)
    np.testing.assert_allclose(np.linalg.norm(views, axis=-1), 1, rtol=1e-5)
    # The two views of an example are nearer to each other than to those of others.
    own = np.einsum("nd,nd->n", *views).mean()
    assert own > np.einsum("nd,nd->n", views[0], np.roll(views[1], 1, axis=0)).mean()
    found = study_bias.measure(study_bias.Run(1000, 0.5, 32), path)
    assert -0.1 < found["bias"] < 0
