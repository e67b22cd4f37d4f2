"""The networks of keras.applications: each is given what its own preprocess_input would give it."""

import inspect

import keras
import numpy as np
import pytest
from support.applications import FAMILIES, of_family
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from support.numerics import assert_close, tolerance

from sogclr_tf.models import unit_range
from sogclr_tf.models.batch_norm import unsynchronized
from sogclr_tf.networks import keras_applications
from sogclr_tf.networks.keras_applications import application, application_names

BIG = pytest.mark.slow(reason="a network of full size, built twice")
QUICK = ("mobilenet",)
# As additions behind a feature go: of about 100 layers some hundreds each.
TERMS = 40_000

# What is asked of a family beside its features; each is built anew for it.
FEW = ("convnext", "efficientnet", "mobilenet", "nasnet", "resnet", "vgg16")
QUICK_OR_NOT = [pytest.param(name, marks=() if name in QUICK else BIG) for name in FAMILIES]
some_families = pytest.mark.parametrize(
    "family", exhaustive([x for x in QUICK_OR_NOT if x.values[0] in FEW], QUICK_OR_NOT)
)


# Of hundreds of layers, which take as long as five others.
DEEPEST = ("inception_resnet_v2", "nasnet")


@pytest.fixture(
    scope="module",
    params=exhaustive([x for x in QUICK_OR_NOT if x.values[0] not in DEEPEST], QUICK_OR_NOT),
)
def network(request):
    """(family, its encoder), one after the other; of the same weights each time."""
    keras.utils.set_random_seed(0)
    return request.param, of_family(request.param)


def module_of(name):
    return getattr(keras.applications, name).__module__.rpartition(".")[2]


def images(size, channels=3, batch=2):
    """Of colors and pixels of their own, so that their order shows."""
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.4, 0.6, (batch, 1, 1, channels))
    return (levels + rng.uniform(-0.4, 0.4, (batch, size, size, channels))).astype("float32")


def calibrate(network, given):
    """Sets running averages to what the images have, or random weights would let them fade."""
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    network(given, training=True)


def plain(family):
    """The network as Keras builds it, and `preprocess_input` of its module."""
    name, options, size = FAMILIES[family]
    network = getattr(keras.applications, name)
    built = network(
        include_top=False, pooling="avg", weights=None, input_shape=(size, size, 3), **options
    )
    return built, inspect.getmodule(network).preprocess_input


def seen_first(encoder, size, channels):
    """Two arrays [channels]: what the first layer with weights is given of 0 and of 1."""
    first = next(layer for layer in encoder.layers if layer.trainable_weights)
    seen = keras.Model(encoder.input, first.input)
    pixels = np.broadcast_to(np.float32([0, 1])[:, None, None, None], (2, size, size, channels))
    # The border may be a constant.
    return np.asarray(seen(pixels))[:, size // 2, size // 2]


def test_every_network_is_known_and_every_family_tested():
    modules = {
        name
        for name, found in vars(keras.applications).items()
        if inspect.ismodule(found) and hasattr(found, "preprocess_input")
    }
    assert set(FAMILIES) == modules - {"imagenet_utils", "resnet50"}
    assert set(map(module_of, application_names())) == set(FAMILIES)
    assert {"ConvNeXtTiny", "EfficientNetV2S", "MobileNetV3Small"} <= set(application_names())
    constructors = [name for name in vars(keras.applications) if name[0].isupper()]
    assert sorted(constructors) == list(application_names())
    assert {family: module_of(name) for family, (name, _, _) in FAMILIES.items()} == {
        family: family for family in FAMILIES
    }


@pytest.mark.parametrize("name", application_names())
def test_pixels_become_what_preprocess_input_makes_of_them(name):
    """Of all networks, without building them."""
    constructor, pixels = getattr(keras.applications, name), images(4)
    given = keras.Input((4, 4, 3))
    pixels_in_range = keras.Model(given, keras_applications._in_range(constructor, given))
    want = inspect.getmodule(constructor).preprocess_input(255 * pixels.astype("float64"))
    assert_close(pixels_in_range(pixels), want)


def test_equals_the_network_of_its_preprocessed_images(network):
    (family, encoder), (other, preprocess_input) = network, plain(network[0])
    # Of 0 and 1 alone, which become the same to the last bit whichever way they are rescaled:
    # random weights make much of rounding.
    pixels = np.round(images(FAMILIES[family][2], batch=8))
    own = preprocess_input(255 * pixels)
    calibrate(other, own)
    encoder.set_weights(other.get_weights())
    want = other(own, training=False)
    assert_close(encoder(pixels, training=False), want, TERMS)
    # No other kind of preprocessing gives these features.
    kinds = [255 * pixels] + [
        keras.applications.imagenet_utils.preprocess_input(255 * pixels, mode=mode)
        for mode in ("caffe", "tf", "torch")
    ]
    others = [given for given in kinds if not np.allclose(given, own)]
    assert len(others) == 3
    for given in others:
        apart = np.max(np.abs(other(given, training=False) - want))
        assert apart > 10 * tolerance(want, TERMS)


def test_takes_0_to_1_and_normalizes_over_all_replicas(network):
    family, encoder = network
    assert unit_range.settled_range(encoder, None) == 1
    assert unsynchronized(encoder) == []
    black, white = seen_first(encoder, FAMILIES[family][2], 3)
    if family in ("resnet", "vgg16", "vgg19"):
        assert_close(white - black, [255] * 3)
    else:
        # Nothing but a scale of about 1: 0..1, -1..1 or deviations of 1.
        assert np.all((white - black > 0.99) & (white - black < 4.5))


def test_a_flat_model_of_layers_of_keras(network, tmp_path):
    family, encoder = network
    assert encoder.input.name == "images"
    assert len(encoder.layers) > 18
    assert {type(layer).__module__.split(".")[0] for layer in encoder.layers} == {"keras"}
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    pixels = images(FAMILIES[family][2])
    assert_close(loaded(pixels, training=False), encoder(pixels, training=False))
    assert unsynchronized(loaded) == []


@some_families
def test_any_size_and_any_channels(family):
    """Four bands, each as bright as the others: no color has a mean of its own."""
    name, options, size = FAMILIES[family]
    if family == "nasnet":
        with pytest.raises(ValueError, match=r"'NASNetMobile' must know .*\(None, None, 4\)"):
            application(name, input_shape=(None, None, 4))
        return
    encoder = application(name, input_shape=(None, None, 4), **options)
    for height, width in ((size, size), (size + 32, size + 16)):
        given = np.zeros((2, height, width, 4), np.float32)
        assert encoder(given, training=False).shape == (2, encoder.output_shape[-1])
    assert unit_range.settled_range(encoder, None) == 1
    black, white = seen_first(encoder, size, 4)
    assert len(set(black)) == len(set(white)) == 1


def test_max_pooling():
    average, largest = (
        application("MobileNet", input_shape=(64, 64, 3), alpha=0.25, pooling=pooling, name=pooling)
        for pooling in ("avg", "max")
    )
    assert largest.name == "max"
    largest.set_weights(average.get_weights())
    of_average, of_largest = average(images(64)), largest(images(64))
    assert np.all(of_largest >= of_average)
    assert np.any(of_largest > of_average)


@needs_bfloat16
@some_families
@pytest.mark.usefixtures("bfloat16_policy")
def test_features_are_float32_in_mixed_precision(family):
    encoder = of_family(family)
    assert encoder.get_layer("features").output.dtype == "float32"
    assert {layer.compute_dtype for layer in encoder.layers} == {"bfloat16", "float32"}
    assert encoder(images(FAMILIES[family][2])).dtype == "float32"


@pytest.mark.parametrize("family", FAMILIES)
def test_least_size(family):
    name, options, size = FAMILIES[family]
    for shape in ((size - 1, size, 3), (size, size - 1, 3)):
        words = f"^image size {shape[0]}x{shape[1]} is too small .*{name}.* at least {size}x{size}"
        with pytest.raises(ValueError, match=words) as raised:
            application(name, input_shape=shape, **options)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("EfficientNetV2", {}, "no network 'EfficientNetV2'; the nearest are EfficientNetV2"),
        ("resnet50", {}, "the nearest are ResNet50"),
        ("imagenet_utils", {}, "no network 'imagenet_utils'"),
        ("MobileNet", {"alfa": 1}, "no option alfa; its options are alpha, depth_multiplier"),
        ("VGG16", {"weights": "imagenet"}, "no option weights; its options are pooling, name"),
        ("ConvNeXtTiny", {"include_preprocessing": True}, "no option include_preprocessing"),
        ("MobileNetV3Small", {"dropout_rate": 0.5}, "alpha, minimalistic, pooling, name"),
        ("VGG16", {"pooling": None}, "pooling is None; choose one of avg, max"),
        ("VGG16", {"input_shape": (32, 32)}, r"input_shape is \(32, 32\); give"),
        ("VGG16", {"input_shape": (32, 32, None)}, "give .height, width, channels"),
        ("MobileNet", {"alpha": 0.001}, "'MobileNet' cannot be built .*alpha.*positive value"),
    ],
)
def test_refusals_are_one_line(name, options, words):
    with pytest.raises(ValueError, match=words) as raised:
        application(name, **{"input_shape": (32, 32, 3), **options})
    assert "\n" not in str(raised.value)
