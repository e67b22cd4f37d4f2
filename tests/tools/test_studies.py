"""The studies under tools/: each part of them, with few steps."""

import json
import sys

import numpy as np
import pytest
from support.exhaustive import exhaustive
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import study_batch_size
import study_estimator
import study_runs
import study_temperatures
import study_virtual_batch
from studies import batch_size_report, cifar


@pytest.fixture
def few_images(monkeypatch):
    """The studies of CIFAR-10 are evaluated on the first thousand images of a split."""
    whole = {"test": "test[:1000]", "train[40000:45000]": "train[40000:41000]"}
    load = cifar.load
    monkeypatch.setattr(cifar, "load", lambda folder, split: load(folder, whole.get(split, split)))


class TestEstimator:
    @pytest.mark.slow(reason="trainings of a study")
    def test_a_run(self, monkeypatch):
        """More steps lead further down; the gradient's norm is one."""
        found = []
        for steps in (20, 200):
            monkeypatch.setattr(study_estimator, "STEPS", steps)
            run = study_estimator.Run("SogCLR 0.5", 32, 0.3, 0)
            found.append(study_estimator.train(run))
        assert found[1]["value"] < found[0]["value"]
        assert all(result["gradient_norm"] > 0 for result in found)
        assert all(abs(result["bias"]) < result["rms"] for result in found)

    @pytest.mark.parametrize(
        ("method", "name", "gamma"),
        [
            ("SimCLR", "simclr", None),
            ("DCL", "dcl", None),
            *((f"SogCLR {gamma}", "sogclr", gamma) for gamma in (0.9, 0.5, 0.1)),
            ("SogCLR visits drift", "sogclr", 0.1),
        ],
    )
    def test_methods(self, method, name, gamma):
        assert method in study_estimator.METHODS
        built = study_estimator.contrastive_loss(method, 10)
        assert (built.name, getattr(built, "gamma", None)) == (name, gamma)
        assert built.temperature == study_estimator.TEMPERATURE

    def test_half_a_line_is_dropped_for_good(self, tmp_path):
        run = study_estimator.Run("DCL", 8, 0.1, 0)
        line = json.dumps({**run._asdict(), "value": -0.5, "gradient_norm": 0.1}) + "\n"
        results = tmp_path / "results.jsonl"
        results.write_text(line + '{"method": "D')
        found = study_runs.read(results, study_estimator.Run)
        assert found == {run: {"value": -0.5, "gradient_norm": 0.1}}
        assert results.read_text() == line

    def test_the_best_step_size_and_its_table(self, tmp_path):
        def found(value):
            return {"value": value, "gradient_norm": 1.0, "bias": -0.5, "rms": 1.5}

        results, final = {}, []
        for batch in study_estimator.BATCHES:
            searched = study_estimator.search_runs(batch)
            results |= {run: found(run.step_size - run.batch) for run in searched}
            final += study_estimator.final_runs(results, batch)
        assert all(run.step_size == min(study_estimator.STEP_SIZES[run.batch]) for run in final)
        results |= {run: found(-run.batch) for run in final}
        missing = final[-1]
        del results[missing]
        summary = study_estimator.summary(results)
        assert (missing.method, missing.batch) not in summary
        size, runs = summary["DCL", 8]
        assert (size, [run["value"] for run in runs]) == (0.1, [-7.9, -8, -8])
        row = "| 8 | DCL | 0.1 | -7.9667 ± 0.0577 | 1.0000 ± 0.0000 | -0.50 ± 0.00 | 1.50 ± 0.00 |"
        assert row in study_estimator.markdown(summary)
        study_estimator.draw(summary, tmp_path / "estimator.png")
        assert (tmp_path / "estimator.png").stat().st_size > 10_000


class TestBatchSize:
    HARM = ("SimCLR", "DCL", "SogCLR 0.9", "SogCLR 0.1 visits")

    @pytest.fixture
    def results(self):
        """Of every run: the best rate is 2e-3, the best gamma 0.5; larger batches do better."""
        results = {}
        for stage in (
            lambda _: study_batch_size.rate_runs(),
            study_batch_size.gamma_runs,
            study_batch_size.final_runs,
            lambda results: study_batch_size.harm_runs(results, self.HARM),
        ):
            results |= {run: self.scores(run) for run in stage(results)}
        return results

    def scores(self, run):
        found = 40 + run.batch / 64 + run.seed - abs(run.rate - 2e-3) * 1000 + run.epochs / 10
        bonus = {"SimCLR": 0, "SogCLR 0.5": 2}.get(run.method, 1) + run.temperature - 0.1
        return {"validation_knn": found + bonus, "knn": found + bonus, "linear": found + bonus + 1}

    @pytest.mark.slow(reason="trainings of a study")
    @pytest.mark.usefixtures("few_images")
    def test_a_run(self, monkeypatch, data_dir):
        monkeypatch.setattr(study_batch_size, "IMAGES", 64)
        run = study_batch_size.Run("SogCLR 0.9", 16, 1e-3, 1, 0)
        found = study_batch_size.train(run, str(data_dir))
        assert set(found) == {"validation_knn", "knn", "linear"}
        assert all(5 < score < 40 for score in found.values())

    @pytest.mark.parametrize(
        ("method", "name", "options"),
        [
            ("SimCLR", "simclr", {}),
            ("DCL", "dcl", {}),
            ("SogCLR 0.3", "sogclr", {"gamma": 0.3, "gamma_rule": "constant", "drift_rate": 0}),
            ("SogCLR 0.1 visits", "sogclr", {"gamma": 0.1, "gamma_rule": "visits"}),
            ("SogCLR 0.2 constant 0.05", "sogclr", {"gamma": 0.2, "drift_rate": 0.05}),
        ],
    )
    def test_methods(self, method, name, options):
        built = cifar.contrastive_loss(method, 10, 0.05)
        assert (built.name, built.temperature) == (name, 0.05)
        assert {option: getattr(built, option) for option in options} == options

    def test_a_line_of_before_there_was_a_temperature(self, tmp_path):
        run = study_batch_size.Run("DCL", 64, 1e-3, 12, 0)
        line = run._asdict() | {"knn": 42.94}
        del line["temperature"]
        (tmp_path / "results.jsonl").write_text(json.dumps(line) + "\n")
        found = study_runs.read(tmp_path / "results.jsonl", study_batch_size.Run)
        assert found == {run: {"knn": 42.94}}
        assert run.temperature == 0.1

    def test_what_is_chosen(self, results):
        assert study_batch_size.best_rate(results) == 2e-3
        assert study_batch_size.methods(results) == (
            *self.HARM[:3],
            "SogCLR 0.5",
            "SogCLR 0.1 visits",
        )
        decisive = [run for run in results if (run.batch, run.epochs) == (16, 30)]
        assert len(decisive) == 8

    def test_harm_has_four_seeds_everywhere(self, results):
        runs = study_batch_size.harm_runs(results, self.HARM)
        assert len(set(runs)) == len(runs) == 4 * 6 * 4
        assert {run.seed for run in runs} == {0, 1, 2, 3}
        assert {run.batch for run in runs[:8]} == {8}
        assert {(run.rate, run.epochs) for run in runs} == {(2e-3, 12)}

    def test_table_picture_and_those_of_a_part(self, results, tmp_path):
        batch_size_report.write(results, study_batch_size.methods(results), 2e-3, tmp_path)
        table = (tmp_path / "table.md").read_text()
        # Of SimCLR at 0.1 seeds 0 to 3, of SogCLR 0.5 two, which are ahead by two points.
        assert "| batch 16 | 44.0 ± 1.5 / 43.0 ± 1.5 | 45.0 ± 1.5" in table
        assert "| 12 | 0.1 | 16 | +1.0 ± 0.0 (4) | +1.0 ± 0.0 (4) | +2.0 ± 0.0 (2) |" in table
        assert "12 epochs, τ = 0.05 | SimCLR | DCL | SogCLR 0.9 | SogCLR 0.1 visits |" in table
        assert (tmp_path / "batch_size.png").stat().st_size > 10_000
        begun = dict(list(results.items())[:20])
        batch_size_report.write(begun, study_batch_size.METHODS, 2e-3, tmp_path)
        assert "30 epochs" not in (tmp_path / "table.md").read_text()

    @pytest.mark.parametrize(("score", "status"), [(47.5, 0), (42.0, 1)])
    def test_check(self, results, capsys, score, status):
        trained = []
        found = study_batch_size.check(
            results,
            lambda run: trained.append(run) or {"knn": 47.0, "linear": score, "validation_knn": 0},
        )
        assert found == status
        assert [run[:2] for run in trained] == [study_batch_size.SMALLEST]
        assert ("OUTSIDE" in capsys.readouterr().out) == bool(status)


class TestVirtualBatch:
    @pytest.fixture
    def results(self):
        """Of every run; SogCLR is ahead by one point."""
        runs = study_virtual_batch.runs([*study_virtual_batch.ALL])
        return {run: self.scores(run) for run in runs}

    def scores(self, run):
        top1 = 40 + run.seed + (run.method != "SimCLR")
        objective = {"objective": -0.5 - run.seed / 100, "gradient_norm": 0.125}
        return {"validation_knn": top1, "knn": top1, "linear": top1 + 1, **objective}

    @pytest.mark.slow(reason="trainings of a study")
    @pytest.mark.usefixtures("few_images")
    @pytest.mark.parametrize(
        "way",
        ["virtual 256 in 16 chunks", *exhaustive([], ["16 x 16 accumulated"])],
    )
    def test_a_run(self, monkeypatch, data_dir, way):
        monkeypatch.setattr(study_virtual_batch, "IMAGES", 512)
        monkeypatch.setattr(study_virtual_batch, "MEASURED", 500)
        run = study_virtual_batch.Run("SogCLR 0.9", way, 1, 0)
        found = study_virtual_batch.train(run, str(data_dir))
        assert set(found) == {"validation_knn", *study_virtual_batch.SCORES}
        assert all(5 < found[score] < 40 for score in ("linear", "knn"))

    def test_the_order_of_the_runs(self, results):
        """The first seed of every way before the others, and of the references no other."""
        assert [run.seed for run in results] == [0] * 12 + [1] * 8 + [2] * 8
        some = study_virtual_batch.runs(["batch 8", "batch 256"])
        assert {run.way for run in some} == {"batch 8", "batch 256"}
        assert [run.seed for run in some] == [0] * 4 + [1] * 2 + [2] * 2

    def test_every_update_is_of_as_many_examples_as_it_says(self):
        sizes = {
            way: (how.batch * how.accumulated, how.batch // how.chunks)
            for way, how in study_virtual_batch.WAYS.items()
        }
        assert sizes == {
            "batch 8": (8, 8),
            "batch 16": (16, 16),
            "16 x 16 accumulated": (256, 16),
            "virtual 256 in 16 chunks": (256, 16),
        }

    def test_table_picture_and_those_of_a_part(self, results, tmp_path):
        study_virtual_batch.write(results, tmp_path)
        table = (tmp_path / "virtual_batch.md").read_text()
        row = "42.0 ± 1.0 | 41.0 ± 1.0 | -0.5100 ± 0.0100 | 0.1250 ± 0.0000 | 3 |"
        assert f"| batch 8 | SimCLR | {row}" in table
        assert "| batch 256 | SogCLR 0.9 | 42.0 | 41.0 | -0.5000 | 0.1250 | 1 |" in table
        assert 10_000 < (tmp_path / "virtual_batch.png").stat().st_size < 100_000
        study_virtual_batch.write(dict(list(results.items())[:6]), tmp_path)
        assert "accumulated" not in (tmp_path / "virtual_batch.md").read_text()


class TestTemperatures:
    def test_classes_fall_to_a_tenth(self):
        orders = set()
        for seed in range(3):
            images, labels = study_temperatures.long_tailed_digits(seed)
            sizes = np.bincount(labels)
            assert len(images) == len(labels)
            assert sizes.max() > 115
            assert sizes.min() == 12
            orders.add(tuple(np.argsort(sizes)))
        assert len(orders) == 3

    def test_means_by_class(self):
        sizes, means = study_temperatures.by_class(
            np.float32([0.1, 0.3, *[0.5] * 9]), np.array([0, 0, *range(1, 10)])
        )
        assert sizes.tolist() == [2] + [1] * 9
        np.testing.assert_allclose(means, [0.2] + [0.5] * 9)
