import os

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.image import imread
from sklearn.datasets import load_digits

from sogclr_tf.report import figures
from sogclr_tf.report.image_sheets import neighbor_sheet, retrieval_sheet, view_sheet
from sogclr_tf.report.material import Example


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "picture.png"


def assert_picture(returned, path):
    assert returned == path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 300 * 1024
    assert imread(path)[..., :3].std() > 0.01


def history(epochs, **more):
    steps = np.arange(1, epochs + 1)
    curves = {"epoch": steps, "loss": -np.log(steps), "contrast_accuracy": 1 - 0.6 / steps}
    return {key: list(values) for key, values in (curves | more).items()}


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_training_curves(path, epochs):
    assert_picture(figures.training_curves(history(epochs), path), path)


def test_training_curves_draw_a_third_panel_for_the_learning_rate(path, tmp_path):
    two = figures.training_curves(history(5), path)
    three = figures.training_curves(
        history(5, learning_rate=[0.1, 0.5, 1.0, 0.5, 0.1]), tmp_path / "three.png"
    )
    assert_picture(three, tmp_path / "three.png")
    assert imread(three).shape[1] == pytest.approx(1.5 * imread(two).shape[1])


def test_training_curves_refuse(path):
    with pytest.raises(ValueError, match="history lacks 'loss'"):
        figures.training_curves({"epoch": [1], "contrast_accuracy": [0.5]}, path)
    with pytest.raises(ValueError, match="at least one"):
        figures.training_curves(history(0), path)
    with pytest.raises(ValueError, match="equally long"):
        figures.training_curves(history(3, loss=[1.0]), path)
    assert not path.exists()


def test_embedding(path, digits):
    features, labels = digits
    names = [f"digit {number}" for number in range(10)]
    returned = figures.embedding(
        features[:300], labels[:300], path, class_names=names, title="Held"
    )
    assert_picture(returned, path)


@pytest.mark.parametrize("count", [2, 3, 40])
@pytest.mark.parametrize("labeled", [True, False])
def test_embedding_of_few(path, digits, count, labeled):
    labels = digits[1][:count] if labeled else None
    assert_picture(figures.embedding(digits[0][:count], labels, path), path)


def test_embedding_of_many_classes(path, digits):
    assert_picture(figures.embedding(digits[0][:120], np.arange(120) % 60, path), path)


def test_names_of_classes_are_no_formulas(path, digits):
    """Half a formula would be an error; a whole one other text."""
    features, labels = digits
    names = ["$x^$", "$5 and $6", "a$", r"\frac", "a\nb", os.fsdecode(b"\xff"), *"6789"]
    assert_picture(figures.embedding(features[:60], labels[:60], path, class_names=names), path)


@pytest.mark.filterwarnings("error")
def test_embedding_of_a_collapsed_encoder(path):
    assert_picture(figures.embedding(np.ones((60, 16)), None, path), path)


def test_embedding_draws_the_same_subset_by_seed(path, tmp_path, digits, monkeypatch):
    monkeypatch.setattr(figures, "EMBEDDED_EXAMPLES", 50)
    first = imread(figures.embedding(*digits, path, seed=1))
    again = imread(figures.embedding(*digits, tmp_path / "again.png", seed=1))
    other = imread(figures.embedding(*digits, tmp_path / "other.png", seed=2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_embedding_refuses(path):
    with pytest.raises(ValueError, match=r"N at least 2, got shape \(1, 4\)"):
        figures.embedding(np.ones((1, 4)), None, path)
    with pytest.raises(ValueError, match="one for each of 5 features: 4"):
        figures.embedding(np.ones((5, 4)), [0, 1, 0, 1], path)


@pytest.mark.parametrize("visited", [0, 1, 2000])
def test_log_u_histogram(path, visited):
    log_u = np.random.default_rng(0).normal(5, 1, 2000)
    log_u[visited:] = -np.inf
    assert_picture(figures.log_u_histogram(log_u, path), path)


def test_log_u_histogram_refuses(path):
    with pytest.raises(ValueError, match="with 1 NaN and 1"):
        figures.log_u_histogram([0.0, np.nan, np.inf], path)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        figures.log_u_histogram(np.zeros((2, 2)), path)


@pytest.mark.parametrize("count", [0, 1, 6000])
def test_estimates(path, count):
    log_g = np.random.default_rng(0).normal(5, 1, count)
    assert_picture(figures.estimates(log_g + 0.1, log_g, path), path)


def test_estimates_refuse(path):
    with pytest.raises(ValueError, match=r"must be \[N\] twice, got \(3,\), \(4,\)"):
        figures.estimates(np.zeros(3), np.zeros(4), path)


@pytest.mark.parametrize("count", [1, 5, 16])
@pytest.mark.parametrize("rows", [None, 1, 4, 99])
def test_view_sheet(path, digits, count, rows):
    gray = (digits[0][:count] / 16).reshape(count, 8, 8, 1)
    color = np.repeat(gray * 255, 3, axis=-1).astype(np.uint8)
    returned = view_sheet(color, gray, gray[:, ::-1].astype(np.float32), path, rows=rows)
    assert_picture(returned, path)


def test_view_sheet_keeps_pixels_crisp(path):
    checks = np.indices((4, 4)).sum(axis=0) % 2 * np.ones((3, 1, 1))
    image = np.moveaxis(checks, 0, -1)
    view_sheet([image], [image], [image], path)
    # Below the captions, nearly all is black or white: a smoothed sheet is mostly between.
    levels = imread(path)[40:, :, :3]
    assert np.mean((levels < 0.02) | (levels > 0.98)) > 0.95


def test_view_sheet_takes_originals_of_any_sizes(path):
    originals = [np.zeros((30, 50, 3), np.uint8), np.ones((64, 20, 3), np.uint8)]
    views = np.full((2, 16, 16, 3), 0.5, np.float32)
    assert_picture(view_sheet(originals, views, views, path), path)


@pytest.mark.parametrize(("height", "width"), [(8, 32), (32, 8)])
def test_cells_have_the_proportions_of_the_views(path, height, width):
    """Most of the sheet is views, which are black; in square cells they would fill a quarter."""
    views = np.zeros((6, height, width, 3), np.uint8)
    view_sheet(views, views, views, path, rows=3)
    assert np.mean(imread(path)[40:, :, :3] < 0.5) > 0.65


def test_view_sheet_refuses(path):
    images = np.zeros((2, 4, 4, 3))
    with pytest.raises(ValueError, match="same number of images, at least one, got 2, 1 and 2"):
        view_sheet(images, images[:1], images, path)
    with pytest.raises(ValueError, match="got 0, 0 and 0"):
        view_sheet([], [], [], path)
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        view_sheet(images, images, images, path, rows=0)
    with pytest.raises(ValueError, match=r"an image is float64 \(4, 4\)"):
        view_sheet(images[..., 0], images, images, path)
    with pytest.raises(ValueError, match=r"an image is int64 \(4, 4, 3\): expected \[H, W, C\]"):
        view_sheet(images.astype(np.int64), images, images, path)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_retrieval_sheet(path, count):
    random = np.random.default_rng(0)
    images = random.uniform(size=(count, 8, 8, 3))
    texts = ["a text that is longer than the line which it has to stand on"] * count
    similarity = random.normal(size=(count, count))
    assert_picture(retrieval_sheet(texts, images, similarity, path), path)


def test_retrieval_sheet_frames_the_own_image(path):
    """White images alone, so that all color is the frames': of the nearest two, or of none."""
    for similarity, framed in ((np.eye(3), True), (-np.eye(3), False)):
        retrieval_sheet(["x"] * 3, np.ones((3, 4, 4, 3)), similarity, path, columns=2)
        pixels = imread(path)[..., :3]
        assert (pixels.max(-1) - pixels.min(-1) > 0.3).any() == framed


@pytest.mark.parametrize("labels", [[0] * 4, [None] * 4, [0, 1, 1, 1]])
def test_neighbor_sheet_frames_the_own_class(path, labels):
    """White images alone, so that all color is the frames'."""
    query, *others = (Example(np.ones((4, 4, 3)), "", label) for label in labels)
    assert_picture(neighbor_sheet([(query, others)] * 3, path), path)
    pixels = imread(path)[..., :3]
    assert (pixels.max(-1) - pixels.min(-1) > 0.3).any() == (labels == [0] * 4)


def test_neighbor_sheet_refuses(path):
    with pytest.raises(ValueError, match="neighbors is empty"):
        neighbor_sheet([], path)


def test_pictures_leave_pyplot_alone(path):
    before = pyplot.get_fignums()
    figures.training_curves(history(2), path)
    assert pyplot.get_fignums() == before
