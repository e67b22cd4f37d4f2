"""An encoder that a function of the user's builds, by module:function."""

import logging
import sys
import textwrap

import keras
import numpy as np
import pytest

from sogclr_tf.networks import own_function
from sogclr_tf.networks.encoders import build_encoder, encoder_options

SOURCE = """
import keras
from keras import layers


def functional(input_shape, width=4, rate=0.5):
    images = keras.Input(input_shape)
    x = layers.Conv2D(width, 3, activation="relu")(images)
    x = layers.Dropout(rate)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, x, name="functional")


def anything(**options):
    return functional(**options)


def of_one_size():
    return functional((32, 32, 3))


class Plain(keras.Model):
    def __init__(self, width=4, **options):
        super().__init__(**options)
        self.width = width
        self.convolution = layers.Conv2D(width, 3)
        self.pool = layers.GlobalAveragePooling2D()

    def call(self, images):
        return self.pool(self.convolution(images))


@keras.saving.register_keras_serializable("own_networks")
class Registered(Plain):
    pass


class Unsaved(Plain):
    def __init__(self, convolution):
        super().__init__()
        self.convolution = lambda images: convolution(images)


class Failing(Plain):
    def call(self, images):
        return self.pool(images[:, 0, 0])


def subclassed(width=4):
    return Registered(width)


def plain(input_shape):
    return Plain()


def unsaved(input_shape):
    return Unsaved(layers.Conv2D(4, 3))


def failing_call(input_shape):
    return Failing()


def sequential(input_shape):
    return keras.Sequential([layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()])


def failing(input_shape):
    return layers.Dense(input_shape[0] / 0)


def a_number(input_shape):
    return 3
"""


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory):
    """Two modules that can be imported: own_networks, and one that fails."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "own_networks.py").write_text(textwrap.dedent(SOURCE))
    (folder / "broken_networks.py").write_text("import no_such_library\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    del sys.modules["own_networks"]


def build(function, *, shape=(8, 8, 3), **options):
    return build_encoder(f"own_networks:{function}", shape, **options)


@pytest.mark.parametrize("function", ["functional", "anything", "subclassed", "sequential"])
def test_an_encoder_of_any_kind(function, tmp_path):
    """Built for the images, saved and loaded, with the same features."""
    encoder = build(function)
    assert (encoder.input_shape, encoder.output_shape) == ((None, 8, 8, 3), (None, 4))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(images), encoder(images))


def test_arguments_reach_the_function():
    assert build("functional", width=6, rate=0.25).get_layer(index=-1).rate == 0.25
    assert build("subclassed", width=6).layers[-1].width == 6
    assert build("of_one_size", shape=(32, 32, 3)).output_shape == (None, 4)


def test_what_a_function_takes():
    assert encoder_options("own_networks:functional") == ("width", "rate")
    assert encoder_options("own_networks:subclassed") == ("width",)
    assert encoder_options("own_networks:anything") is None


def test_a_class_that_is_not_registered_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING, "sogclr_tf"):
        build("plain")
    assert "Could not locate class 'Plain'): decorate its classes with @keras.saving" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_module:f",
            "there is no module 'no_such_module'; start the command in the folder",
        ),
        (
            "broken_networks:f",
            r"importing broken_networks raised ModuleNotFoundError \(No module n",
        ),
        ("own_networks:nix", "own_networks has no function 'nix'; it has functional, anything,"),
        (
            "own_networks:failing",
            r"raised ZeroDivisionError \(division by zero\) at own_networks.p",
        ),
        ("own_networks:failing_call", r"raised ValueError \(\w+ .*\) at own_networks.py:4\d$"),
        ("own_networks:a_number", "gives a int: expected a Keras model from images"),
        ("own_networks:of_one_size", r"takes images of \(32, 32, 3\), but these are \(8, 8, 3\)"),
        ("own_networks:unsaved", "cannot be saved .*: give its class a get_config"),
    ],
)
def test_one_clear_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_encoder(name, (8, 8, 3))
    assert "\n" not in str(caught.value)
    assert f"encoder '{name}'" in str(caught.value)


def test_an_option_that_it_does_not_take():
    with pytest.raises(ValueError, match="has no option widths; its options are width, rate"):
        build("functional", widths=3)


def test_a_function_with_an_option_of_any_name_is_given_it():
    """An error of its own, and no word of ours before it."""
    with pytest.raises(ValueError, match=r"raised TypeError .*unexpected keyword.*'nix'\)"):
        build("anything", nix=1)


def test_input_shape_is_given_where_it_is_taken():
    taken = {}

    def function(**options):
        taken.update(options)
        return keras.Sequential([keras.layers.GlobalAveragePooling2D()])

    own_function.build("f", function, (4, 6, 2), width=3)
    assert taken == {"input_shape": (4, 6, 2), "width": 3}
