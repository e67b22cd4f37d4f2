"""Where an encoder is found among a checkpoint's arrays, and what is none."""

import argparse

import numpy as np
import pytest
from support import pytorch_vit
from support.features import features
from support.numerics import assert_close

from sogclr_tf import import_vit
from sogclr_tf.networks import weight_files
from sogclr_tf.networks.pretrained_vit import holds_vit

SQUARE = {"input_shape": (64, 64, 3)}
HALF = {"input_normalization": pytorch_vit.HALF}


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "encoder."])
@pytest.mark.parametrize("under", [None, "teacher", "student", "model"])
def test_the_encoder_is_found_wherever_it_is(short, prefix, under):
    arrays = {f"{prefix}{name}": array for name, array in short.items()}
    stored = weight_files.read({under: arrays, "epoch": 1} if under else arrays)
    assert holds_vit(stored)
    assert stored.beside == (["epoch"] if under else [])
    if under == "teacher":
        encoder, report = import_vit(stored, **SQUARE)
        np.testing.assert_array_equal(encoder.get_layer("features").gamma, short["norm.weight"])
        assert report.depth == 2


def test_of_two_networks_the_teacher_is_taken(short):
    student = {f"module.backbone.{name}": -array for name, array in short.items()}
    teacher = {f"backbone.{name}": array for name, array in short.items()}
    encoder, report = import_vit({"student": student, "teacher": teacher}, **SQUARE)
    np.testing.assert_array_equal(encoder.get_layer("features").gamma, short["norm.weight"])
    assert report.left_out["what lies beside the weights"] == ["student"]


def test_a_checkpoint_of_dino_with_the_options_of_its_run(short, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    teacher = {f"backbone.{name}": torch.tensor(array) for name, array in short.items()}
    options = argparse.Namespace(arch="vit_tiny", patch_size=16)
    torch.save({"teacher": teacher, "args": options}, tmp_path / "checkpoint.pth")
    encoder, report = import_vit(tmp_path / "checkpoint.pth", **SQUARE)
    np.testing.assert_array_equal(encoder.get_layer("features").gamma, short["norm.weight"])
    assert report.left_out["what lies beside the weights"] == ["args"]


def test_heads_can_be_said(short):
    usual, _ = import_vit(short, **SQUARE)
    other, report = import_vit(short, heads=6, **SQUARE)
    assert other.get_layer("block1_attention").num_heads == 6
    assert "heads     6, as said (3 would be usual)" in str(report)
    batch = pytorch_vit.images()
    assert np.max(np.abs(features(usual, batch) - features(other, batch))) > 0.01


def test_normalization(short):
    """Of one's own, and none: then images are to come normalized."""
    batch = pytorch_vit.images()
    expected = features(import_vit(short, **SQUARE)[0], batch)
    mean, deviation = np.float32(pytorch_vit.IMAGENET)
    normalized = (batch - mean) / deviation
    none, _ = import_vit(short, input_normalization=None, **SQUARE)
    own, _ = import_vit(short, **HALF, **SQUARE)
    assert_close(features(none, normalized), expected, terms=10000)
    assert_close(features(own, 0.5 * normalized + 0.5), expected, terms=10000)


def changed(short, change):
    arrays = dict(short)
    for name, value in change.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value
    return arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dist_token": np.ones((1, 1, 192))}, r"is a distilled DeiT \(it has dist_token\)"),
        ({"reg_token": np.ones((1, 4, 192))}, "is a ViT with register tokens"),
        ({"register_tokens": np.ones((1, 4, 192))}, "is a ViT with register tokens"),
        ({"blocks.0.ls1.gamma": np.ones(192)}, r"is a ViT with layer scale \(DINOv2"),
        ({"blocks.0.attn.q_norm.weight": np.ones(64)}, "normalizes queries and keys"),
        ({"blocks.0.attn.relative_position_bias_table": np.ones(3)}, "with relative positions"),
        ({"norm_pre.weight": np.ones(192)}, "a normalization before its blocks"),
        ({"attn_pool.latent": np.ones((1, 1, 192))}, "pools by attention"),
        ({"patch_embed.proj.0.weight": np.ones((24, 3, 3, 3))}, "with convolutions before"),
        ({"fc_norm.weight": np.ones(192)}, "unexpected: fc_norm.weight"),
        ({"pos_embed": np.ones((1, 16, 192))}, "is a ViT whose class token has no position"),
        ({"pos_embed": np.ones((1, 13, 192))}, "has positions of 12 patches, which are no square"),
        ({"pos_embed": np.ones((1, 17, 96))}, r"pos_embed \(1, 17, 96\) instead of \(1, 17, 192\)"),
        ({"pos_embed": None, "blocks.1.norm1.bias": None}, "missing: .*pos_embed, blocks.1.norm1"),
        ({"cls_token": None}, r"\(missing: cls_token\)"),
        ({"norm.weight": np.full(192, np.nan, "float32")}, "not finite: norm.weight"),
        ({"blocks.0.mlp.fc1.weight": np.ones((576, 192))}, r"fc1.weight \(576, 192\) instead of"),
        ({"masked_embed": np.ones((1, 192))}, "unexpected: masked_embed"),
        ({"patch_embed.proj.weight": None}, "patch_embed.proj.weight is missing, expected"),
        ({"patch_embed.proj.weight": np.ones((1024, 3, 16, 16))}, "is a ViT of width 1024: expect"),
        (
            {"patch_embed.proj.weight": np.ones((192, 3, 14, 14))},
            "patch_size 14 does not divide images of 64 x 64: take images of 56 x 56 or 70 x 70",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(short, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        import_vit(changed(short, change), **SQUARE)
    assert "\n" not in str(caught.value)


def test_other_names_of_the_same_network():
    for name, library in (
        ("vit.embeddings.cls_token", "Hugging Face's transformers"),
        ("class_token", "torchvision"),
    ):
        arrays = {name: np.ones((1, 1, 192), "float32")}
        assert holds_vit(weight_files.read(arrays))
        with pytest.raises(ValueError, match=f"by the names of {library}"):
            import_vit(arrays)
    with pytest.raises(ValueError, match=r"holds no ViT: expected arrays such as blocks\.0"):
        import_vit({"conv1.weight": np.ones((64, 3, 7, 7), "float32")})
