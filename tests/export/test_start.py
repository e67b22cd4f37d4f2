"""Encoders that start from the weights of others."""

import keras
import numpy as np
import pytest
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import load_encoder, start_from

IMAGES = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)
LAYERS = keras.layers
of_a_saved_model = pytest.mark.slow(reason="SavedModels are written and read")
IN_BOTH = pytest.mark.parametrize("suffix", [".keras", pytest.param("", marks=of_a_saved_model)])


def net(
    padding="same",
    activation="relu",
    scale=1.0,
    epsilon=1e-3,
    *,
    named=True,
    shape=(8, 8, 3),
    widths=(4, 5),
):
    """A small network; the first four arguments change neither names nor shapes of weights."""
    names = iter(["first", "norm", "second", "third"])
    name = (lambda: {"name": next(names)}) if named else dict
    layers = [LAYERS.Rescaling(scale)]
    if padding == "symmetric":
        layers += [LAYERS.ZeroPadding2D(1), LAYERS.Conv2D(widths[0], 3, 2, **name())]
    else:
        layers += [LAYERS.Conv2D(widths[0], 3, 2, padding="same", **name())]
    layers += [LAYERS.BatchNormalization(epsilon=epsilon, **name()), LAYERS.Activation(activation)]
    layers += [LAYERS.Dropout(0.1)]
    layers += [LAYERS.Conv2D(width, 2, **name()) for width in widths[1:]]
    pool = LAYERS.GlobalAveragePooling2D(dtype="float32")
    return keras.Sequential([keras.Input(shape), *layers, pool], name="net")


def small(**options):
    return sogclr_tf.small_resnet(widths=(4,), input_shape=(8, 8, 3), **options)


def varied(encoder, seed=0):
    """The encoder with other values in all of its weights."""
    random = np.random.default_rng(seed)
    for weight in encoder.weights:
        weight.assign(random.uniform(0.1, 0.9, weight.shape) * random.choice([-1, 1], weight.shape))
        if weight.name == "moving_variance":
            weight.assign(np.abs(weight))
    return encoder


def features(encoder):
    return np.asarray(encoder(IMAGES, training=False))


def values(encoder):
    return [weight.numpy() for weight in encoder.weights]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder with a run's checkpoint and .keras files, the encoder in them, its model)."""
    folder = tmp_path_factory.mktemp("trained")
    encoder = varied(small())
    projector = sogclr_tf.projection_head(4)
    loss = sogclr_tf.GlobalContrastiveLoss(num_examples=8)
    model = sogclr_tf.SogCLR(encoder, loss, projector, sogclr_tf.OnlineProbe(3))
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    sogclr_tf.Checkpoints(model, folder / "run" / "checkpoints").save()
    model.save(folder / "model.keras")
    encoder.save(folder / "encoder.keras")
    return folder, encoder, model


def check_start(path, other, caplog):
    encoder = small(name="another")
    with caplog.at_level("INFO", logger="sogclr_tf"):
        assert start_from(encoder, path) is None
    for mine, theirs in zip(values(encoder), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert_close(features(encoder), features(load_encoder(path, small())))
    assert caplog.messages == [f"encoder starts from {path} (15 arrays)"]


@pytest.mark.parametrize("name", ["run", "run/checkpoints/step-0", "model.keras", "encoder.keras"])
def test_it_has_the_weights_of_the_other(trained, name, caplog):
    folder, other, _ = trained
    check_start(folder / name, other, caplog)


@of_a_saved_model
def test_it_has_the_weights_of_a_saved_model(trained, tmp_path, caplog):
    """Which has those of projector and probe besides."""
    _, other, model = trained
    check_start(sogclr_tf.export_encoder(model, tmp_path), other, caplog)


@of_a_saved_model
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_that_were_stored_in_16_bits(tmp_path, dtype, caplog):
    other, encoder = varied(net()), net()
    sogclr_tf.export_encoder(other, tmp_path, weights=dtype)
    with caplog.at_level("INFO", logger="sogclr_tf"):
        start_from(encoder, str(tmp_path))
    for mine, theirs in zip(values(encoder), values(other), strict=True):
        kept = keras.ops.cast(theirs, dtype) if theirs.ndim > 1 else theirs
        np.testing.assert_array_equal(mine, np.asarray(kept, np.float32))
    assert_close(features(encoder), features(load_encoder(tmp_path)))
    assert f"(8 arrays, stored in {dtype})" in caplog.text


@IN_BOTH
@pytest.mark.parametrize(
    "options",
    [{"padding": "symmetric"}, {"activation": "elu"}, {"scale": 2.0}, {"epsilon": 1e-5}],
)
def test_the_same_arrays_in_another_network(tmp_path, options, suffix):
    path = tmp_path / f"encoder{suffix}"
    save = sogclr_tf.export_keras if suffix else sogclr_tf.export_encoder
    save(varied(net(**options)), path)
    encoder = net()
    before = values(encoder)
    with pytest.raises(ValueError, match="but is another network .features of the same") as caught:
        start_from(encoder, path)
    assert "padding, stride_in, input_normalization" in str(caught.value)
    assert "\n" not in str(caught.value)
    for mine, old in zip(values(encoder), before, strict=True):
        np.testing.assert_array_equal(mine, old)
    start_from(varied(net(**options), 1), path)


@IN_BOTH
def test_names_that_keras_counts_up(tmp_path, suffix):
    path = tmp_path / f"encoder{suffix}"
    other = varied(net(named=False))
    (sogclr_tf.export_keras if suffix else sogclr_tf.export_encoder)(other, path)
    encoder = net(named=False)
    assert {v.path for v in encoder.weights} != {v.path for v in other.weights}
    start_from(encoder, path)
    for mine, theirs in zip(values(encoder), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@of_a_saved_model
def test_layers_that_are_frozen_in_one_of_them(tmp_path):
    other, encoder = varied(net()), net()
    other.get_layer("first").trainable = False
    sogclr_tf.export_encoder(other, tmp_path)
    start_from(encoder, tmp_path)
    for mine, theirs in zip(values(encoder), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@of_a_saved_model
def test_an_encoder_that_computes_in_16_bits(tmp_path):
    other = varied(net())
    sogclr_tf.export_keras(other, tmp_path / "right.keras")
    sogclr_tf.export_keras(varied(net("symmetric")), tmp_path / "wrong.keras")
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        encoder = net()
        sogclr_tf.export_encoder(varied(net()), tmp_path / "half")
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    start_from(encoder, tmp_path / "right.keras")
    np.testing.assert_array_equal(values(encoder)[0], values(other)[0])
    start_from(net(), tmp_path / "half")
    with pytest.raises(ValueError, match="is another network"):
        start_from(encoder, tmp_path / "wrong.keras")


@IN_BOTH
def test_misfits_are_listed(tmp_path, suffix):
    path = tmp_path / f"encoder{suffix}"
    (sogclr_tf.export_keras if suffix else sogclr_tf.export_encoder)(varied(net()), path)
    for options, found in (
        (
            {"widths": (4,)},
            r"'net' \(2 left over: second_kernel, second_bias\): make the enc",
        ),
        ({"widths": (4, 5, 6)}, r"\(2 missing in it: third_kernel, third_bias\)"),
        (
            {"widths": (7, 5)},
            r"\(7 of another shape: first_kernel \(3, 3, 3, 4\) there, \(3, 3, 3, 7\) here, "
            r"first_bias .*, norm_gamma [^:]*, \.\.\.\)",
        ),
        ({"named": False, "widths": (4,)}, r"\(6 missing in it: .*, \.\.\.; 8 left over: .*\)"),
        ({"shape": (8, 8, 1)}, r"images \(8, 8, 3\), but .*'net' takes \(8, 8, 1\): build it for"),
        ({"shape": (9, 8, 3)}, r"images \(8, 8, 3\), but .*'net' takes \(9, 8, 3\)"),
    ):
        encoder = net(**options)
        before = values(encoder)
        with pytest.raises(ValueError, match=found) as caught:
            start_from(encoder, path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
        for mine, old in zip(values(encoder), before, strict=True):
            np.testing.assert_array_equal(mine, old)


def test_images_of_any_size(tmp_path):
    """Of two encoders that both take any, and where one does."""
    other = varied(net(shape=(None, None, 3)))
    other.save(tmp_path / "other.keras")
    net(shape=(12, 16, 3)).save(tmp_path / "one_size.keras")
    for shape in ((None, None, 3), (12, 16, 3)):
        encoder = net(shape=shape)
        start_from(encoder, tmp_path / "other.keras")
        np.testing.assert_array_equal(values(encoder)[0], values(other)[0])
    start_from(other, tmp_path / "one_size.keras")
    assert (values(encoder)[0] != values(other)[0]).any()


def test_weights_that_are_not_finite(tmp_path):
    other = net()
    other.get_layer("norm").gamma.assign([np.nan] * 4)
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"not finite \(net/norm/gamma\): choose"):
        start_from(net(), tmp_path / "other.keras")


def test_what_cannot_be_started(trained):
    path = trained[0] / "encoder.keras"
    with pytest.raises(TypeError, match="must be a Keras model, got function"):
        start_from(features, path)
    with pytest.raises(ValueError, match="'empty' is not built, so it has no weights to replace"):
        start_from(keras.Sequential([LAYERS.Dense(3)], name="empty"), path)


def test_a_model_of_pixels_up_to_255(tmp_path):
    """Its encoder stands behind a multiplication, in the file and in the model to start."""
    loss = sogclr_tf.GlobalContrastiveLoss(num_examples=8)

    def model(encoder_range):
        return sogclr_tf.SogCLR(net(scale=1 / 255), loss, encoder_range=encoder_range)

    other, mine = model(255), model(255)
    varied(other.encoder)
    sogclr_tf.export_keras(other, tmp_path / "other.keras")
    start_from(mine.encoder, tmp_path / "other.keras")
    np.testing.assert_array_equal(features(mine.encoder), features(other.encoder))
    with pytest.raises(ValueError, match="is another network"):
        start_from(model(1).encoder, tmp_path / "other.keras")
