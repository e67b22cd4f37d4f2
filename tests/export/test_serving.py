"""Exports as clients and servers use them, and what docs/serving.md shows of that."""

import functools
import importlib.util
import io
import json
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
import tensorflow as tf
from support import stand_in_server
from support.numerics import assert_close
from support.paths import ROOT, SUPPORT

import sogclr_tf
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.export import warmup

PAGE = (ROOT / "docs" / "serving.md").read_text()
# Relative to the folder of a test, as on the page.
EXPORT = "runs/digits/saved_model/216"
WARMUP = (1, 3)

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

# What the command `saved_model_cli` does, for several command lines in one process.
COMMAND_LINES = r"""
import shlex, sys
from absl import flags
from absl.testing import flagsaver
from tensorflow.python.tools import saved_model_cli

for line in sys.argv[1:]:
    with flagsaver.flagsaver():
        sys.argv = flags.FLAGS(shlex.split(line))
        saved_model_cli.create_parser().parse_args().func()
    print("\0", end="")
"""

needs_protocol = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_serving") is None,
    reason="no tensorflow-serving-api: pip install --no-deps tensorflow-serving-api",
)


@pytest.fixture(scope="module")
def model():
    """Networks as in configs/digits.py, untrained, and a head of ten classes."""
    keras.utils.set_random_seed(0)
    encoder = sogclr_tf.small_resnet(input_shape=(16, 16, 3))
    projector, head = sogclr_tf.projection_head(128), keras.Sequential([keras.layers.Dense(10)])
    # A step in training mode moves the batch statistics, so that inference mode shows.
    features = encoder(digits()[:64], training=True)
    projector(features, training=True)
    head(features)
    return types.SimpleNamespace(encoder=encoder, projector=projector, head=head)


@pytest.fixture(scope="module")
def place(model, tmp_path_factory):
    """A folder with what the page's snippets find in theirs."""
    place = tmp_path_factory.mktemp("serving")
    runs = place / "runs" / "digits"
    sogclr_tf.export_encoder(
        model,
        runs / "saved_model",
        version=216,
        head=model.head,
        class_names=[str(digit) for digit in range(10)],
        warmup_batches=WARMUP if importlib.util.find_spec("tensorflow_serving") else (),
    )
    sogclr_tf.export_keras(model, runs / "encoder.keras")
    sogclr_tf.export_tflite(model, runs / "encoder.tflite")
    np.save(place / "digits.npy", digits()[:1])
    np.save(place / "my_images.npy", digits()[:32])
    np.save(place / "my_labels.npy", np.arange(32) % 10)
    (place / "digit.png").write_bytes(tf.io.encode_png(pixels()[0]).numpy())
    shutil.copy(photographs()[0], place / "photograph.jpg")
    return place


@pytest.fixture(scope="module")
def loaded(place):
    return tf.saved_model.load(str(place / EXPORT))


@functools.cache
def digits():
    """Digits as an evaluation sees them: float32 [599, 16, 16, 3]."""
    source = from_name("digits", "test")
    images, _ = evaluation_set(source, 16)
    return np.stack(list(images.as_numpy_iterator()))


@functools.cache
def pixels():
    images, _ = from_name("digits", "test").images_and_labels()
    return list(images.take(64).as_numpy_iterator())


def photographs():
    return sorted(sklearn.datasets.load_sample_images().filenames)


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


def expected(model, images):
    """{output: what the Keras model computes of images}."""
    features = model.encoder(images, training=False)
    return {
        "features": features.numpy(),
        "projections": model.projector(features, training=False).numpy(),
        "probabilities": tf.nn.softmax(model.head(features)).numpy(),
    }


def encoded(kind):
    """The bytes of a file of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def refusal(loaded, **inputs):
    """What the SavedModel says to these inputs."""
    signature = "serving_default" if "images" in inputs else "serving_bytes"
    inputs = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        loaded.signatures[signature](**inputs)
    return refused.value.message


def close(found, wanted):
    assert_close(found, wanted)


def snippets(language, heading=None):
    """The blocks of a language on the page, or in one of its parts."""
    page = PAGE
    if heading is not None:
        page = re.search(rf"^#+ {heading}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def run(program, names=None):
    """Runs a snippet; the names it leaves."""
    names = {} if names is None else names
    exec(compile(program, "docs/serving.md", "exec"), names)
    return names


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


def parsed(printed):
    """Per request, the features as an array or the error as a line."""
    answers, lines = [], iter(printed.splitlines())
    for line in lines:
        kind, *rest = line.split(" ")
        if kind == "refused:":
            answers.append(line)
            continue
        shape = [int(number) for number in rest]
        numbers = [float(next(lines)) for _ in range(np.prod(shape))]
        answers.append(np.reshape(numbers, shape))
    return answers


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


class TestPage:
    @pytest.fixture(autouse=True)
    def inside(self, place, monkeypatch):
        monkeypatch.chdir(place)

    def test_every_snippet_is_in_a_tested_part(self):
        tested = {
            "Exporting": 1,
            "REST": 2,
            "Errors": 1,
            "gRPC": 1,
            "In Python, with TensorFlow alone": 1,
            "Training on": 3,
            "TFLite": 1,
        }
        assert {name: len(snippets("python", name)) for name in tested} == tested
        assert len(snippets("python")) == sum(tested.values())

    def test_exporting(self):
        (program,) = snippets("python", "Exporting")
        assert run(program)["folder"] == pathlib.Path("my_encoder/1")
        signatures = tf.saved_model.load("my_encoder/1").signatures
        assert sorted(signatures) == ["serving_bytes", "serving_default"]

    def test_rest(self, model, loaded, capsys):
        with stand_in_server.rest(loaded.signatures, "encoder") as port:
            names = {}
            for program in snippets("python", "REST") + snippets("python", "Errors"):
                run(program.replace("localhost:8501", f"localhost:{port}"), names)
        close(names["features"], expected(model, digits()[:1])["features"])
        of_files = loaded.signatures["serving_bytes"](
            image_bytes=[pathlib.Path(path).read_bytes() for path in names["files"]]
        )
        close(names["features_of_files"], of_files["features"])
        assert capsys.readouterr().out.startswith("400 ")
        error = names["answer"].json()["error"]
        assert "no image: not one of JPEG, PNG, WebP, BMP, GIF" in error

    @pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
    def test_curl(self, model, loaded):
        (command,) = snippets("bash")
        with stand_in_server.rest(loaded.signatures, "encoder") as port:
            command = command.replace("localhost:8501", f"localhost:{port}")
            process = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        (shown,) = snippets("json")
        answer, shown = json.loads(process.stdout), json.loads(shown)
        close(answer["predictions"], expected(model, digits()[:1])["probabilities"])
        assert answer.keys() == shown.keys()
        assert np.shape(answer["predictions"]) == np.shape(shown["predictions"])

    @needs_protocol
    def test_grpc(self, model, loaded):
        import grpc

        (program,) = snippets("python", "gRPC")
        with stand_in_server.grpc_service(loaded.signatures, "encoder") as port:
            names = run(program.replace("localhost:8500", f"localhost:{port}"))
            request = names["request"]
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros([1, 9, 9, 3], "f")))
            with pytest.raises(grpc.RpcError, match="not compatible with expected") as refused:
                names["stub"].Predict(request, timeout=10)
            names["channel"].close()
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        close(names["probabilities"], expected(model, digits()[:1])["probabilities"])

    def test_the_errors_of_the_table(self, loaded):
        """What is quoted of each, in the order of the table."""
        section = PAGE.split("\n### Errors")[1].partition("\n## ")[0]
        table = re.findall(r"^\| [^|]+ \| (.*`.*) \|$", section, re.MULTILINE)
        large = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0\1\0\0" * 2 + bytes(60)
        jpeg, png, webp = (encoded(kind) for kind in ("JPEG", "PNG", "WEBP"))
        damaged = [jpeg[:200], jpeg[:-60], png[:100], webp[:60]]
        sent = [
            [{"image_bytes": [b"hello"]}],
            [{"image_bytes": [b""]}],
            [{"image_bytes": [data]} for data in damaged],
            [{"image_bytes": [large]}],
            [{"images": tf.zeros([1, 9, 9, 3])}],
            [{"images": tf.zeros([0, 16, 16, 3])}],
        ]
        for row, inputs in zip(table, sent, strict=True):
            said = [refusal(loaded, **each) for each in inputs]
            for words in re.findall(r"`([^`]+)`", row):
                assert any(words in message for message in said), (words, said)

    def test_tensorflow_alone(self, model, capsys):
        names = run(snippets("python", "In Python, with TensorFlow alone")[0])
        wanted = expected(model, digits()[:1])["probabilities"]
        close(names["probabilities"], wanted)
        assert capsys.readouterr().out == f"{wanted.argmax()}\n"

    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_training_on(self, capsys):
        names, stems = {}, []
        for program in snippets("python", "Training on"):
            run(program, names)
            stems.append(names.get("encoder", names["loaded"]).trainable_variables[0])
        capsys.readouterr()
        untouched = tf.saved_model.load(EXPORT).trainable_variables[0]
        for stem in stems:
            assert np.isfinite(stem).all()
            assert not np.array_equal(stem, untouched)

    def test_tflite(self, model):
        (program,) = snippets("python", "TFLite")
        features = run(program)["lite_features"]
        wanted = expected(model, digits()[:1])["features"]
        # Kernels of 8 bits.
        assert np.abs(features - wanted).max() < 0.05 * np.abs(wanted).max()

    def test_the_keys_of_the_table(self):
        """With the values of configs/digits.py, as on the page."""
        shown = dict(re.findall(r"^\| `(\w+)=(\S+)` \|", PAGE, re.MULTILINE))
        config = runpy.run_path(str(ROOT / "configs" / "digits.py"))["get_config"]().export
        assert shown == {key: str(value) for key, value in config.items()}

    @needs_protocol
    def test_models_config(self):
        from google.protobuf import text_format
        from tensorflow_serving.config import model_server_config_pb2

        configs, _ = snippets("proto")
        parsed = text_format.Parse(configs, model_server_config_pb2.ModelServerConfig())
        (served,) = parsed.model_config_list.config
        assert (served.name, served.base_path) == ("encoder", "/models/encoder")
        assert f":{served.base_path}:ro" in PAGE
        assert f"/v1/models/{served.name}:predict" in PAGE

    def test_batching_config(self):
        """By TF Serving's session_bundle_config.proto, which its Python package leaves out."""
        _, config = snippets("proto")
        fields = re.findall(r"^(\w+) \{ value: (\d+) \}$", config, re.MULTILINE)
        assert len(fields) == len(config.splitlines())
        assert {name for name, _ in fields} <= {
            "max_batch_size",
            "batch_timeout_micros",
            "max_enqueued_batches",
            "num_batch_threads",
        }

    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_in_a_terminal(self, model):
        blocks = snippets("", "In a terminal")
        shown = [
            re.fullmatch(r"\$ ((?:[^\n]*\\\n)*[^\n]*)\n(.*)", b, re.DOTALL).groups() for b in blocks
        ]
        lines = [line.replace("\\\n", "") for line, _ in shown]
        process = subprocess.run(
            [sys.executable, "-c", COMMAND_LINES, *lines], capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        *printed, rest = process.stdout.split("\0")
        assert rest == ""
        assert [line.split()[1] for line in lines] == ["show", "show", "show", "run"]
        for (_, output), found in zip(shown[:-1], printed[:-1], strict=True):
            assert output == found
        numbers = [
            [float(number) for number in re.findall(r"\d\.\d+(?:e-\d+)?", output)]
            for output in (shown[-1][1], printed[-1])
        ]
        assert [len(row) for row in numbers] == [10, 10]
        without = [re.sub(r"[\d.e\s-]+", "#", text) for text in (shown[-1][1], printed[-1])]
        assert without[0] == without[1]
        close(numbers[1], expected(model, digits()[:1])["probabilities"][0])
