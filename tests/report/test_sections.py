"""The sections of a report, each of what it is made of."""

import base64
import io
import re

import numpy as np
import PIL.Image
import pytest
from support.report_material import (
    RANDOM,
    _text,
    images,
    material,
    measured,
    neighbors,
    written,
)

from sogclr_tf.report import charts, embedded_images, run_report, sections
from sogclr_tf.report.material import Example


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


class TestCurves:
    @pytest.mark.parametrize("epochs", [1, 2, 30, 31, 500])
    def test_epochs(self, path, epochs):
        history = {"epoch": list(range(epochs)), "loss": [1.0] * epochs}
        page = written(path, history=history)
        (line,) = [found["points"] for tag, found in page.tags if tag == "polyline"]
        assert len(line.split()) == epochs
        assert page.count("path", class_="dots") == (epochs <= 30)
        assert "nan" not in line

    def test_gaps_are_bridged(self, path):
        history = {
            "epoch": list(range(6)),
            "knn_top1": [np.nan, 0.4, np.nan, 0.5, np.inf, np.nan],
            "never": [np.nan] * 6,
        }
        page = written(path, history=history)
        (line,) = [found["points"] for tag, found in page.tags if tag == "polyline"]
        assert len(line.split()) == 2
        assert "Never" not in page.texts
        assert "50%" in page.texts

    def test_known_metrics_come_first_and_shares_are_percentages(self, path):
        columns = ("other", "learning_rate", "epoch", "contrast_accuracy", "loss")
        page = written(path, history={name: [0.5] for name in columns})
        titles = ["Loss", "Contrast accuracy", "Learning rate", "Other"]
        assert [text for text in page.texts if text in titles] == titles
        assert "50%" in page.texts

    @pytest.mark.parametrize(
        ("last_epoch", "low", "high", "texts"),
        [
            (2, 0, 0.3, ["0", "0.1", "0.2", "0.3", "0", "1", "2"]),
            (40, -2500, 1500, ["-2,000", "-1,000", "0", "1,000", *("0", "10", "20", "30", "40")]),
        ],
    )
    def test_ticks_are_round(self, last_epoch, low, high, texts):
        line = charts.Line("run", "#000", [0, last_epoch], [low, high])
        drawn = charts.line_chart([line], "Loss")
        assert re.findall("<text .*?>(.*?)</text>", drawn) == [*texts, "epoch"]

    def test_refuses_a_history_without_epochs(self, path):
        with pytest.raises(ValueError, match=r"\['loss'\] lack 'epoch'"):
            run_report.write_report(material(history={"loss": [1.0]}), path)
        assert not path.exists()


class TestEmbedding:
    def test_every_example_is_a_point_twice(self, path):
        page = written(path)
        dots = [found["d"].count("M") for tag, found in page.tags if found.get("class") == "points"]
        assert dots == [20] * 6

    def test_draws_a_part_of_many(self, path, monkeypatch):
        monkeypatch.setattr(sections, "EMBEDDED_EXAMPLES", 40)
        page = written(path, labels=None)
        dots = [found["d"].count("M") for tag, found in page.tags if found.get("class") == "points"]
        assert dots == [40, 40]
        assert page.count("div", class_="legend") == 0

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("shape", [(60, 16), (2, 16), (3, 1), (5, 2)])
    def test_collapsed_features(self, path, shape):
        page = written(path, features=np.ones(shape, np.float32), labels=np.zeros(shape[0], int))
        assert "no variance" in page.texts
        assert page.count("path", class_="points") == 2
        # An image's own letters may be those three.
        assert "nan" not in re.sub('base64,.*?"', "", path.read_text())

    @pytest.mark.parametrize("features", [np.ones((1, 4)), np.full((9, 4), np.nan)])
    def test_says_why_there_is_none(self, path, features):
        assert "not all finite" in _text(path, features=features, labels=None)

    def test_one_class_and_labels_without_a_name(self, path):
        assert ">cow<" in _text(path, labels=np.full(60, 2))
        text = _text(path, labels=np.arange(60) % 5 - 1)
        assert ">-1<" in text
        assert ">3<" in text

    def test_classes_of_the_same_name_stay_apart(self, path):
        page = written(path, class_names=["same"] * 3)
        assert page.count("i") == 3

    @pytest.mark.slow(reason="a thousand classes are drawn")
    def test_a_thousand_classes(self, path):
        page = written(
            path,
            features=RANDOM.normal(size=(1000, 8)),
            labels=np.arange(1000),
            class_names=[f"class {k}" for k in range(1000)],
            confusion=RANDOM.integers(0, 3, (1000, 1000)),
        )
        assert page.count("div", class_="legend") == 0
        assert page.count("td") < 100
        assert path.stat().st_size < 1_500_000
        assert len(set(charts.colors(1000))) > 300


class TestNeighbors:
    def test_frames_tell_the_class(self, path):
        page = written(path, neighbors=neighbors(16, 6))
        assert page.count("figure", class_="query") == 16
        assert page.count("figure", class_="same") == 16
        assert page.count("figure", class_="other") == 80
        assert any("16 of 96 neighbors" in text for text in page.texts)
        assert path.stat().st_size < 1_000_000

    def test_no_frames_without_labels(self, path):
        plain = [(Example(images(1)[0], "a"), [Example(images(1)[0], "b")])]
        page = written(path, neighbors=plain)
        assert page.count("figure", class_="same") == page.count("figure", class_="other") == 0
        assert not any("neighbors have" in text for text in page.texts)

    def test_no_neighbors_found(self, path):
        assert written(path, neighbors=[(Example(images(1)[0], "a", 0), [])]).count(
            "figure", class_="query"
        )

    def test_photographs_stay_small(self, path):
        ramp = np.indices((400, 500)).sum(axis=0)[..., np.newaxis] / 900 * np.ones(3)
        photograph = Example(ramp + RANDOM.normal(0, 0.05, ramp.shape), "photograph", 1)
        written(path, neighbors=[(photograph, [photograph] * 6)] * 16)
        assert path.stat().st_size < 1_500_000


class TestImages:
    def test_tiny_ones_are_kept_exactly(self):
        for pixels in (images(1, 64)[0], images(1)[0], images(1, 8)[0][..., :1]):
            tag, picture = embedded(pixels)
            assert 'class="crisp"' in tag
            np.testing.assert_array_equal(np.asarray(picture), np.squeeze(pixels))

    def test_floats_are_rounded_and_clipped(self):
        pixels = np.array([0, 0.5, 1, 2, np.nan]).reshape(1, 5, 1)
        assert np.asarray(embedded(pixels)[1]).tolist() == [[0, 128, 255, 255, 0]]

    def test_large_ones_are_shrunk(self):
        tag, picture = embedded(np.zeros((400, 500, 3), np.uint8))
        assert picture.size == (128, 102)
        assert "crisp" not in tag

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"float64 \(4, 4\)"):
            embedded_images.image(np.zeros((4, 4)))
        with pytest.raises(ValueError, match="int64"):
            embedded_images.image(np.zeros((4, 4, 3), np.int64))


class TestTableOfU:
    def test_none_visited(self, path):
        page = written(path, log_u=np.full(7, -np.inf))
        assert any("0 of 7 images visited" in text for text in page.texts)
        assert "Images by log u" not in page.texts

    def test_what_is_broken_is_counted(self, path):
        text = _text(path, log_u=np.array([1.0, np.nan, np.inf, -np.inf, 2.0]))
        assert "2 of 5 images visited" in text
        assert "2 entries are NaN or infinite" in text

    def test_equal_values(self, path):
        assert "median 3" in _text(path, log_u=np.full(9, 3.0))


class TestErrorOfTheEstimates:
    HISTORY = {
        "epoch": [0, 1],
        "loss": [2, 1],
        **{f"normalizer_{name}": [np.nan, 0.25] for name in ("bias", "rms", "correlation")},
    }

    def test_figures_points_and_curves(self, path):
        page = written(path, history=self.HISTORY)
        assert any("At step 1,234, 50 estimates" in text for text in page.texts)
        assert any("Bias 0.25, root mean square 0.25" in text for text in page.texts)
        (dots,) = [found["d"] for _, found in page.tags if found.get("class") == "estimates"]
        assert dots.count("M") == 50
        assert page.count("path", class_="equal") == 1
        place = page.texts.index("Error by epoch")
        assert page.texts.index("root mean square", place) > place
        # They are not drawn a second time.
        assert page.count("polyline") == 1 + 3
        place = page.texts.index("2 to 3")
        assert page.texts[place + 1 : place + 4] == ["2", "0.25", "0.25"]

    def test_draws_a_part_of_many(self, path):
        page = written(path, normalizer=measured(50_000))
        (dots,) = [found["d"] for _, found in page.tags if found.get("class") == "estimates"]
        assert dots.count("M") == 2000

    def test_without_ages_and_epochs(self, path):
        page = written(path, normalizer=measured(age=None), history={})
        assert "Steps since the visit" not in page.texts
        assert "Error by epoch" not in page.texts
        assert page.count("path", class_="estimates") == 1

    def test_says_why_there_is_none(self, path):
        empty = np.zeros(0, np.float32)
        text = _text(path, normalizer=measured(0, log_u=empty, log_g=empty))
        assert "0 estimates" in text
        broken = np.full(50, np.nan, np.float32)
        assert "none is drawn" in _text(path, normalizer=measured(log_u=broken))

    def test_estimates_far_from_all_that_they_estimate(self, path):
        """No line of equals passes through such a picture."""
        page = written(path, normalizer=measured(log_u=np.full(50, 99, np.float32)))
        assert page.count("path", class_="equal") == 0


class TestConfusion:
    def test_rows_are_the_true_class(self, path):
        page = written(path)
        place = page.texts.index("dog taken for cat")
        assert page.texts[place + 1 : place + 3] == ["5", "50.0%"]
        assert page.texts.index("cat taken for dog") > place
        assert any("65.0%" in text and "20 test images" in text for text in page.texts)

    def test_all_right(self, path):
        assert "taken for" not in _text(path, confusion=np.eye(3, dtype=int))

    @pytest.mark.parametrize(("names", "upright"), [(["0", "1", "2"], 0), (["airplane"] * 3, 1)])
    def test_long_names_stand_upright(self, path, names, upright):
        assert written(path, class_names=names).count("thead", class_="upright") == upright

    def test_numbers_for_few_classes_alone(self, path):
        assert written(path, confusion=np.eye(20, dtype=int)).count("td", title="100.0%") == 20
        assert written(path, confusion=np.eye(21, dtype=int)).count("td", title="100.0%") == 0


def embedded(pixels):
    """The <img> of an image, and what a reader of it finds inside."""
    tag = embedded_images.image(pixels)
    inside = re.search('base64,(.*?)"', tag).group(1)
    return tag, PIL.Image.open(io.BytesIO(base64.b64decode(inside)))
