"""Normalization of ResNets: of a batch, or of groups of channels."""

import re

import keras
import numpy as np
import pytest
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_close

from sogclr_tf import ResNet, projection_head, small_resnet
from sogclr_tf.networks.encoders import build_encoder


def images(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def test_normalization_is_of_each_channel():
    mean, deviation = (0.5, 0.25, 0.125), (0.5, 2, 1 / 255)
    model = ResNet(18, input_normalization=(mean, deviation), input_shape=(None, None, 3))
    assert [weight.path for weight in model.weights] == [
        weight.path for weight in ResNet(18).weights
    ]
    batch = images(2, 8, 8, 3)
    again = keras.Model.from_config(model.get_config())
    for each in (model, again):
        output = keras.Model(each.input, each.get_layer("normalization").output)(batch)
        assert_close(output, (batch - mean) / np.asarray(deviation))


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_policy")
def test_normalization_is_float32_under_mixed_precision():
    model = ResNet(18, input_normalization=((0.5,) * 3, (0.25,) * 3), input_shape=(8, 8, 3))
    batch = images(2, 8, 8, 3)
    output = keras.Model(model.input, model.get_layer("normalization").output)(batch)
    assert_close(output, (batch - 0.5) * 4, terms=4)
    assert model.get_layer("stem_conv").output.dtype == "bfloat16"


class TestGroupNormalization:
    def test_in_all_places_of_batch_normalization(self):
        batch, group = (
            build_encoder("resnet18", (8, 8, 3), stem="cifar", normalization=kind)
            for kind in ("batch", "group")
        )
        trained = [weight.path for weight in batch.trainable_variables]
        assert [w.path for w in group.weights] == [
            re.sub(r"_bn(\d?)/", r"_gn\1/", path) for path in trained
        ]
        for ours, theirs in zip(group.trainable_variables, batch.trainable_variables, strict=True):
            assert ours.shape == theirs.shape
            if ours.name != "kernel":
                np.testing.assert_array_equal(ours, theirs)

    def test_groups_divide_the_channels_and_have_more_than_one(self):
        model = small_resnet(widths=(48, 64, 6), normalization="group", input_shape=(8, 8, 3))
        layers = [model.get_layer(name) for name in ("stem_gn", "stage2_block1_gn1")]
        assert [layer.groups for layer in layers] == [8, 32]
        assert model.get_layer("stage3_block1_shortcut_gn").groups == 1
        assert {layer.epsilon for layer in layers} == {1e-5}

    def test_formula(self):
        """(x - mean) / sqrt(variance + 1e-5) over an image's positions and a group's channels."""
        model = small_resnet(widths=(12,), normalization="group", input_shape=(None, None, 3))
        outputs = [model.get_layer(f"stem_{layer}").output for layer in ("conv", "gn")]
        before, after = keras.Model(model.input, outputs)(images(2, 5, 4, 3), training=True)
        groups = np.reshape(before, (2, 5, 4, 2, 6))
        mean, variance = (f(groups, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
        expected = (groups - mean) / np.sqrt(variance + 1e-5)
        assert_close(after, expected.reshape(2, 5, 4, 12))

    @pytest.mark.parametrize("training", [False, True])
    def test_a_projection_depends_on_its_own_image_alone(self, training):
        encoder = small_resnet(widths=(8, 12), normalization="group", input_shape=(8, 8, 3))
        for weight in encoder.weights:
            if weight.name == "gamma":
                weight.assign(np.random.default_rng(1).normal(size=weight.shape))
        model = keras.Sequential([encoder, projection_head(12, output=6, normalization="layer")])
        batch = images(6, 8, 8, 3) * np.geomspace(0.01, 1, 6).reshape(6, 1, 1, 1)
        batch = batch.astype("float32")
        together = model(batch, training=training)
        alone = [model(batch[i : i + 1], training=training)[0] for i in range(6)]
        assert_close(together, alone, terms=10_000)
        assert np.min(np.ptp(together, axis=0)) > 0.01
        assert not model.non_trainable_variables

    @needs_bfloat16
    @pytest.mark.usefixtures("bfloat16_policy")
    def test_under_mixed_precision(self):
        model = small_resnet(widths=(4, 8), normalization="group", input_shape=(8, 8, 3))
        assert model.get_layer("stem_gn").output.dtype == "bfloat16"
        assert model(images(2, 8, 8, 3)).dtype == "float32"

    def test_rebuilt_from_its_config(self):
        model = small_resnet(widths=(4,), normalization="group", input_shape=(8, 8, 3))
        again = keras.Model.from_config(model.get_config())
        again.set_weights(model.get_weights())
        batch = images(2, 8, 8, 3)
        np.testing.assert_array_equal(again(batch), model(batch))
