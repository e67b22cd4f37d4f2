"""Vision Transformers of MoCo v3, DINO and timm: the same features, no array unaccounted for."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
from support import pytorch_vit
from support.features import features
from support.numerics import assert_close
from support.paths import ROOT

import sogclr_tf
from sogclr_tf import import_vit
from sogclr_tf.networks.positions import resampled_positions

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
TOOL = ROOT / "tools" / "import_weights.py"
SQUARE = {"input_shape": (64, 64, 3)}
HALF = {"input_normalization": pytorch_vit.HALF}
# {golden file: (how it is imported, what is found)}
GOLDEN = {
    "vit_moco_v3_small": (SQUARE, ("small", 12, "token", "fixed")),
    "vit_dino_tiny": (SQUARE, ("tiny", 3, "token", "learned")),
    "vit_dino_small": (SQUARE, ("small", 6, "token", "learned")),
    "vit_timm_tiny": ({**SQUARE, **HALF}, ("tiny", 3, "token", "learned")),
    "vit_timm_mean": ({"input_shape": (48, 80, 3), **HALF}, ("tiny", 3, "mean", "learned")),
}
LIKE_OTHERS = ("vit_dino_small", "vit_timm_tiny")


@pytest.fixture(scope="module")
def imported(golden):
    """Function of the name of a golden file: (arrays, encoder, report), not to be changed."""
    made = {}

    def of(name):
        if name not in made:
            arrays = pytorch_vit.state_dict(golden(name))
            checkpoint = {"epoch": 300, "arch": "vit", "state_dict": arrays}
            made[name] = arrays, *import_vit(checkpoint, **GOLDEN[name][0])
        return made[name]

    return of


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=AGAIN if name in LIKE_OTHERS else []) for name in GOLDEN],
)
def test_features_are_the_golden_ones(imported, golden, name):
    arguments, (size, heads, pooling, positions) = GOLDEN[name]
    _, encoder, report = imported(name)
    batch = pytorch_vit.images(*arguments["input_shape"][:2])
    expected = golden(name)["features"]
    found = features(encoder, batch)
    assert_close(found, expected, terms=10000)
    assert np.max(np.abs(found - expected)) < 1e-4 * np.max(np.abs(expected))
    assert (report.size, report.heads, report.pooling) == (size, heads, pooling)
    assert report.positions.startswith(positions)
    assert report.depth == 12


@pytest.mark.slow(reason="PyTorch and timm are imported")
@pytest.mark.parametrize("is_mean", [False, True])
def test_features_are_those_of_timm(is_mean):
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    network = pytorch_vit.timm_network(is_mean=is_mean)
    shape = (48, 80, 3) if is_mean else (64, 64, 3)
    encoder, _ = import_vit(network, input_shape=shape, **HALF)
    batch = pytorch_vit.images(*shape[:2])
    expected = pytorch_vit.timm_features(network.eval(), batch)
    assert_close(features(encoder, batch), expected, terms=10000)


def test_every_array_is_used_or_reported_and_every_weight_set(imported):
    """Of all that a checkpoint of MoCo v3 holds."""
    arrays, encoder, report = imported("vit_moco_v3_small")
    left_out = [name for names in report.left_out.values() for name in names]
    assert report.left_out["what lies beside the weights"] == ["epoch", "arch"]
    part = "module.base_encoder."
    for reason, start in (
        ("the momentum encoder", "module.momentum_encoder."),
        ("the predictor", "module.predictor."),
        ("the classifier or projector", f"{part}head."),
    ):
        names = [name for name in arrays if name.startswith(start)]
        # Where counts of batches have a reason of their own.
        assert set(names) - set(report.left_out[reason]) <= set(
            report.left_out["counts of batches"]
        )
        assert set(report.left_out[reason]) <= set(names)
    used = [name for name in arrays if name not in left_out]
    assert all(name.startswith(part) for name in used)
    assert report.arrays == len(used)
    assert report.parameters == sum(arrays[name].size for name in used) == encoder.count_params()
    assert "heads     12, as MoCo v3 has" in str(report)
    fresh = sogclr_tf.ViT("small", **SQUARE)
    fixed = encoder.get_layer("positions").embeddings
    assert_close(fixed, fresh.get_layer("positions").embeddings)
    for weight, other in zip(encoder.trainable_weights, fresh.trainable_weights, strict=True):
        assert np.mean(np.asarray(weight) == np.asarray(other)) < 0.01, weight.path


@pytest.mark.parametrize("grid", pytorch_vit.GRIDS)
def test_positions_are_resampled_as_by_pytorch(golden, grid):
    arrays = pytorch_vit.drawn("pos_embed", (1, 17, 384))
    found = resampled_positions(arrays[0, 1:, :8], (4, 4), grid)
    assert_close(found, golden("vit_dino_small")["grid_{}x{}".format(*grid)])


class TestOtherSizes:
    def test_learned_positions_are_resampled(self, short):
        encoder, report = import_vit(short, input_shape=(48, 80, 3))
        found = np.asarray(encoder.get_layer("positions").embeddings)
        want = resampled_positions(short["pos_embed"][0, 1:], (4, 4), (3, 5))
        np.testing.assert_array_equal(found[0], short["pos_embed"][0, 0])
        assert_close(found[1:], want)
        assert report.positions == (
            "learned, resampled by bicubic interpolation for 3 x 5 patches instead of 4 x 4"
        )

    def test_at_the_same_size_they_are_as_they_were(self, short):
        encoder, report = import_vit(short, **SQUARE)
        np.testing.assert_array_equal(
            encoder.get_layer("positions").embeddings, short["pos_embed"][0]
        )
        assert report.positions == "learned, of 4 x 4 patches as in the file"

    def test_fixed_positions_are_computed_anew(self, short):
        fixed = np.asarray(
            sogclr_tf.ViT("tiny", depth=1, **SQUARE).get_layer("positions").embeddings
        )
        encoder, report = import_vit(short | {"pos_embed": fixed[None]}, input_shape=(32, 96, 3))
        want = sogclr_tf.ViT("tiny", depth=1, input_shape=(32, 96, 3)).get_layer("positions")
        np.testing.assert_array_equal(encoder.get_layer("positions").embeddings, want.embeddings)
        assert not encoder.get_layer("positions").trainable
        assert report.positions.startswith(
            "fixed sines and cosines, computed anew for 2 x 6 patches"
        )


def test_the_guide_runs_as_it_is_printed(short, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "weights.md").read_text()
    (program,) = (
        text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "vit" in text
    )
    monkeypatch.chdir(tmp_path)
    np.savez("vit.npz", **short)
    scope = {}
    exec(program, scope)
    assert scope["report"].depth == 2


class TestCommand:
    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True
        )

    @pytest.mark.slow(reason="the command imports TensorFlow")
    def test_writes_an_encoder_that_keras_alone_reads(self, short, tmp_path):
        weights, target = tmp_path / "vit.safetensors", tmp_path / "encoder.keras"
        safetensors.numpy.save_file(short, weights)
        done = self.run(weights, target, "--image_size=32,96", "--heads=6")
        assert done.returncode == 0, done.stderr
        assert "ViT tiny with 2 blocks and patches of 16 x 16" in done.stdout
        assert "heads     6, as said (3 would be usual)" in done.stdout
        assert f"{target}: images of 32 x 96 in 0..1 to 192 features" in done.stdout
        expected, _ = import_vit(short, heads=6, input_shape=(32, 96, 3))
        batch = pytorch_vit.images(32, 96)
        found = features(keras.models.load_model(target), batch)
        assert_close(found, features(expected, batch))

    @pytest.mark.slow(reason="the command imports TensorFlow")
    @pytest.mark.parametrize(
        ("is_vit", "argument", "message"),
        [
            (True, "--image_size=any", "input_shape is (None, None, 3); give (height, width, chan"),
            (False, "--heads=6", "--heads is for a Vision Transformer, which "),
        ],
    )
    def test_stops_with_one_line(self, short, tmp_path, is_vit, argument, message):
        weights = tmp_path / "weights.safetensors"
        arrays = short if is_vit else {"conv1.weight": np.ones((64, 3, 7, 7), np.float32)}
        safetensors.numpy.save_file(arrays, weights)
        done = self.run(weights, tmp_path / "encoder.keras", argument)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
        assert "Traceback" not in done.stderr
