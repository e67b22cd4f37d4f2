"""The study of images and texts: its runs, their settings and the tables of them."""

import itertools
import sys

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import study_image_text
from studies import emoji


class TestImageText:
    @pytest.fixture
    def results(self):
        """Of every run: 3e-3 and 0.03 are the best setting; larger batches do better."""
        runs = study_image_text.tuning_runs()
        results = {run: self.scores(run) for run in runs}
        return results | {run: self.scores(run) for run in study_image_text.final_runs(results)}

    def scores(self, run):
        score = 20 + run.batch / 32 + run.seed + 1000 * run.rate - 10 * run.temperature
        keys = itertools.product(emoji.WAYS, emoji.KS)
        return {emoji.recall_at(*key): score for key in keys}

    @pytest.mark.slow(reason="trainings of a study")
    def test_a_run(self, monkeypatch, data_dir):
        monkeypatch.setattr(study_image_text, "EPOCHS", 1)
        run = study_image_text.Run("siglip", 128, 1e-3, 0.1, 0, "train[90%:]")
        found = study_image_text.train(run, str(data_dir))
        assert 0 < emoji.mean_recall(found) < 50
        assert found["last_temperature"] != 0.1

    def test_the_order_of_the_runs(self, results):
        final = [run for run in results if run.evaluated_on == "test"]
        assert len(results) - len(final) == 5 * 4
        assert {(run.rate, run.temperature) for run in final} == {(3e-3, 0.03)}
        assert len(final) == 4 * 3 * 5
        assert [run.seed for run in final] == sorted(run.seed for run in final)

    def test_table_and_that_of_a_part(self, results):
        rows = study_image_text.reached(results)
        assert rows[2].startswith("| 16 | clip | 0.003 | 0.03 | 25.7 (24.2-27.2) |")
        assert len(rows) == 2 + 3 * 5
        begun = dict(list(results.items())[: 5 * 4 + 3 * 3 * 5])
        assert len(study_image_text.reached(begun)) == 2

    def test_lead_seed_by_seed(self, results):
        """Ahead by 0.6, 1.2, 1.8 and 2.4: by 1.5, whose standard error is 0.77 / 2."""
        for run in results:
            if run.method == "siglip":
                ahead = 0.6 * run.seed if run.evaluated_on == "test" else 0
                results[run] = {key: score + ahead for key, score in results[run].items()}
        header, _, *rows = study_image_text.ahead(results)
        assert (
            header
            == f"| batch | clip: rate | temperature | {' | '.join(list(emoji.METHODS)[1:])} |"
        )
        level = " | +0.0 ± 0.0 (4)" * 3
        assert rows == [f"| {b} | 0.003 | 0.03 | +1.5 ± 0.4 (4){level} |" for b in (16, 32, 128)]
        one_seed = {run: found for run, found in results.items() if run.seed < 2}
        assert study_image_text.ahead(one_seed)[2] == "| 16 | 0.003 | 0.03 |  |  |  |  |"

    def test_settings_that_are_level_are_all_trained(self, results):
        found = {run: results[run] for run in study_image_text.tuning_runs()}
        (best,) = study_image_text.best_settings(found, "clip")
        level = study_image_text.Run("clip", 32, 1e-3, 0.1, 0, "train[90%:]")
        found[level] = found[level._replace(rate=best[0], temperature=best[1])]
        assert study_image_text.best_settings(found, "clip") == [(1e-3, 0.1), best]
        assert len(study_image_text.final_runs(found)) == 4 * 3 * (5 + 1)

    @pytest.mark.parametrize("method", study_image_text.METHODS)
    def test_methods(self, method):
        loss = emoji.contrastive_loss(method, 0.1, 100, num_examples=10)
        assert loss.name == method.partition(",")[0]
        if loss.name == "two_way":
            assert loss.gamma_decay_steps == (50 if "falling" in method else 0)
            assert loss.gamma_rule in ("constant", *method.split(", "))
            assert loss.temperature_scheme == "global"
