"""Exports as clients and servers use them, in processes without this package."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.paths import SUPPORT
from support.served import (
    EXPORT,
    WARMUP,
    close,
    digits,
    expected,
    needs_protocol,
    parsed,
    photographs,
    pixels,
)

import sogclr_tf
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.export import warmup

# Keras and this package can be found, as TensorFlow looks for the first, but not imported.
CLIENT = """
import importlib.machinery, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "sogclr_tf"):
            return importlib.machinery.ModuleSpec(name, self, origin="nowhere", is_package=True)
    def create_module(self, spec):
        raise ImportError(f"{spec.name} is not to be imported")
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Absent())
import numpy as np
import tensorflow as tf

folder, inputs, outputs = sys.argv[1:]
signatures = tf.saved_model.load(folder).signatures
images, paths = np.load(inputs), json.load(open(inputs + ".json"))
files = tf.constant([open(path, "rb").read() for path in paths])
given = {"images": tf.constant(images), "image_bytes": files}
answers = {}
for name, signature in signatures.items():
    (key,) = signature.structured_input_signature[1]
    for count in (1, 7, 64):
        (answers[f"{name}/{count}"],) = signature(**{key: given[key][:count]}).values()
np.savez(outputs, **answers)
assert not {"keras", "sogclr_tf"} & {name.split(".")[0] for name in sys.modules}
"""


def image_files(folder):
    """64 paths: photographs, and digits as PNG and JPEG by turns."""
    folder.mkdir()
    for place, path in enumerate(photographs()):
        shutil.copy(path, folder / f"{place:02}.jpg")
    for place, image in enumerate(pixels()[2:], 2):
        encode, suffix = ((tf.io.encode_png, "png"), (tf.io.encode_jpeg, "jpg"))[place % 2]
        (folder / f"{place:02}.{suffix}").write_bytes(encode(image).numpy())
    return sorted(map(str, folder.iterdir()))


def as_evaluated(folder):
    images, _ = evaluation_set(sogclr_tf.FolderSource(folder), 16)
    return np.stack(list(images.as_numpy_iterator()))


class TestOtherProcesses:
    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_python_without_keras_and_this_package(self, model, place, tmp_path):
        paths = image_files(tmp_path / "files")
        np.save(tmp_path / "in.npy", digits()[:64])
        (tmp_path / "in.npy.json").write_text(json.dumps(paths))
        command = [sys.executable, "-c", CLIENT, place / EXPORT, "in.npy", "out.npz"]
        process = subprocess.run(
            list(map(str, command)), cwd=tmp_path, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        of_images = expected(model, digits()[:64])
        of_files = expected(model, as_evaluated(tmp_path / "files"))
        outputs = {
            "serving_default": of_images["features"],
            "projections": of_images["projections"],
            "classify": of_images["probabilities"],
            "serving_bytes": of_files["features"],
            "classify_bytes": of_files["probabilities"],
        }
        with np.load(tmp_path / "out.npz") as answers:
            assert len(answers.files) == 3 * len(outputs)
            for name, values in outputs.items():
                for count in (1, 7, 64):
                    answer = answers[f"{name}/{count}"]
                    assert answer.dtype == np.float32
                    close(answer, values[:count])

    @pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile serving_loader.cc")
    @pytest.mark.slow(reason="a C++ program is compiled")
    def test_the_loader_of_tf_serving(self, model, place, tmp_path):
        loader = compiled_loader(tmp_path)
        paths = image_files(tmp_path / "files")[:5]
        (tmp_path / "images").write_bytes(digits()[:7].tobytes())
        command = [loader, place / EXPORT, tmp_path / "images", "7", *paths]
        process = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        images, files, *errors, images_again, files_again = parsed(process.stdout)
        close(images, expected(model, digits()[:7])["features"])
        close(files, expected(model, as_evaluated(tmp_path / "files")[:5])["features"])
        shape, no_images, no_image, no_files = errors
        assert "[1,9,9,3] is not compatible with expected shape [?,16,16,3]" in shape
        assert "no image: not one of JPEG, PNG, WebP, BMP, GIF" in no_image
        for error in (no_images, no_files):
            assert "the batch is empty: send at least one image" in error
        # Refusing has done no harm.
        close(images_again, images)
        close(files_again, files)


def compiled_loader(folder):
    library = tf.sysconfig.get_lib()
    command = ["g++", *tf.sysconfig.get_compile_flags(), SUPPORT / "serving_loader.cc"]
    command += ["-w", "-o", folder / "loader", f"-L{library}", f"-Wl,-rpath,{library}"]
    # Session factories register themselves: nothing refers to them.
    command += ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2"]
    command += ["-l:libtensorflow_framework.so.2"]
    process = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return folder / "loader"


@needs_protocol
@pytest.mark.slow(reason="every signature is traced")
def test_every_warmup_request_is_answered(place, loaded):
    from tensorflow_serving.apis import prediction_log_pb2

    records = tf.data.TFRecordDataset(str(place / EXPORT / warmup.FILE))
    asked = []
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        ((key, value),) = request.inputs.items()
        value = tf.constant(tf.make_ndarray(value))
        (answer,) = loaded.signatures[request.model_spec.signature_name](**{key: value}).values()
        assert np.isfinite(answer).all()
        asked.append((request.model_spec.signature_name, answer.shape[0]))
    assert sorted(asked) == sorted((name, n) for name in loaded.signatures for n in WARMUP)


@pytest.mark.slow(reason="trainings of what was exported")
class TestTrainingOn:
    def test_a_loaded_model_trains_its_encoder(self, model, place):
        loaded = tf.saved_model.load(str(place / EXPORT))
        assert len(loaded.trainable_variables) == len(model.encoder.trainable_variables)
        parts = (model.encoder, model.projector, model.head)
        assert len(loaded.variables) == sum(len(part.variables) for part in parts)
        before = [variable.numpy() for variable in loaded.variables]
        with tf.GradientTape() as tape:
            features = loaded(digits()[:64], training=True)
            loss = tf.reduce_mean(features**2)
        close(features, stateless_training(model.encoder, digits()[:64]))
        for gradient in tape.gradient(loss, loaded.trainable_variables):
            assert gradient is not None
            assert np.isfinite(gradient).all()
        moved = [
            variable.name
            for variable, value in zip(loaded.variables, before, strict=True)
            if not np.array_equal(variable, value)
        ]
        statistics = [v.path for v in model.encoder.non_trainable_variables]
        assert sorted(moved) == sorted(f"{path.replace('/', '_')}:0" for path in statistics)

    def test_a_keras_layer_trains_too(self, place, monkeypatch):
        monkeypatch.chdir(place)
        layer = keras.layers.TFSMLayer(
            EXPORT, call_endpoint="serving_default", call_training_endpoint="train"
        )
        before = [weight.numpy() for weight in layer.weights]
        inputs = keras.Input((16, 16, 3))
        model = keras.Model(inputs, keras.layers.Dense(10)(layer(inputs)["features"]))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        model.fit(digits()[:32], np.arange(32) % 10, batch_size=8, verbose=0)
        assert len(layer.trainable_weights) > 0
        # Batch statistics among them.
        for weight, value in zip(layer.weights, before, strict=True):
            assert not np.array_equal(weight, value), weight.path


def stateless_training(encoder, images):
    """What training mode gives, without the encoder's batch statistics being moved."""
    outputs, _ = encoder.stateless_call(
        encoder.trainable_variables, encoder.non_trainable_variables, images, training=True
    )
    return outputs
