"""Weights of PyTorch's ResNets: the same features, and no array unaccounted for."""

import re

import numpy as np
import pytest
from support import pytorch_resnet
from support.features import features
from support.numerics import assert_close
from support.paths import ROOT

import sogclr_tf
from sogclr_tf import import_resnet
from sogclr_tf.networks import pretrained
from sogclr_tf.networks.weight_layouts import LAYOUTS

SMALL = {"input_shape": (32, 32, 3)}


class TestPyTorch:
    @pytest.mark.parametrize("name", pytorch_resnet.GOLDEN)
    def test_features_are_the_golden_ones(self, imported, golden, name):
        _, encoder, _ = imported(name)
        for side in pytorch_resnet.SIDES:
            expected = golden(name)[f"side_{side}"]
            found = features(encoder, pytorch_resnet.images(side))[:, ::8]
            assert_close(found, expected, terms=10000)
            assert 0.5 < np.std(expected) < 10

    @pytest.mark.parametrize("name", pytorch_resnet.GOLDEN)
    @pytest.mark.usefixtures("torch")
    def test_features_are_those_of_pytorch(self, imported, name):
        arrays, encoder, _ = imported(name)
        network = pytorch_resnet.network(arrays)
        for batch in (pytorch_resnet.images(64), pytorch_resnet.images(65)[:, :, :50]):
            expected = pytorch_resnet.features(network, batch)
            assert_close(features(encoder, batch), expected, terms=10000)

    @pytest.mark.parametrize("name", ["torch_resnet18", "torch_resnet50"])
    def test_every_weight_is_set_and_every_array_used_or_reported(self, imported, name):
        arrays, encoder, report = imported(name)
        fresh = sogclr_tf.ResNet(report.depth, input_shape=(32, 32, 3))
        for weight, other in zip(encoder.weights, fresh.weights, strict=True):
            # A few floats of many are the same by chance.
            assert np.mean(np.asarray(weight) == np.asarray(other)) < 0.01, weight.path
        left_out = [name for names in report.left_out.values() for name in names]
        counts = [name for name in arrays if name.endswith("num_batches_tracked")]
        assert sorted(left_out) == sorted(["fc.weight", "fc.bias", *counts])
        assert report.arrays == len(arrays) - len(left_out) == len(encoder.weights)
        assert report.parameters == sum(
            array.size for name, array in arrays.items() if name not in left_out
        )

    def test_same_padding_would_differ(self, imported):
        """The comparison with PyTorch is one that an encoder of another padding fails."""
        _, encoder, _ = imported("torch_resnet18_cifar")
        config = encoder.get_layer("normalization")
        normalization = config.input_mean, np.sqrt(config.input_variance)
        other = sogclr_tf.ResNet(
            18, stem="cifar", input_normalization=normalization, input_shape=(None, None, 3)
        )
        other.set_weights(encoder.get_weights())
        batch = pytorch_resnet.images(64)
        assert np.max(np.abs(features(other, batch) - features(encoder, batch))) > 0.1

    @pytest.mark.parametrize(
        "prefix", ["base_encoder.", "module.encoder_q.", "encoder.", "module.backbone.", "module."]
    )
    def test_the_encoder_is_found_by_its_prefix(self, state, prefix):
        arrays = {f"{prefix}{name}": array for name, array in state.items()}
        encoder, report = import_resnet({"state_dict": arrays, "epoch": 3}, **SMALL)
        np.testing.assert_array_equal(encoder.get_layer("stem_bn").gamma, state["bn1.weight"])
        assert report.left_out["the classifier or projector"] == [
            f"{prefix}fc.weight",
            f"{prefix}fc.bias",
        ]
        assert report.left_out["what lies beside the weights"] == ["epoch"]

    def test_what_is_left_out_of_a_checkpoint(self, state):
        """MoCo v3, with MoCo v2's queue and SogCLR's u thrown in."""
        arrays = {f"module.base_encoder.{name}": array for name, array in state.items()}
        rest = {
            "the momentum encoder": [f"module.momentum_encoder.{name}" for name in state],
            "the predictor": ["module.predictor.0.weight", "module.predictor.1.running_mean"],
            "the queue": ["module.queue", "module.queue_ptr"],
            "a number per example": ["module.u", "module.u_table"],
        }
        for names in rest.values():
            arrays |= dict.fromkeys(names, np.ones(3))
        checkpoint = {"epoch": 1, "arch": "resnet18", "state_dict": arrays, "u": np.ones(4)}
        _, report = import_resnet(checkpoint, **SMALL)
        for reason, names in rest.items():
            assert report.left_out[reason] == names
        assert report.left_out["what lies beside the weights"] == ["epoch", "arch", "u"]
        assert "left out  the queue: module.queue, module.queue_ptr" in str(report).splitlines()
        assert re.search(r"momentum encoder: .*, and \d+ more$", str(report), re.MULTILINE)

    @pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
    @pytest.mark.parametrize(("cifar", "width"), [(False, 64), (True, 128), (False, 256)])
    def test_the_network_is_found(self, depth, cifar, width):
        shapes = pytorch_resnet.shapes(depth, cifar, width, 10)
        arrays = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes}
        assert pretrained._network("", arrays, LAYOUTS["PyTorch"], "") == {
            "depth": depth,
            "width_multiplier": width // 64,
            "stem": "cifar" if cifar else "imagenet",
        }

    def test_normalization(self, state, imported):
        """Of one's own, and none: then images are to come normalized."""
        batch = pytorch_resnet.images(32)
        mean, deviation = pytorch_resnet.MEAN, pytorch_resnet.DEVIATION
        expected = features(imported("torch_resnet18_cifar")[1], batch)
        own, _ = import_resnet(state, input_normalization=((0.5,) * 3, (0.25,) * 3), **SMALL)
        none, _ = import_resnet(state, input_normalization=None, **SMALL)
        normalized = ((batch - mean) / np.asarray(deviation)).astype(np.float32)
        assert "normalization" not in [layer.name for layer in none.layers]
        assert_close(features(none, normalized), expected, terms=10000)
        assert_close(features(own, 0.25 * normalized + 0.5), expected, terms=10000)

    def test_group_normalization_is_refused(self, state):
        """Its gamma and beta are called as those of batch normalization are."""
        arrays = {name: array for name, array in state.items() if "running_" not in name}
        with pytest.raises(ValueError, match="has bn1.weight but no running_mean at all") as caught:
            import_resnet(arrays, **SMALL)
        assert "\n" not in str(caught.value)
        own = sogclr_tf.ResNet(18, normalization="group", **SMALL)
        with pytest.raises(ValueError, match="with group normalization, which needs no import"):
            import_resnet(own, **SMALL)


def test_all_misfits_are_in_one_line(state):
    arrays = dict(state)
    for block in range(2):
        del arrays[f"layer2.{block}.bn2.bias"], arrays[f"layer3.{block}.bn2.bias"]
    del arrays["bn1.running_var"], arrays["layer4.1.conv2.weight"]
    arrays |= {"layer1.0.se.weight": np.ones(3), "head.bias": np.ones(3)}
    arrays["layer1.1.conv2.weight"] = np.ones((64, 32, 3, 3))
    arrays["layer1.1.bn2.weight"] = np.full(64, np.nan)
    with pytest.raises(ValueError, match="the state dict does not fit a ResNet-18") as caught:
        import_resnet(arrays, **SMALL)
    assert str(caught.value) == (
        "the state dict does not fit a ResNet-18 (missing: bn1.running_var, layer2.0.bn2.bias, "
        "layer2.1.bn2.bias, layer3.0.bn2.bias, and 2 more; unexpected: layer1.0.se.weight, "
        "head.bias; of another shape: layer1.1.conv2.weight (64, 32, 3, 3) instead of "
        "(64, 64, 3, 3); not finite: layer1.1.bn2.weight): give the weights of one, whole and with "
        "nothing else"
    )


def without(prefix):
    return lambda arrays: {n: a for n, a in arrays.items() if not n.startswith(prefix)}


def kernel(name, *shape):
    return lambda arrays: {**arrays, name: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("layer4"),
            r"has 2, 2, 2 basic blocks in its stages: expected those of depth 18, ",
        ),
        (without("layer4.1"), r"has 2, 2, 2, 1 basic blocks"),
        (without("layer"), r"holds no ResNet: expected arrays such as conv1.weight and layer1"),
        (without(""), r"holds no ResNet: .*, it holds none"),
        (kernel("conv1.weight", 64, 3, 5, 5), r"has a first kernel of 5x5: expected the 7x7"),
        (kernel("conv1.weight", 16, 3, 3, 3), r"has 16 channels in its stem: expected a multiple"),
        (
            kernel("layer1.0.conv2.weight", 128, 128, 3, 3),
            r"is a wide ResNet, with 128 channels within a block after a stem of 64",
        ),
        (kernel("layer1.0.conv2.weight", 128, 4, 3, 3), r"is a ResNeXt, with 32 groups"),
    ],
)
def test_other_networks(state, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        import_resnet(change(state))
    assert "\n" not in str(caught.value)


def test_a_vision_transformer_of_moco_v3():
    prefix = "module.base_encoder."
    arrays = {
        f"{prefix}cls_token": np.zeros((1, 1, 384)),
        f"{prefix}pos_embed": np.zeros((1, 197, 384)),
        f"{prefix}patch_embed.proj.weight": np.zeros((384, 3, 16, 16)),
        f"{prefix}blocks.0.attn.qkv.weight": np.zeros((1152, 384)),
        f"{prefix}head.0.weight": np.zeros((4096, 384)),
    }
    message = (
        r"is a vision transformer, which import_vit takes \(it has module.base_encoder.cls_tok"
    )
    with pytest.raises(ValueError, match=message):
        import_resnet({"state_dict": arrays})


@pytest.mark.slow(reason="programs run in processes of their own")
@pytest.mark.parametrize("kind", ["small", "imported"])
def test_the_guide_runs_as_it_is_printed(state, tmp_path, monkeypatch, kind):
    """For one epoch instead of 100, of the first snippet; the others are the tests above."""
    page = (ROOT / "docs" / "weights.md").read_text()
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    shape = {"input_shape": (16, 16, 3)}
    small = sogclr_tf.small_resnet(widths=(4,), **shape)
    encoder = small if kind == "small" else import_resnet(state, **shape)[0]
    monkeypatch.chdir(tmp_path)
    sogclr_tf.export_keras(encoder, "encoder.keras")
    np.save("my_images.npy", np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8))
    assert "epochs=100" in program
    scope = {}
    exec(program.replace("epochs=100", "epochs=1"), scope)
    assert (tmp_path / "my_encoder" / "1" / "saved_model.pb").exists()
    trained = scope["encoder"].get_layer("stem_conv").kernel
    assert np.any(np.asarray(trained) != np.asarray(encoder.get_layer("stem_conv").kernel))
