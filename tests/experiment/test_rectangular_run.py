"""A run of the command whose views are no squares and finished by the step: all takes them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread
from support.command import SMALL, command
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.export.load import load_encoder

SIZE = (16, 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    process = command(
        *(*SMALL, "--workdir=wide", "--config.data.image_size=(16,32)"),
        *("--config.augment.blur=0.5", "--config.data.finish=device"),
        "--config.monitor.every_epochs=1",
        *("--config.evaluation.linear=sgd", "--config.evaluation.linear_epochs=2"),
        *("--config.evaluation.fine_tune=(20,)", "--config.export.tflite=True"),
        cwd=cwd,
    )
    assert process.returncode == 0, process.stderr
    return RunFolder(cwd / "wide")


@pytest.mark.slow(reason="a run of the command, or several")
class TestRun:
    def test_it_measures_everything(self, run):
        assert run.stored_config()["data"]["image_size"] == list(SIZE)
        result = json.loads(run.result.read_text())
        for key in ("knn20_top1", "linear_top1", "fine_tuned_20_top1"):
            assert 0 < result[key] <= 1
        assert np.isfinite(run.history()["knn_top1"]).all()
        height, width, _ = imread(run.plots / "views.png").shape
        # Two triples of wide views beside each other, eight below one another.
        assert width > 1.3 * height
        assert "[16, 32]" in run.report.read_text()

    def test_served_features_are_the_models(self, run):
        encoder = keras.models.load_model(run.keras_file)
        assert encoder.input_shape == (None, *SIZE, 3)
        source = digits("test")
        images, _ = sogclr_tf.evaluation_set(source, SIZE)
        images = np.stack(list(images.take(32).as_numpy_iterator()))
        features = encoder(images, training=False)
        signatures = tf.saved_model.load(str(run.saved_model / "36")).signatures
        files = [tf.io.encode_png(image) for image in source.images_and_labels()[0].take(32)]
        served = {
            "images": signatures["serving_default"](images=tf.constant(images)),
            "files": signatures["serving_bytes"](image_bytes=tf.stack(files)),
            "checkpoint": {"features": load_encoder(run.path, encoder)(images, training=False)},
        }
        for name, found in served.items():
            assert_close(found["features"], features, name=name)
        lite = tf.lite.Interpreter(str(run.tflite_file)).get_signature_runner()
        found = lite(images=images)["features"]
        # Kernels of 8 bits.
        np.testing.assert_allclose(found, features, atol=0.05 * np.abs(features).max())

    def test_the_same_command_goes_on_and_another_size_does_not(self, run):
        again = [*SMALL, "--mode=train", "--workdir=wide", "--config.augment.blur=0.5"]
        again += ["--config.monitor.every_epochs=1"]
        process = command(*again, "--config.data.image_size=16,32", cwd=run.path.parent)
        assert process.returncode == 0, process.stderr
        process = command(*again, "--config.data.image_size=16", cwd=run.path.parent)
        assert process.returncode == 1
        assert "data.image_size=[16, 32], but this one has 16" in process.stderr

    def test_encoders_of_another_size_are_refused(self, run):
        process = command(
            *("--mode=evaluate", *SMALL, f"--encoder={run.keras_file}", "--workdir=square"),
            cwd=run.path.parent,
        )
        assert process.returncode == 1
        assert "Traceback" not in process.stderr
        last = process.stderr.strip().splitlines()[-1]
        assert "takes images of 16 x 32, but data.image_size is 16: give --config.data" in last
        assert last.endswith("--config.data.image_size=16,32")


@pytest.mark.slow(reason="a run of the command, or several")
@pytest.mark.parametrize("text", ["(0,5)", "(1,2,3)", "-8"])
def test_nonsense_is_a_line(tmp_path, text):
    process = command(*SMALL, f"--config.data.image_size={text}", cwd=tmp_path)
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("error: data.image_size is ")
    assert "expected a whole number of pixels >= 1, or two of them as (height, width)" in last
    assert not list(tmp_path.iterdir())
