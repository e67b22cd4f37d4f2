"""The study of several captions: its parts, with few steps."""

import itertools
import sys

import pytest
from support.emoji_packages import write_packages
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import make_emoji_pairs
import study_captions
from studies import emoji
from study_captions import ASKED, METHODS, TEXTS, Run, asked


def scores(run):
    """3e-3 is the best rate of those with all captions, which are ahead by two points."""
    several = run.texts == "all captions"
    score = 20 + run.seed + 2 * several + 500 * run.rate * (1 if several else -1)
    keys = itertools.product(ASKED, TEXTS, emoji.WAYS, emoji.KS)
    return {
        asked(what, by) + emoji.recall_at(way, k): score + 10 * (what == "new style")
        for what, by, way, k in keys
    }


@pytest.fixture
def results():
    found = {run: scores(run) for run in study_captions.tuning_runs()}
    return found | {run: scores(run) for run in study_captions.final_runs(found)}


def test_the_order_of_the_runs(results):
    final = [run for run in results if run.stage == "final"]
    assert len(results) - len(final) == len(METHODS) * 2 * 2
    assert [run.seed for run in final] == [1] * 6 + [2] * 6 + [3] * 6
    assert {(run.texts, run.rate) for run in final} == {("label", 1e-3), ("all captions", 3e-3)}


def test_table_and_that_of_a_part(results):
    table = study_captions.markdown(results)
    assert len(table.splitlines()) == 2 + 2 * 2 * len(METHODS) * 2
    row = "| label | two_way, proximal | all captions | 0.003 | "
    assert f"| new meanings {row}25.5 (24.5-26.5) |" in table
    assert f"| new style {row}35.5 (34.5-36.5) |" in table
    begun = dict(list(results.items())[:-6])
    assert len(study_captions.markdown(begun).splitlines()) == 2
    assert len(study_captions.markdown({}).splitlines()) == 2


@pytest.mark.slow(reason="training of a study")
def test_a_run(tmp_path, monkeypatch):
    packages, pairs = write_packages(tmp_path / "npm", 60), tmp_path / "pairs"
    arguments = ["make_emoji_pairs.py", str(packages), str(pairs), "--styles=google,twitter"]
    monkeypatch.setattr(sys, "argv", arguments)
    make_emoji_pairs.main()
    monkeypatch.setattr(study_captions, "EPOCHS", 2)
    run = Run("two_way, proximal", "all captions", 3e-3, 1, "final")
    found = study_captions.train(run, pairs)
    assert {*found} == {*scores(run), "last_temperature"}
    assert found.pop("last_temperature") != study_captions.TEMPERATURE
    assert all(0 <= recall <= 100 for recall in found.values())
