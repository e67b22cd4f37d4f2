"""The report of a run: one page that any browser shows, and nothing in it that acts."""

import os

import numpy as np
import PIL.Image
import pytest
from support.chromium import complaints, read_page
from support.report_material import _text, images, material, titles, written

from sogclr_tf.report import run_report
from sogclr_tf.report.material import Example, Material
from sogclr_tf.report.page import Section, page, write_page

EVIL = """<script>alert("1")</script>'&amp;"""
# Of each section, what it is made of.
SECTIONS = {
    "Numbers": {"result": {}},
    "Curves": {"history": {}},
    "Embedding": {"features": None},
    "Nearest neighbors": {"neighbors": []},
    "Hard and easy images": {"log_u": None, "hardest": [], "easiest": []},
    "Error of the estimates of g": {"normalizer": None},
    "Confusion": {"confusion": None},
    "Config": {"config": {}},
    "Environment": {"environment": {}},
    "Command": {"command": ""},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


class TestBrowser:
    def test_draws_the_page_without_complaints(self, path, tmp_path):
        written(path)
        assert complaints(path, tmp_path) == []
        pixels = np.asarray(PIL.Image.open(tmp_path / "drawn.png").convert("RGB"), float)
        # Pictures in the upper part and text in the lower, not a blank window.
        assert pixels[:1500].std() > 20
        assert pixels.shape[1] == 1200

    def test_a_complaint_would_be_seen(self, path, tmp_path):
        path.write_text("<!DOCTYPE html><script>console.error('mended?')</script>")
        (line,) = complaints(path, tmp_path)
        assert "mended?" in line

    def test_what_comes_from_elsewhere_is_refused(self, path, tmp_path):
        """Were escaping ever to fail, the page's own policy would hold."""
        section = Section("x", "<script>console.error('ran')</script>")
        write_page(path, page("x", "", [section]))
        (line,) = complaints(path, tmp_path)
        assert "Content Security Policy" in line


class TestSections:
    def test_all_are_there(self, path):
        assert titles(_text(path)) == list(SECTIONS)
        assert path.stat().st_size < 200_000

    @pytest.mark.parametrize("title", SECTIONS)
    def test_missing_material_has_no_section(self, path, title):
        left = titles(_text(path, **SECTIONS[title]))
        assert left == [other for other in SECTIONS if other != title]

    def test_parts_of_hardness(self, path):
        text = _text(path, log_u=None)
        assert "Hard: the largest u" in text
        assert "images visited" not in text
        text = _text(path, hardest=[], easiest=[])
        assert "99 of 100 images visited" in text
        assert "Hard: the largest u" not in text

    def test_a_title_alone(self, path):
        run_report.write_report(Material("nothing yet"), path)
        page = read_page(path)
        assert page.count("section") == 0
        assert "nothing yet" in page.texts

    def test_numbers(self, path):
        page = written(path)
        place = page.texts.index("Weighted kNN, top-1")
        assert page.texts[place - 2 : place + 3] == [
            *("untrained", "trained", "Weighted kNN, top-1", "40.0%", "90.0%")
        ]
        assert page.texts[page.texts.index("Steps") + 1] == "1,200"

    def test_each_score_stands_beside_its_own_twin(self, path):
        page = written(
            path,
            result={
                "untrained_knn200_top1": 0.31,
                "knn200_top1": 0.8,
                "fine_tuned_0.5_top5": 0.7,
                "linear_top1": 0.0,
                "untrained_linear_top1": 0.0996,
                "uniformity": -2.5,
                "untrained_uniformity": -1.5,
                "untrained_alone": 3,
            },
        )
        place = page.texts.index("trained")
        assert page.texts[place + 1 : place + 14] == [
            *("Weighted kNN of 200, top-1", "31.0%", "80.0%"),
            *("Fine-tuned on 0.5% of labels, top-5", "70.0%"),
            *("Linear probe, top-1", "10.0%", "0.0%"),
            *("Uniformity", "-1.5", "-2.5"),
            *("Untrained alone", "3"),
        ]

    def test_numbers_of_every_kind(self, path):
        result = {
            "linear_top1": 0.7125,
            "per_class": list(range(30)),
            "versions": {"keras": "3.10", "none": None},
            "broken": float("nan"),
            "large": 1e300,
            "truth": True,
            "empty": {},
        }
        text = _text(path, result=result)
        for cell in ("71.2%", "11, ... (30 values)", "3.10", "nan", "true", "null", "{}"):
            assert cell in text
        assert "untrained" not in text

    def test_config_is_not_rounded(self, path):
        text = _text(path, config={"seed": 1234567, "loss": {"tau": 0.123456789, "at": [1, 2]}})
        for cell in ("1234567", "0.123456789", "[1, 2]", "<h3>loss</h3>", "<th>tau</th>"):
            assert cell in text


class TestEscaping:
    def test_everything_from_outside(self, path):
        evil = Example(images(1)[0], EVIL, 0)
        page = written(
            path,
            title=EVIL,
            command=EVIL,
            config={EVIL: {EVIL: EVIL}, "list": [EVIL]},
            environment={EVIL: EVIL},
            result={EVIL: EVIL, f"{EVIL}_top1": 1.0, "nested": {EVIL: [EVIL]}},
            history={"epoch": [0], EVIL: [1.0]},
            class_names=[EVIL, EVIL, EVIL],
            neighbors=[(evil, [evil])],
            hardest=[evil],
            easiest=[evil],
        )
        assert "<script" not in path.read_text()
        assert sum(EVIL in text for text in page.texts) > 20
        assert page.count("p", title=EVIL) == 4

    def test_bytes_that_are_no_text(self, path):
        text = _text(path, hardest=[Example(images(1)[0], os.fsdecode(b"caf\xe9.png"))])
        assert r"caf\xe9.png" in text


class TestFile:
    def test_is_the_old_one_where_writing_fails(self, path, monkeypatch):
        path.write_text("old")

        def fail(*_):
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            run_report.write_report(material(), path)
        assert path.read_text() == "old"
        assert [found.name for found in path.parent.iterdir()] == [path.name]

    def test_stands_alone(self, path):
        written(path)
        assert [found.name for found in path.parent.iterdir()] == [path.name]

    def test_needs_its_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="make .*nowhere first"):
            run_report.write_report(Material("x"), tmp_path / "nowhere" / "report.html")


def test_material_refuses():
    with pytest.raises(ValueError, match=r"features have shape \(3, 2, 2\)"):
        material(features=np.ones((3, 2, 2)), labels=None)
    with pytest.raises(ValueError, match="there are 2 labels: expected one for each of 60"):
        material(labels=[0, 1])
    with pytest.raises(ValueError, match=r"confusion has shape \(2, 3\)"):
        material(confusion=np.ones((2, 3)))
