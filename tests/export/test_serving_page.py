"""What docs/serving.md shows, run as it is printed."""

import io
import json
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from support import stand_in_server
from support.paths import ROOT
from support.served import EXPORT, close, digits, expected, needs_protocol

PAGE = (ROOT / "docs" / "serving.md").read_text()

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
