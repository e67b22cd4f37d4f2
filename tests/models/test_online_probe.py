"""The online probe: it learns as a regression of its own would, and the encoder as without it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_close, close
from support.small_model import IMAGES, labeled, views
from support.small_model import probed_model as model

import sogclr_tf
from sogclr_tf.training.optimizers import build_optimizer


@pytest.mark.slow(reason="two models are traced")
def test_the_encoder_learns_as_without_it():
    with_probe, without = model(), model(probe=False)
    for built in (with_probe, without):
        built.fit(labeled(), epochs=2, verbose=0)
    assert np.abs(with_probe.probe.kernel.numpy()).max() > 0
    assert len(with_probe.trainable_weights) == len(without.trainable_weights)
    for ours, theirs in zip(with_probe.trainable_weights, without.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("unlabeled", [0, 5])
def test_a_step_is_that_of_kerass_own_regression(unlabeled):
    """Examples of a negative label count for nothing."""
    random = np.random.default_rng(0)
    features = random.normal(size=(20, 6)).astype(np.float32)
    labels = random.integers(0, 4, 20)
    probe = sogclr_tf.OnlineProbe(4, learning_rate=0.1)
    probe.build((None, 6))
    known = slice(unlabeled, None)
    # By the statistics of all, labeled or not.
    scaled = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0) + 1e-3)
    reference = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, None, True, "zeros")])
    reference.compile(
        keras.optimizers.Adam(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    labels[:unlabeled] = -1
    for _ in range(5):
        probe.learn(tf.constant(features), tf.constant(labels))
        reference.train_on_batch(scaled[known], labels[known])
    assert_close(probe.kernel, reference.weights[0])
    assert_close(probe.bias, reference.weights[1])
    np.testing.assert_array_equal(
        probe.classify(features[:9], population=features),
        np.argmax(scaled[:9] @ probe.mean_kernel.numpy() + probe.mean_bias.numpy(), axis=1),
    )


def test_the_average_follows_the_weights():
    """It is their mean at first, and that of the last tenth of the steps later."""
    probe = sogclr_tf.OnlineProbe(2)
    probe.build((None, 1))
    expected = np.zeros((1, 2))
    for step in range(1, 30):
        probe.learn(tf.constant([[1.0], [-1.0]]), tf.constant([0, 1]))
        expected += (probe.kernel.numpy() - expected) / (1 + step / 10)
    assert_close(probe.mean_kernel, expected)
    assert 0 < probe.mean_kernel.numpy()[0, 0] < probe.kernel.numpy()[0, 0]


def test_accuracy_counts_what_is_labeled():
    probe = sogclr_tf.OnlineProbe(2)
    probe.build((None, 2))
    for kernel in (probe.kernel, probe.mean_kernel):
        kernel.assign(np.eye(2))
    features = tf.constant([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    probe.score(features, tf.constant([0, 1, 1, -1]))
    assert float(probe.accuracy.result()) == close(2 / 3, terms=4)
    before = probe.accuracy.result()
    probe.score(features, tf.constant([-1] * 4))
    assert float(probe.accuracy.result()) == before
    probe.learn(features, tf.constant([-1] * 4))
    np.testing.assert_array_equal(probe.kernel, np.eye(2))


def test_it_finds_the_digits_in_their_pixels():
    pixels, labels = load_digits(return_X_y=True)
    probe = sogclr_tf.OnlineProbe(10, learning_rate=0.01)
    probe.build((None, 64))
    learn = tf.function(probe.learn)
    for start in range(0, 20 * 1280, 64):
        rows = np.arange(start, start + 64) % 1280
        learn(tf.constant(pixels[rows], tf.float32), tf.constant(labels[rows]))
    guessed = tf.argmax(probe(pixels[1280:].astype(np.float32)), axis=1)
    assert np.mean(guessed.numpy() == labels[1280:]) > 0.9


def test_labels_of_other_images():
    """With images of its own, the probe sees those alone, and whole."""
    built, seen = model(), []
    learn = built.probe.learn
    built.probe.learn = lambda features, labels: (
        seen.append((features.shape, labels.shape)) or learn(features, labels)
    )
    batch = {
        "probe_image": tf.constant(IMAGES[:2]),
        "probe_label": tf.constant([0, 1], tf.int32),
    }
    stream = views().epoch(0).map(lambda elements: {**elements, **batch})
    logs = built.fit(stream, verbose=0).history
    assert seen == [((2, 54), (2,))]
    assert 0 <= logs["probe_accuracy"][0] <= 1


@pytest.mark.slow(reason="a step is traced and compiled anew for each case")
def test_weights_and_optimizer_are_kept_in_every_format(tmp_path):
    built = model()
    built.fit(labeled(), verbose=0)
    built.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.probe.kernel, built.probe.kernel)
    assert loaded.probe.get_config() == built.probe.get_config()
    built.save_weights(tmp_path / "model.weights.h5")
    fresh = model()
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(fresh.probe.bias, built.probe.bias)
    sogclr_tf.Checkpoints(built, tmp_path / "checkpoints").save()
    resumed = model()
    step = sogclr_tf.Checkpoints(resumed, tmp_path / "checkpoints").restore()
    for both in (built, resumed):
        both.fit(labeled(), epochs=2, initial_step=step, verbose=0)
    np.testing.assert_array_equal(resumed.probe.kernel, built.probe.kernel)


@pytest.mark.parametrize(
    "own_images",
    [False, pytest.param(True, marks=pytest.mark.slow(reason="training, operation by operation"))],
)
def test_it_learns_from_the_averages_that_an_optimizer_keeps(own_images):
    """What it learns from, step by step, by an encoder of the test's own."""
    built, seen = model(), []
    optimizer = build_optimizer("sgd", 0.5, ema=0.75)
    built.compile(optimizer, run_eagerly=True)
    learn = built.probe.learn
    built.probe.learn = lambda *batch: seen.append(batch) or learn(*batch)
    stream = labeled().epoch(0).take(3)
    if own_images:
        own = {"probe_image": tf.constant(IMAGES[:2]), "probe_label": tf.constant([0, 1])}
        stream = stream.map(lambda batch: {**batch, **own})
    encoder, elements = keras.models.clone_model(built.encoder), list(stream.as_numpy_iterator())

    class Encode(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            averages = iter(optimizer._model_variables_moving_average)
            for weight in encoder.trainable_weights:
                weight.assign(next(averages))
            for weight, value in zip(
                encoder.non_trainable_weights, built.encoder.non_trainable_weights, strict=True
            ):
                weight.assign(value)
            found = elements[batch]
            sides = [found["view_a"], found["view_b"]]
            images = (IMAGES[:2] if own_images else np.concatenate(sides)) / np.float32(255)
            features, labels = seen[batch]
            np.testing.assert_array_equal(features, encoder(images, training=False))
            assert len(labels) == len(features)

    built.fit(stream, callbacks=[Encode()], verbose=0)
    assert len(seen) == 3


@needs_bfloat16
def test_under_bfloat16():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        built = model()
        built.fit(labeled(), verbose=0)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert built.probe.kernel.dtype == "float32"
    assert np.isfinite(built.probe.kernel).all()


def test_evaluate_scores_without_learning():
    built = model()
    built.fit(labeled(), verbose=0)
    before = built.probe.kernel.numpy()
    logs = built.evaluate(labeled(), verbose=0, return_dict=True)
    np.testing.assert_array_equal(built.probe.kernel, before)
    assert 0 < logs["probe_accuracy"] <= 1


def test_a_stream_without_labels_is_refused():
    with pytest.raises(ValueError, match="has a probe, but its training elements have no label"):
        model().fit(views(), verbose=0)
    wrong = views().epoch(0).map(lambda elements: {**elements, "label": elements["view_a"]})
    with pytest.raises(ValueError, match=r"label is uint8 \(8, 8, 8, 3\): expected whole numbers"):
        model().fit(wrong, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1,), "num_classes is 1: a probe needs a whole number >= 2"),
        ((2.5,), "num_classes is 2.5"),
        ((3, 0.0), "learning_rate of the probe is 0.0: it must be > 0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        sogclr_tf.OnlineProbe(*arguments)
