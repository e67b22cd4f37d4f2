"""Encoders that rescale 0..255 by themselves: told before they train, and fed what they expect."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close, assert_close
from support.small_model import IMAGES, LABELS, N, views

import sogclr_tf
from sogclr_tf.models import unit_range

layers = keras.layers
UNIT = IMAGES / np.float32(255)
# What a deviation of 0.229 and a mean of 0.485 are for pixels of 0..255.
MEAN, VARIANCE = 0.485 * 255, (0.229 * 255) ** 2


def after(*first, seed=0, name="own"):
    """An encoder of some layers, a convolution and pooling."""
    keras.utils.set_random_seed(seed)
    rest = [layers.Conv2D(6, 3, strides=2, activation="tanh"), layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 3)), *first, *rest], name=name)


def functional_of(call):
    """The functional model of what `call` makes of images."""
    images = keras.Input((8, 8, 3))
    return keras.Model(images, call(images))


def functional(before):
    """An encoder behind a function of its input."""
    return functional_of(lambda images: after()(before(images)))


def adapted():
    layer = layers.Normalization()
    layer.adapt(IMAGES.astype(np.float32))
    return layer


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.rescale, self.flatten = layers.Rescaling(1 / 255), layers.Flatten()
        self.dense = layers.Dense(4)

    def call(self, images):
        return self.dense(self.flatten(self.rescale(images)))


def preprocess(network):
    return getattr(keras.applications, network).preprocess_input


EXPECTS_255 = {
    "1/255": lambda: after(layers.Rescaling(1 / 255)),
    "1/127.5 - 1": lambda: after(layers.Rescaling(1 / 127.5, -1.0)),
    "mean and variance of 0..255": lambda: after(
        layers.Normalization(mean=[MEAN] * 3, variance=[VARIANCE] * 3)
    ),
    "adapted to 0..255": lambda: after(adapted()),
    "in two steps": lambda: after(layers.Rescaling(0.1), layers.Rescaling([0.1, 0.1, 0.2])),
    "behind harmless layers": lambda: after(
        layers.ZeroPadding2D(2), layers.RandomFlip(), layers.Resizing(8, 8), layers.Rescaling(0.01)
    ),
    "in a nested model": lambda: after(
        keras.Sequential([keras.Input((8, 8, 3)), layers.RandomContrast(0.9)]),
        keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)]),
    ),
    "a nested network of its own": lambda: functional_of(after(layers.Rescaling(1 / 255))),
    "in one of two branches": lambda: functional_of(
        lambda x: layers.Add()([after(name="a")(x), after(layers.Rescaling(0.01), name="b")(x)])
    ),
    "an operation": lambda: functional(lambda x: x / 127.5 - 1),
    "a Lambda": lambda: after(layers.Lambda(lambda x: x / 255)),
    "a function of keras.applications": lambda: functional(preprocess("mobilenet_v2")),
    "its mean alone is subtracted": lambda: functional(preprocess("resnet50")),
    "half precision": lambda: after(
        layers.Rescaling(1 / 255, dtype="bfloat16"), layers.Rescaling(4.0, -2.0, dtype="bfloat16")
    ),
    "images of any size": lambda: keras.Sequential(
        [
            *(keras.Input((None, None, 3)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)),
            layers.GlobalAveragePooling2D(),
        ]
    ),
}
EXPECTS_1 = {
    "nothing": after,
    "to -1..1": lambda: after(layers.Rescaling(2.0, -1.0)),
    "mean and variance of 0..1": lambda: after(
        layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)
    ),
    "one that was never adapted": lambda: after(layers.Normalization()),
    "up and down": lambda: after(layers.Rescaling(255.0), layers.Rescaling(1 / 127.5, -1.0)),
    "wrapped": lambda: unit_range.in_unit_range(after(layers.Rescaling(1 / 255)), 255),
    "behind weights": lambda: after(layers.Conv2D(3, 1), layers.Rescaling(1 / 255)),
    "clipped": lambda: after(layers.Lambda(lambda x: tf.clip_by_value(2 * x - 1, -1, 1))),
    "standardized image by image": lambda: after(layers.Lambda(tf.image.per_image_standardization)),
    "cannot be looked into": Subclassed,
    "ours": lambda: sogclr_tf.ResNet(
        18, input_normalization=([0.485] * 3, [0.229] * 3), input_shape=(32, 32, 3)
    ),
}


@pytest.mark.parametrize("name", EXPECTS_255)
def test_encoders_that_expect_255(name):
    assert unit_range.expects_255(EXPECTS_255[name]())


@pytest.mark.parametrize("name", EXPECTS_1)
def test_encoders_that_expect_1(name):
    assert not unit_range.expects_255(EXPECTS_1[name]())


def rescales(network):
    """Whether a network of keras.applications has a layer that rescales, by its own words."""
    kinds = (layers.Rescaling, layers.Normalization)
    flat = [part for layer in network.layers for part in layer._flatten_layers()]
    return any(isinstance(layer, kinds) for layer in flat)


def built(builder, **options):
    """The network for the smallest of some sides that its builder takes."""
    for side in (32, 71, 75, 331):
        try:
            return builder(
                weights=None,
                include_top=False,
                pooling="avg",
                input_shape=(side, side, 3),
                **options,
            )
        except ValueError as error:
            refusal = error
    raise refusal


BUILDERS = {
    name: value for name, value in vars(keras.applications).items() if inspect.isfunction(value)
}


@pytest.mark.parametrize(("name", "expected"), [("MobileNetV3Small", True), ("MobileNetV2", False)])
def test_two_of_keras_applications(name, expected):
    network = built(BUILDERS[name], alpha=0.35)
    assert rescales(network) == expected
    assert unit_range.expects_255(network) == expected


# The networks of a module rescale by the same lines.
ONE_OF_EACH_KIND = {builder.__module__: builder for builder in reversed(BUILDERS.values())}


@pytest.mark.slow(reason="builds networks of tens of millions of weights, some of them twice")
@pytest.mark.parametrize("builder", ONE_OF_EACH_KIND.values(), ids=lambda b: b.__name__)
def test_all_kinds_of_keras_applications(builder):
    network = built(builder)
    assert unit_range.expects_255(network) == rescales(network)
    if "include_preprocessing" in inspect.signature(builder).parameters:
        assert rescales(network)
        bare = built(builder, include_preprocessing=False)
        assert not rescales(bare)
        assert not unit_range.expects_255(bare)
    keras.utils.clear_session()


class TestRefused:
    """Where nothing was said; in one line, with the ways out."""

    def test_where_the_model_is_made(self):
        network = after(layers.Rescaling(1 / 255))
        with pytest.raises(ValueError, match="'own' rescales pixels of 0..255 .* feed 0..1: pass "):
            sogclr_tf.SogCLR(network, sogclr_tf.NTXentLoss())

    def test_where_an_encoder_is_built_later(self):
        network = keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(4)])
        model = sogclr_tf.SogCLR(network, sogclr_tf.NTXentLoss())
        with pytest.raises(ValueError, match="include_preprocessing=False .*encoder_range=1 takes"):
            model.build((None, 8, 8, 3))

    def test_of_two_towers(self):
        parts = after(layers.Rescaling(1 / 255)), text_encoder(), sogclr_tf.CLIPLoss()
        with pytest.raises(ValueError, match="pass encoder_range=255"):
            sogclr_tf.TwoTowerSogCLR(*parts)

    def test_of_another_range(self):
        with pytest.raises(ValueError, match="encoder_range is 127.5: choose 255 .* or 1"):
            sogclr_tf.SogCLR(after(), sogclr_tf.NTXentLoss(), encoder_range=127.5)

    def test_not_if_it_was_said(self, caplog):
        network = after(layers.Rescaling(1 / 255))
        model = sogclr_tf.SogCLR(network, sogclr_tf.NTXentLoss(), encoder_range=1)
        assert model.encoder is network
        copy = sogclr_tf.SogCLR.from_config(model.get_config())
        sogclr_tf.extract_features(copy.encoder, IMAGES)
        assert copy.encoder_range == 1
        assert said(caplog) == []


def said(caplog):
    """The package's own messages: TensorFlow may have something to say of traces."""
    return [record.getMessage() for record in caplog.records if record.name == "sogclr_tf"]


def text_encoder():
    return sogclr_tf.TextEncoder(["", "[UNK]", *"abc"], length=2, width=4, heads=1, blocks=0)


@pytest.mark.parametrize(
    ("make", "warns"),
    [
        (after, True),
        (lambda: after(layers.ZeroPadding2D(), layers.Rescaling(2.0, -1.0)), True),
        (lambda: after(layers.Rescaling(1.0, -103.9)), False),
        (lambda: after(layers.Rescaling(1 / 58.0, -2.1)), False),
        (Subclassed, False),
    ],
)
def test_of_255_for_an_encoder_that_leaves_pixels_as_they_are(make, warns, caplog):
    model = sogclr_tf.SogCLR(make(), sogclr_tf.NTXentLoss(), encoder_range=255)
    if not model.built:
        model.build((None, 8, 8, 3))
    words = "encoder_range is 255, but nothing in 'own' rescales 0..255 before its first weights"
    assert [words in message for message in said(caplog)] == [True] * warns


def test_evaluations_and_exports_warn_once(caplog):
    network = after(layers.Rescaling(1 / 255))
    for _ in range(2):
        sogclr_tf.extract_features(network, IMAGES)
    (message,) = said(caplog)
    assert "keras.Sequential([keras.layers.Rescaling(255.0), encoder])" in message
    with pytest.raises(ValueError, match="rescales pixels"):
        sogclr_tf.SogCLR(network, sogclr_tf.NTXentLoss())


def compiled(encoder, **options):
    model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(N), **options)
    model.compile(keras.optimizers.SGD(0.01))
    return model


@pytest.fixture(scope="module")
def made():
    """(the encoder that was given, the model)."""
    given = after(layers.Rescaling(1 / 255))
    return given, compiled(given, encoder_range=255)


class TestFedWhatItExpects:
    """encoder_range=255: everything takes 0..1, and the encoder that was given gets 0..255."""

    def features(self, given):
        return np.asarray(given(IMAGES.astype(np.float32)))

    @pytest.mark.slow(reason="two steps are traced")
    def test_it_trains_as_one_that_takes_0_to_1(self):
        # Each projector is drawn after the seed that draws its encoder.
        given = compiled(after(layers.Rescaling(1 / 255)), encoder_range=255)
        plain = compiled(after())
        before = given.get_weights()
        assert_all_close(before, plain.get_weights())
        for model in (given, plain):
            model.fit(views(), verbose=0)
        assert np.abs(given.get_weights()[0] - before[0]).max() > 1e-4
        # Additions behind a kernel's entry: of 2 views of the examples at 9 places each.
        assert_all_close(given.get_weights(), plain.get_weights(), 2 * N * 9)

    def test_the_encoder_that_was_given_is_within(self, made):
        given, model = made
        assert model.encoder.layers[-1] is given
        want = self.features(given)
        assert_close(model.encoder(UNIT), want)
        assert_close(sogclr_tf.extract_features(model.encoder, IMAGES), want)
        assert_close(model.predict(IMAGES, verbose=0), want)

    def test_configuration_and_files_keep_it(self, made, tmp_path):
        given, model = made
        assert model.get_config()["encoder_range"] == 255
        model.save(tmp_path / "model.keras")
        model.save_weights(tmp_path / "model.weights.h5")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        again = sogclr_tf.SogCLR.from_config(model.get_config())
        again.load_weights(tmp_path / "model.weights.h5")
        sogclr_tf.export_keras(model, tmp_path / "encoder.keras")
        want = self.features(given)
        for encoder in (
            loaded.encoder,
            again.encoder,
            sogclr_tf.load_encoder(tmp_path / "model.keras"),
            keras.models.load_model(tmp_path / "encoder.keras"),
        ):
            assert_close(encoder(UNIT), want)
        assert loaded.encoder_range == again.encoder_range == 255

    def test_checkpoints_go_into_the_encoder_as_it_was_given(self, made, tmp_path):
        given, model = made
        sogclr_tf.Checkpoints(model, tmp_path).save()
        fresh = after(layers.Rescaling(1 / 255), seed=1)
        assert_close(sogclr_tf.load_encoder(tmp_path, fresh)(UNIT), self.features(given))
        assert_close(self.features(fresh), self.features(given))

    def test_checkpoints_of_one_that_was_fed_0_to_1(self, tmp_path):
        given, fresh = (after(layers.Rescaling(1 / 255), seed=seed) for seed in (0, 1))
        model = sogclr_tf.SogCLR(given, sogclr_tf.NTXentLoss(), encoder_range=1)
        model.compile("sgd")
        sogclr_tf.Checkpoints(model, tmp_path).save()
        assert_close(sogclr_tf.load_encoder(tmp_path, fresh)(UNIT), given(UNIT))

    def test_an_encoder_that_is_built_later(self):
        given = keras.Sequential([layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(4)])
        model = sogclr_tf.SogCLR(given, sogclr_tf.NTXentLoss(), encoder_range=255)
        model.build((None, 8, 8, 3))
        assert_close(model(UNIT), self.features(given))

    def test_of_two_towers(self):
        given = after(layers.Rescaling(1 / 255))
        parts = given, text_encoder(), sogclr_tf.CLIPLoss()
        model = sogclr_tf.TwoTowerSogCLR(*parts, encoder_range=255)
        copy = sogclr_tf.TwoTowerSogCLR.from_config(model.get_config())
        copy.set_weights(model.get_weights())
        assert copy.encoder_range == 255
        features = model.image_projector(self.features(given))
        want = keras.utils.normalize(np.asarray(features))
        for towers in (model, copy):
            assert_close(towers.embed_images(IMAGES), want)

    @pytest.mark.slow(reason="three exports are traced, and two classifiers trained")
    def test_exports_and_evaluations_take_0_to_1(self, made, tmp_path):
        given, model = made
        want = self.features(given)
        served = tf.saved_model.load(str(sogclr_tf.export_encoder(model, tmp_path / "served")))
        answers = served.signatures["serving_default"](images=tf.constant(UNIT))
        assert_close(answers["features"], want)
        files = [tf.io.encode_png(image).numpy() for image in IMAGES]
        answers = served.signatures["serving_bytes"](image_bytes=tf.constant(files))
        assert_close(answers["features"], want)
        path = sogclr_tf.export_tflite(model, tmp_path / "encoder.tflite", quantize=False)
        lite = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
        assert_close(lite(images=UNIT)["features"], want)
        source = sogclr_tf.ArraySource(IMAGES, LABELS)
        policy = sogclr_tf.crops_and_flips(8)
        scores = sogclr_tf.evaluate_encoder(model.encoder, IMAGES, LABELS, IMAGES, LABELS, k=3)
        assert_close(scores.train_features, want)
        linear = sogclr_tf.linear_evaluation(
            model.encoder, source, source, policy, epochs=1, batch_size=8, verbose=0
        )
        tuned = sogclr_tf.fine_tune(
            model.encoder, source, source, policy, percent=100, epochs=1, batch_size=8, verbose=0
        )
        for classified in (linear, tuned):
            assert 0 <= classified.top1 <= 1
        assert_close(self.features(given), want)
