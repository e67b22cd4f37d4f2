"""Weights of keras.applications: the same features, and no array unaccounted for."""

import h5py
import keras
import numpy as np
import pytest
from support import pytorch_resnet
from support.features import features
from support.numerics import assert_close

from sogclr_tf import import_resnet
from sogclr_tf.networks import weight_files

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
SMALL = {"input_shape": (32, 32, 3)}


@pytest.fixture(scope="module")
def keras_network():
    """A ResNet50 of keras.applications, of any size, with every weight and statistic drawn."""
    model = keras.applications.ResNet50(weights=None, include_top=False, pooling="avg")
    for weight in model.weights:
        weight.assign(drawn(*weight.path.split("/"), tuple(weight.shape)))
    return model


@pytest.fixture(scope="module")
def keras_imported(keras_network):
    return import_resnet(keras_network, input_shape=(None, None, 3))


def drawn(layer, parameter, shape):
    """As PyTorch's arrays are; the first statistics are those of levels up to 255."""
    name = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}.get(
        parameter, parameter.replace("moving", "running").replace("variance", "var")
    )
    name = f"{layer.replace('_3_bn', '.bn3')}.{name}"
    if parameter == "kernel":
        shape = tuple(shape[axis] for axis in (3, 2, 0, 1))
        return pytorch_resnet.drawn(name, shape).transpose(2, 3, 1, 0)
    scale = 1e4 if (layer, parameter) == ("conv1_bn", "moving_variance") else 1
    return scale * pytorch_resnet.drawn(name, shape)


def assert_same_weights(encoder, other):
    for weight, expected in zip(encoder.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


class TestKeras:
    @pytest.mark.parametrize("size", [(64, 64), (65, 90)])
    def test_features_are_those_of_keras_applications(self, keras_network, keras_imported, size):
        levels = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype(np.float32)
        preprocessed = keras.applications.resnet.preprocess_input(levels.copy())
        expected = features(keras_network, preprocessed)
        found = features(keras_imported[0], levels / 255)
        assert_close(found, expected, terms=10000)
        assert 0.5 < np.std(expected) < 10

    def test_every_array_is_used(self, keras_network, keras_imported):
        _, report = keras_imported
        assert (report.depth, report.layout, report.left_out) == (50, "Keras", {})
        assert report.arrays == len(keras_network.weights)

    @pytest.mark.parametrize(
        "ending",
        [".h5", pytest.param(".keras", marks=AGAIN), pytest.param(".weights.h5", marks=AGAIN)],
    )
    def test_files_with_a_top(self, keras_network, keras_imported, tmp_path, ending):
        """Keras 3's two, and the .h5 of Keras 2, which Keras 3 still writes."""
        scores = keras.layers.Dense(4, name="predictions")(keras_network.output)
        whole = keras.Model(keras_network.input, scores)
        whole.compile("adam")
        path = tmp_path / f"whole{ending}"
        (whole.save_weights if ending == ".weights.h5" else whole.save)(path)
        encoder, report = import_resnet(path, **SMALL)
        left_out = {reason: sorted(names) for reason, names in report.left_out.items()}
        assert left_out == {
            "the classifier": ["predictions/bias", "predictions/kernel"],
            "what lies beside the weights": [
                "optimizer_weights" if ending == ".h5" else "optimizer"
            ],
        }
        assert_same_weights(encoder, keras_imported[0])

    def test_own_normalization_takes_red_first(self, keras_network):
        """The kernel is turned around for the published order alone."""
        encoder, _ = import_resnet(keras_network, input_normalization=None, **SMALL)
        kernel = keras_network.get_layer("conv1_conv").kernel
        np.testing.assert_array_equal(encoder.get_layer("stem_conv").kernel, kernel)

    def test_weights_of_keras_2(self, keras_network, tmp_path):
        """As they are downloaded: no `model_weights`, and names that end in :0."""
        path = tmp_path / "resnet50_notop.h5"
        with h5py.File(path, "w") as file:
            for weight in keras_network.weights:
                layer, parameter = weight.path.split("/")
                file[f"{layer}/{layer}/{parameter}:0"] = np.asarray(weight)
        expected, found = (weight_files.read(source).arrays for source in (keras_network, path))
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], strict=True)

    def test_other_networks_of_keras(self):
        for network, message in [
            (keras.applications.ResNet50V2, "resnet50v2 is a ResNet of version 2 .it has conv2_"),
            (keras.applications.MobileNet, "holds no ResNet: expected arrays such as conv1_conv/"),
        ]:
            with pytest.raises(ValueError, match=message) as caught:
                import_resnet(network(weights=None, include_top=False, input_shape=(32, 32, 3)))
            assert "\n" not in str(caught.value)

    def test_a_file_without_names(self, tmp_path):
        path = tmp_path / "old.weights.h5"
        with h5py.File(path, "w") as file:
            file["layers/conv2d/vars/0"] = np.ones(3)
        with pytest.raises(ValueError, match="keeps no names of layers: load the model with Keras"):
            import_resnet(path)
