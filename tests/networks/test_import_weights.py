"""tools/import_weights.py, as a user starts it."""

import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from support import pytorch_resnet
from support.features import features
from support.numerics import assert_close
from support.paths import ROOT

import sogclr_tf

TOOL = ROOT / "tools" / "import_weights.py"


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, TOOL, *arguments], cwd=folder, capture_output=True, text=True
    )


class TestCommand:
    @pytest.mark.slow(reason="programs run in processes of their own")
    def test_writes_an_encoder_that_keras_alone_reads(self, state, imported, tmp_path):
        arrays = {f"module.base_encoder.{name}": array for name, array in state.items()}
        safetensors.numpy.save_file(arrays, tmp_path / "sogclr.safetensors")
        (tmp_path / "encoder.keras").write_text("another one")
        process = command(
            tmp_path, "sogclr.safetensors", "encoder.keras", "--image_size=32", "--overwrite"
        )
        assert process.returncode == 0, process.stderr
        lines = process.stdout.splitlines()
        assert lines[0].startswith("ResNet-18 with the cifar stem")
        assert any(
            line.startswith("left out  the classifier or projector: module.") for line in lines
        )
        assert "wrote     encoder.keras: images of 32 x 32 in 0..1 to 512 features" in lines
        assert "--mode=evaluate --encoder=encoder.keras" in process.stdout
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "encoder.keras",
            "sogclr.safetensors",
        ]
        np.save(tmp_path / "images.npy", pytorch_resnet.images(32))
        program = (
            "import sys, keras, numpy as np\n"
            "encoder = keras.models.load_model('encoder.keras')\n"
            "np.save('features.npy', encoder(np.load('images.npy'), training=False))\n"
            "assert not any(name.startswith('sogclr_tf') for name in sys.modules)\n"
        )
        # -P: the folder of this test is no place to import from.
        alone = subprocess.run(
            [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
        )
        assert alone.returncode == 0, alone.stderr
        expected = features(imported("torch_resnet18_cifar")[1], pytorch_resnet.images(32))
        assert_close(np.load(tmp_path / "features.npy"), expected, terms=10000)
        loaded = sogclr_tf.load_encoder(tmp_path / "encoder.keras")
        assert_close(features(loaded, pytorch_resnet.images(32)), expected, terms=10000)

    @pytest.mark.parametrize("size", ["0", "1,2,3", "32,", "wide"])
    def test_no_size(self, tmp_path, size):
        process = command(tmp_path, "a.pth", "b.keras", f"--image_size={size}")
        assert process.returncode == 2
        said = f"'{size}' is no size: give a number of pixels >= 1, HEIGHT,WIDTH or any"
        assert process.stderr.splitlines()[-1].endswith(said)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["a.pth", "b.h5"], "b.h5 is to be the encoder: give a name that ends in .keras"),
            (["a.pth", "there.keras"], "there.keras exists: give another name, or --overwrite"),
            (["a.pth", "b.keras", "--mean", "0", "0", "0"], "--mean and --std go together"),
            (
                ["a.pth", "b.keras", "--no_normalization", "--std", "1", "1", "1"],
                "--no_normalization goes with neither --mean nor --std",
            ),
            (["a.pth", "b.keras"], "there is no file a.pth"),
        ],
    )
    def test_stops_with_one_line(self, tmp_path, arguments, message):
        (tmp_path / "there.keras").write_text("mine")
        process = command(tmp_path, *arguments)
        assert process.returncode == 1
        assert process.stderr.splitlines()[-1].startswith(f"error: {message}")
        assert "Traceback" not in process.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["there.keras"]
        assert (tmp_path / "there.keras").read_text() == "mine"
