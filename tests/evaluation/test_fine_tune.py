import keras
import numpy as np
import pytest

import sogclr_tf
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.evaluation import fine_tune

POLICY = sogclr_tf.Policy(8, min_area=0.7, flip=0, jitter=0, grayscale=0)


@pytest.fixture(scope="module")
def digits():
    return from_name("digits", "train"), from_name("digits", "test")


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return sogclr_tf.small_resnet(widths=(8, 16), input_shape=(8, 8, 3))


def tuned(encoder, digits, **changes):
    settings = {"percent": 10, "epochs": 1, "verbose": 0} | changes
    return fine_tune.fine_tune(encoder, *digits, POLICY, **settings)


@pytest.mark.slow(reason="an encoder is fine-tuned")
def test_it_learns_and_leaves_the_encoder_as_it_is(digits, encoder):
    before = [weight.copy() for weight in encoder.get_weights()]
    found = tuned(encoder, digits, epochs=40, batch_size=32, learning_rate=1.0)
    assert 0.6 < found.top1 < found.top5 <= 1
    assert found.top1 == np.mean(found.predictions == digits[1].images_and_labels()[1])
    for weight, expected in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.slow(reason="two trainings")
def test_it_repeats_by_seed(digits, encoder):
    first, second = (tuned(encoder, digits, seed=1, epochs=2) for _ in range(2))
    np.testing.assert_array_equal(first.predictions, second.predictions)


def test_a_frozen_encoder_is_trained_all_the_same():
    encoder = sogclr_tf.small_resnet(widths=(4,), input_shape=(8, 8, 3))
    encoder.trainable = False
    copy = fine_tune.copied(encoder)
    assert len(copy.trainable_weights) == len(copy.weights) - 2 * 3  # of 3 batch normalizations
    assert not encoder.trainable_weights


@pytest.mark.parametrize(
    ("percent", "steps_per_epoch", "epochs"),
    [(1, 12, 60), (10, 125, 30), (100, 1251, 30), (1, 1, 500), (10, 4, 125)],
)
def test_default_epochs(percent, steps_per_epoch, epochs):
    assert fine_tune._default_epochs(percent, steps_per_epoch) == epochs


class Plain(keras.Model):
    """Cannot be made from its configuration, as a layer is no number."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, images):
        return self.layer(images)


def test_it_refuses(digits, encoder):
    train, test = digits
    rare = sogclr_tf.ArraySource(np.zeros((201, 8, 8, 3), np.uint8), [0] * 100 + [1] * 100 + [3])
    with pytest.raises(ValueError, match="1% of the 1 examples of class 3 is none"):
        tuned(encoder, (rare, test), percent=1)
    bare = sogclr_tf.ArraySource(np.zeros((4, 8, 8, 3), np.uint8), name="bare")
    with pytest.raises(ValueError, match="bare has no labels"):
        tuned(encoder, (bare, test))
    with pytest.raises(ValueError, match="bare has no labels"):
        tuned(encoder, (train, bare))
    with pytest.raises(TypeError, match="cannot be fine-tuned, as it is no Keras model"):
        tuned(lambda images, training: images, digits)  # noqa: ARG005
    subclassed = Plain(keras.layers.Flatten())
    subclassed(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"cannot be copied to be fine-tuned \(.*get_config") as e:
        tuned(subclassed, digits)
    assert "\n" not in str(e.value)
