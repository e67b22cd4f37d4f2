"""The studies under tools/: each part of them, with few steps."""

import json
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tools"))

import study_estimator
import study_runs
import study_temperatures


class TestEstimator:
    def test_a_run(self, monkeypatch):
        """More steps lead further down; the gradient's norm is one."""
        found = []
        for steps in (20, 200):
            monkeypatch.setattr(study_estimator, "STEPS", steps)
            run = study_estimator.Run("SogCLR 0.5", 32, 0.3, 0)
            found.append(study_estimator.train(run))
        assert found[1]["value"] < found[0]["value"]
        assert all(result["gradient_norm"] > 0 for result in found)

    @pytest.mark.parametrize(
        ("method", "objective", "gamma"),
        [
            ("SimCLR", "simclr", None),
            ("DCL", "dcl", None),
            *((f"SogCLR {gamma}", "sogclr", gamma) for gamma in (0.9, 0.5, 0.1)),
        ],
    )
    def test_methods(self, method, objective, gamma):
        assert method in study_estimator.METHODS
        built = study_estimator.objective(method, 10)
        assert (built.name, getattr(built, "gamma", None)) == (objective, gamma)
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
        results = {
            run: {"value": run.step_size - run.batch, "gradient_norm": 1.0}
            for run in study_estimator.search_runs()
        }
        final = study_estimator.final_runs(results)
        assert all(run.step_size == min(study_estimator.STEP_SIZES[run.batch]) for run in final)
        results |= {run: {"value": -run.batch, "gradient_norm": 1.0} for run in final}
        summary = study_estimator.summary(results)
        assert summary["DCL", 8] == (0.1, [-7.9, -8, -8], [1.0, 1.0, 1.0])
        assert "| 8 | DCL | 0.1 | -7.9667 ± 0.0577 |" in study_estimator.markdown(summary)
        study_estimator.draw(summary, tmp_path / "estimator.png")
        assert (tmp_path / "estimator.png").stat().st_size > 10_000


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
