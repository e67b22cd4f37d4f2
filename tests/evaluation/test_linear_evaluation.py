import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import close

import sogclr_tf
from sogclr_tf.data import labeled
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.evaluation import linear_evaluation
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.evaluation.linear_probe import fit_linear_probe
from sogclr_tf.evaluation.scores import top_k

# The whole image: an 8% crop of a digit is no digit.
POLICY = sogclr_tf.Policy(8, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)


@pytest.fixture(scope="module")
def digits():
    return from_name("digits", "train"), from_name("digits", "test")


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    encoder = sogclr_tf.small_resnet(widths=(8, 16), input_shape=(8, 8, 3))
    # A step in training mode moves the batch statistics, so that inference mode shows.
    encoder(np.random.default_rng(0).random((32, 8, 8, 3)), training=True)
    return encoder


def pixels():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])


def evaluated(encoder, train, test, policy=POLICY, **changes):
    settings = {"epochs": 1, "verbose": 0} | changes
    return linear_evaluation.linear_evaluation(encoder, train, test, policy, **settings)


@pytest.mark.slow(reason="a probe is trained to the end")
def test_it_comes_close_to_logistic_regression(digits):
    found = evaluated(pixels(), *digits, epochs=12, batch_size=64, learning_rate=0.3)
    (train, labels), (test, test_labels) = [evaluation_set(x, 8) for x in digits]
    train, test = (extract_features(pixels(), images) for images in (train, test))
    expected = fit_linear_probe(train, labels, regularization=0.1).scores(test)
    assert found.top1 == pytest.approx(top_k(expected, test_labels, 1), abs=0.03)
    assert found.top1 == np.mean(found.predictions == test_labels)
    assert 0.98 < found.top5 <= 1
    assert found.predictions.dtype == np.int32


def test_the_encoder_is_left_as_it_is(digits, encoder):
    before = [weight.copy() for weight in encoder.get_weights()]
    evaluated(encoder, *digits)
    for weight, expected in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert encoder.trainable_weights


def test_the_encoder_is_in_inference_mode(digits):
    modes = set()

    def encoder(images, training):
        modes.add(training)
        return tf.reshape(images, [-1, 8 * 8 * 3])

    evaluated(encoder, *digits)
    assert modes == {False}


def test_the_head_is_what_is_trained(encoder):
    model = linear_evaluation.Classifier(encoder, 3, frozen=True)
    assert model(np.zeros((2, 8, 8, 3), np.uint8), training=True).shape == (2, 3)
    assert [weight.path for weight in model.trainable_weights] == [
        "classifier/head/kernel",
        "classifier/head/bias",
    ]


@pytest.mark.slow(reason="three trainings")
def test_it_repeats_by_seed(digits):
    policy = labeled.crops_and_flips(8)
    first, second, other = (
        evaluated(pixels(), *digits, policy, seed=seed).predictions for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_classes_that_training_lacks_are_wrong(digits):
    train, test = digits
    images, labels = train.images_and_labels()
    images = np.stack(list(images.as_numpy_iterator()))
    few = sogclr_tf.ArraySource(images[labels % 2 == 1], labels[labels % 2 == 1])
    found = evaluated(pixels(), few, test, epochs=3)
    assert set(found.predictions.tolist()) <= {1, 3, 5, 7, 9}
    odd = np.mean(test.images_and_labels()[1] % 2 == 1)
    assert found.top5 == close(odd, terms=4)


def test_a_batch_holds_at_most_all_images(digits):
    assert evaluated(pixels(), *digits, batch_size=4096).top1 > 0.1


def test_it_shows_one_bar_of_progress(digits, capsys):
    evaluated(pixels(), *digits, epochs=2, verbose=1)
    assert "8/8" in capsys.readouterr().out


def unlabeled(source):
    return sogclr_tf.ArraySource(np.zeros((4, 8, 8, 3), np.uint8), name=f"bare {source.name}")


def test_it_refuses(digits, encoder):
    train, test = digits
    with pytest.raises(ValueError, match=r"bare digits\[train\] has no labels"):
        evaluated(encoder, unlabeled(train), test)
    with pytest.raises(ValueError, match=r"bare digits\[test\] has no labels"):
        evaluated(encoder, train, unlabeled(test))
    with pytest.raises(ValueError, match=r"the encoder takes \(None, 8, 8, 3\), but 'image' is"):
        evaluated(encoder, train, test, labeled.crops_and_flips(9))
    with pytest.raises(ValueError, match=r"must return features \[B, D\], got shape \(1, 8"):
        evaluated(lambda images, training: images, train, test)  # noqa: ARG005
    one_class = sogclr_tf.ArraySource(np.zeros((4, 8, 8, 3), np.uint8), [1] * 4, name="ones")
    with pytest.raises(ValueError, match="labels of ones must hold at least 2 different classes"):
        evaluated(encoder, one_class, test)
    with pytest.raises(ValueError, match="peak is 0.0; give a learning rate > 0"):
        evaluated(encoder, train, test, learning_rate=0)
    with pytest.raises(ValueError, match="total_steps is 0"):
        evaluated(encoder, train, test, epochs=0)


def test_a_training_that_diverges_says_so(digits):
    with pytest.raises(FloatingPointError, match="the loss is (nan|inf) at step .* below 1e\\+38"):
        evaluated(pixels(), *digits, learning_rate=1e38)
