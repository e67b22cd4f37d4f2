import pathlib
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from support.numerics import assert_close

from sogclr_tf import export_encoder


def make_encoder(height=8, width=8):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((height, width, 3)),
            keras.layers.Conv2D(6, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    # A step in training mode moves the batch statistics, so that inference mode shows.
    encoder(images(32), training=True)
    return encoder


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 3)

    def call(self, images):
        return keras.ops.mean(self.convolution(images), axis=(1, 2))


def images(count, size=8):
    return np.random.default_rng(count).random((count, size, size, 3)).astype(np.float32)


def serving(folder):
    return tf.saved_model.load(str(folder)).signatures["serving_default"]


def test_the_signature(encoder, tmp_path):
    signature = serving(export_encoder(encoder, tmp_path))
    (image,) = signature.structured_input_signature[1].values()
    assert (image.name, image.dtype, image.shape.as_list()) == (
        "images",
        tf.float32,
        [None, 8, 8, 3],
    )
    assert list(signature.structured_outputs) == ["features"]
    assert signature.structured_outputs["features"].dtype == tf.float32
    assert signature.structured_outputs["features"].shape.as_list() == [None, 6]


def test_variables_are_tracked(encoder, tmp_path):
    loaded = tf.saved_model.load(str(export_encoder(encoder, tmp_path)))
    assert len(loaded.trainable_variables) == len(encoder.trainable_variables)
    assert len(loaded.variables) == len(encoder.variables)


def test_a_model_that_holds_an_encoder(encoder, tmp_path):
    folder = export_encoder(types.SimpleNamespace(encoder=encoder), tmp_path)
    features = serving(folder)(images=tf.constant(images(3)))["features"]
    assert_close(features, encoder(images(3), training=False))


@pytest.mark.slow(reason="a network of any size is exported")
def test_any_image_size(tmp_path):
    encoder = make_encoder(None, None)
    serve = serving(export_encoder(encoder, tmp_path))
    for size in (8, 13):
        batch = images(2, size)
        features = serve(images=tf.constant(batch))["features"]
        assert_close(features, encoder(batch, training=False))


def test_a_subclassed_encoder_needs_an_image_shape(tmp_path):
    encoder = Subclassed()
    with pytest.raises(ValueError, match="is not built"):
        export_encoder(encoder, tmp_path, image_shape=(8, 8, 3))
    encoder(images(1))
    with pytest.raises(ValueError, match="does not know its image shape"):
        export_encoder(encoder, tmp_path)
    folder = export_encoder(encoder, tmp_path, image_shape=(None, None, 3))
    features = serving(folder)(images=tf.constant(images(2)))["features"]
    assert_close(features, encoder(images(2)))


@needs_bfloat16
def test_features_are_float32_under_bfloat16(tmp_path):
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, dtype="mixed_bfloat16"),
            keras.layers.GlobalAveragePooling2D(dtype="mixed_bfloat16"),
        ]
    )
    features = serving(export_encoder(encoder, tmp_path))(images=tf.constant(images(2)))["features"]
    assert features.dtype == tf.float32
    expected = tf.cast(encoder(images(2)), tf.float32)
    assert_close(features, expected, terms=1, dtype="bfloat16")


def test_exporting_leaves_the_model_as_it_was(encoder, tmp_path, capfd):
    attributes = set(vars(encoder))
    weights = [weight.copy() for weight in encoder.get_weights()]
    trainable = [variable.path for variable in encoder.trainable_variables]
    capfd.readouterr()
    export_encoder(encoder, tmp_path)
    assert capfd.readouterr().out == ""
    assert set(vars(encoder)) == attributes
    assert [variable.path for variable in encoder.trainable_variables] == trainable
    for before, after in zip(weights, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.slow(reason="an encoder is exported several times")
def test_versions(encoder, tmp_path):
    (tmp_path / "notes").mkdir()
    assert export_encoder(encoder, tmp_path).name == "1"
    assert export_encoder(encoder, tmp_path, version=np.int64(7)).name == "7"
    assert export_encoder(encoder, tmp_path).name == "8"
    assert export_encoder(encoder, str(tmp_path), version=0).name == "0"
    (tmp_path / "0012").mkdir()  # TF Serving reads this as 12
    assert export_encoder(encoder, tmp_path).name == "13"
    for taken in (7, 12):
        with pytest.raises(FileExistsError, match=f"already holds version {taken}"):
            export_encoder(encoder, tmp_path, version=taken)


@pytest.mark.parametrize(
    ("version", "error"),
    [(-1, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError)],
)
def test_bad_versions(encoder, tmp_path, version, error):
    with pytest.raises(error, match="version must be an integer from 0, got") as caught:
        export_encoder(encoder, tmp_path / "served", version=version)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "served").exists()


def test_bad_models_and_shapes(encoder, tmp_path):
    with pytest.raises(TypeError, match="must be a Keras encoder .* got dict"):
        export_encoder({}, tmp_path)
    with pytest.raises(ValueError, match="is not built"):
        export_encoder(keras.Sequential([keras.layers.Conv2D(4, 3)]), tmp_path)
    for shape in ((8, 8), (8, 8, None)):
        with pytest.raises(ValueError, match=r"must be \(H, W, C\)"):
            export_encoder(encoder, tmp_path, image_shape=shape)
    with pytest.raises(ValueError, match=r"takes \(8, 8, 3\)"):
        export_encoder(encoder, tmp_path, image_shape=(9, 9, 3))
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_nothing(encoder, tmp_path, monkeypatch):
    def half_written(_, folder, *__):
        pathlib.Path(folder).mkdir()
        (pathlib.Path(folder) / "saved_model.pb").write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(tf.saved_model, "save", half_written)
        with pytest.raises(OSError, match="disk full"):
            export_encoder(encoder, tmp_path)
    assert not list(tmp_path.iterdir())
    assert export_encoder(encoder, tmp_path).name == "1"


def test_the_version_appears_only_when_written(encoder, tmp_path, monkeypatch):
    seen, save = [], tf.saved_model.save

    def watched(*arguments):
        save(*arguments)
        seen.extend(entry.name for entry in tmp_path.iterdir())

    monkeypatch.setattr(tf.saved_model, "save", watched)
    folder = export_encoder(encoder, tmp_path)
    assert len(seen) == 1
    assert seen[0].startswith(".")
    assert list(tmp_path.iterdir()) == [folder]
    assert folder.stat().st_mode & 0o777 == (tmp_path / "1" / "variables").stat().st_mode & 0o777


def test_what_a_killed_export_left_is_removed(encoder, tmp_path):
    leftover = tmp_path / ".exporting-killed" / "model"
    leftover.mkdir(parents=True)
    (leftover / "saved_model.pb").write_bytes(b"half")
    folder = export_encoder(encoder, tmp_path)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.slow(reason="many exports")
def test_the_newest_versions_are_kept(encoder, tmp_path):
    (tmp_path / "notes").mkdir()
    for version in (4, 2, 9):
        export_encoder(encoder, tmp_path, version=version)
    assert export_encoder(encoder, tmp_path, keep=2).name == "10"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "9", "notes"]
    with pytest.raises(ValueError, match=r"version 3 is below the 2 highest of .* larger keep"):
        export_encoder(encoder, tmp_path, version=3, keep=2)
    with pytest.raises(ValueError, match="keep is 0: at least 1"):
        export_encoder(encoder, tmp_path, keep=0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["10", "9", "notes"]
    serving(tmp_path / "9")


EXPORTS = """
import keras
import sogclr_tf

encoder = sogclr_tf.small_resnet(widths=(4, 6), input_shape=(8, 8, 3))
encoder.set_weights([0 * weight + 0.5 for weight in encoder.get_weights()])
while True:
    sogclr_tf.export_encoder(encoder, "served", keep=2)
    print("exported", flush=True)
"""


@pytest.mark.slow(reason="processes, each killed while it exports")
@pytest.mark.parametrize("kills", [exhaustive(3, 10)])
def test_a_killed_export_leaves_no_half_version(tmp_path, kills):
    batch, found = tf.constant(images(2)), set()
    for moment in np.random.default_rng(kills).uniform(0.0, 2.0, kills):
        with subprocess.Popen(
            [sys.executable, "-c", EXPORTS], cwd=tmp_path, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"exported\n"
            time.sleep(moment)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        versions = [entry for entry in (tmp_path / "served").glob("*") if entry.name.isdecimal()]
        # One more than are kept, where it was killed before the oldest went.
        assert 1 <= len(versions) <= 3
        for version in versions:
            features = serving(version)(images=batch)["features"].numpy()
            found.add(features.tobytes())
    # All of the same weights.
    assert len(found) == 1
