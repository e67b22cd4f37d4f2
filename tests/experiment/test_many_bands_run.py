"""A run of the command on images of 13 bands and 12 bits, from training to the served encoder."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread
from sklearn.datasets import load_sample_images
from support.command import SMALL, command
from support.files import write_table
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.export.load import load_encoder

SIDE, BANDS, RANGE = 16, 13, (0, 4095)
NO_COLORS = [f"--config.augment.{name}=0" for name in ("saturation", "hue", "grayscale")]
OPTIONS = [
    *SMALL,
    *("--config.data.name=./labels.csv", "--config.data.image_size=16"),
    *("--config.batch_size=32", "--config.data.channels=13"),
    *("--config.encoder.blocks_per_stage=1", "--config.encoder.name=small_resnet"),
]

STATED = "--config.data.value_range=(0,4095)"

pytestmark = pytest.mark.slow(reason="a run of the command, or several")


def write_scenes(folder):
    """Parts of two photographs, whose colors are mixed to 13 bands: a class for each of them."""
    random = np.random.default_rng(0)
    mixture = random.dirichlet([1, 1, 1], BANDS).T * (RANGE[1] / 255)
    paths, labels, splits = [], [], []
    for number in range(160):
        photograph = load_sample_images().images[number % 2]
        top, left = random.integers(0, [427 - SIDE, 640 - SIDE])
        scene = photograph[top : top + SIDE, left : left + SIDE] @ mixture
        paths.append(f"{number:03}.npy")
        np.save(folder / paths[-1], scene.astype(np.uint16))
        labels.append(["temple", "flower"][number % 2])
        splits.append("train" if number < 96 else "test")
    write_table(folder / "labels.csv", path=paths, label=labels, split=splits)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    write_scenes(cwd)
    process = command(
        *(*OPTIONS, STATED, *NO_COLORS, "--workdir=run", "--config.report.bands=(3,2,1)"),
        *("--config.evaluation.knn_neighbors=(5,)", "--config.evaluation.fine_tune=(50,)"),
        cwd=cwd,
    )
    assert process.returncode == 0, process.stderr
    return RunFolder(cwd / "run")


def test_it_measures_and_shows_everything(run):
    result = json.loads(run.result.read_text())
    for key in ("knn5_top1", "linear_top1", "fine_tuned_50_top1"):
        assert 0 < result[key] <= 1
    for picture in ("views.png", "neighbors.png"):
        # Neither black nor white: the bands are stretched.
        assert 0.1 < imread(run.plots / picture)[..., :3].mean() < 0.95
    assert "data:image/png" in run.report.read_text()


def test_served_features_are_the_models(run):
    encoder = keras.models.load_model(run.keras_file)
    assert encoder.input_shape == (None, SIDE, SIDE, BANDS)
    source = sogclr_tf.ManifestSource(run.path.parent / "labels.csv", "test", value_range=RANGE)
    images, _ = sogclr_tf.evaluation_set(source, SIDE)
    images = np.stack(list(images.as_numpy_iterator()))
    features = encoder(images, training=False)
    served = sogclr_tf.load_encoder(run.saved_model)
    assert set(served._model.signatures) == {"serving_default", "projections", "classify"}
    scale = np.abs(features).max()
    np.testing.assert_allclose(served(images), features, rtol=0, atol=1e-5 * scale)
    assert_close(load_encoder(run.path, encoder)(images, training=False), features)


def test_what_needs_colors_is_told_before_the_training(run):
    process = command(*OPTIONS, STATED, "--workdir=colors", cwd=run.path.parent)
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("error: the policy has saturation, hue, which images of")
    assert "with 13 channels have not" in last


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [STATED, "--config.data.channels=3"],
            "have 13 channels: expected 3; state how many they are",
        ),
        ([], "value_range=(0, 4095)"),
        (
            [STATED, "--config.report.bands=(0,13,1)"],
            "report.bands is (0, 13, 1): expected one or three",
        ),
    ],
)
def test_other_statements_are_refused(run, options, message):
    process = command(*OPTIONS, *NO_COLORS, "--workdir=other", *options, cwd=run.path.parent)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert message in last


def test_channels_first_are_told_by_what_was_stated(tmp_path):
    """[C, H, W] would else be an image of 16 channels."""
    for name in ("0.npy", "1.npy"):
        np.save(tmp_path / name, np.zeros((BANDS, SIDE, SIDE), np.uint8))
    with pytest.raises(ValueError, match="have 16 channels: expected 13"):
        sogclr_tf.training_views(
            tmp_path, batch_size=2, channels=BANDS, policy=sogclr_tf.data.policies.bands(8)[0]
        )


def test_an_export_is_for_any_size(tmp_path):
    encoder = sogclr_tf.small_resnet(widths=(4,), input_shape=(None, None, BANDS))
    path = sogclr_tf.export_encoder(encoder, tmp_path)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    assert served(images=tf.zeros([1, 9, 7, BANDS]))["features"].shape == (1, 4)
