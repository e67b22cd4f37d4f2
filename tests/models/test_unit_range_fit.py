"""Encoders that rescale 0..255 are refused, warned of, or fed what they expect."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close, assert_close
from support.ranged_encoders import Subclassed, after
from support.small_model import IMAGES, LABELS, N, views

import sogclr_tf

layers = keras.layers
UNIT = IMAGES / np.float32(255)


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
