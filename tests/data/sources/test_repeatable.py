"""A data set whose index would not mean one example is refused, and no other."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder

from sogclr_tf import DatasetSource

N = 100
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), np.uint8)
SPEC = tf.TensorSpec([6, 5, 3], tf.uint8)
FIXED = {"reshuffle_each_iteration": False}


@pytest.fixture(autouse=True)
def no_global_seed():
    """With one, what is random without a seed of its own is the same in every pass."""
    tf.random.set_seed(None)


def data(images=IMAGES):
    return tf.data.Dataset.from_tensor_slices(images)


def in_any_order(dataset):
    options = tf.data.Options()
    options.deterministic = False
    return dataset.with_options(options)


def late(image):
    """The same image, some time later."""

    def wait(pixels):
        time.sleep(0.003 * np.random.default_rng().random())
        return pixels

    return tf.ensure_shape(tf.py_function(wait, [image], tf.uint8), SPEC.shape)


def interleaved(**options):
    """Rows of ten groups, one of each in turn."""
    groups = tf.data.Dataset.range(10)
    rows = tf.constant(IMAGES.reshape(10, 10, 6, 5, 3))
    return groups.interleave(
        lambda k: tf.data.Dataset.from_tensor_slices(rows[k]), num_parallel_calls=2, **options
    )


def with_captions(caption):
    return data().map(lambda image: {"image": image, "text": caption()})


ANEW = r"is shuffled anew at every pass.*give it unshuffled \(shuffle=False\)"
ANOTHER = r"example \d+ of the data set was another in the next pass.*\(shuffle=False\)"
DIFFERS = r"example \d+ of the data set was not the same .*without random augmentation"
PARALLEL = "parallel step with deterministic=False"
REFUSED = {
    "shuffle": (lambda: data().shuffle(N), ANEW),
    "small buffer": (lambda: data().shuffle(2), ANEW),
    "seed alone": (lambda: data().shuffle(N, seed=1), ANEW),
    "before a cache": (lambda: data().shuffle(N).cache(), ANEW),
    "of batches": (lambda: data().batch(10).shuffle(4).unbatch(), ANEW),
    "behind the first": (lambda: data().take(90).concatenate(data().shuffle(9)), ANEW),
    "beside labels": (
        lambda: tf.data.Dataset.zip(data().shuffle(9), tf.data.Dataset.range(N)),
        ANEW,
    ),
    "of constant images": (lambda: data(np.zeros_like(IMAGES)).shuffle(N), ANEW),
    "no seed": (lambda: data().shuffle(N, **FIXED), "without a seed.*at the next start"),
    "inside a function": (
        lambda: tf.data.Dataset.range(1).flat_map(lambda _: data().shuffle(N)),
        ANOTHER,
    ),
    "generator": (
        lambda: tf.data.Dataset.from_generator(
            lambda: iter(np.random.default_rng().permutation(IMAGES)), output_signature=SPEC
        ),
        ANOTHER,
    ),
    "augmentation": (lambda: data().map(tf.image.random_flip_left_right), DIFFERS),
    "texts": (
        lambda: with_captions(lambda: tf.strings.as_string(tf.random.uniform([]))),
        DIFFERS,
    ),
    "parallel map": (lambda: data().map(late, 4, deterministic=False), PARALLEL),
    "interleave": (lambda: interleaved(deterministic=False), PARALLEL),
}
TAKEN = {
    "seed and one order": lambda: data().shuffle(N, seed=1, **FIXED),
    "buffer of one": lambda: data().shuffle(1),
    "cache": lambda: data().cache(),
    "constant images": lambda: data(np.zeros_like(IMAGES)),
    "interleave": interleaved,
    "parallel map in any order": lambda: in_any_order(data().map(late, 4)).map(lambda x: x),
    "generator": lambda: tf.data.Dataset.from_generator(
        lambda: iter(IMAGES), output_signature=SPEC
    ),
    "captions": lambda: with_captions(lambda: tf.constant("one")),
    "other keys": lambda: data().map(lambda x: {"image": x, "id": tf.random.uniform([])}),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        DatasetSource(make())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_taken_and_the_same_in_every_pass(make):
    source = DatasetSource(make())
    passes = [
        [example["image"].numpy().tobytes() for example in source.examples()] for _ in range(2)
    ]
    assert len(passes[0]) == N
    assert passes[0] == passes[1]


def test_a_generator_that_is_used_up():
    once = iter(IMAGES)
    given = tf.data.Dataset.from_generator(lambda: once, output_signature=SPEC)
    with pytest.raises(ValueError, match=f"{N} examples in one pass and 0 in the next"):
        DatasetSource(given)


@pytest.mark.parametrize(
    ("options", "taken"), [({}, False), ({"seed": 1}, False), ({"shuffle": False}, True)], ids=str
)
def test_a_folder_by_keras(tmp_path, options, taken):
    folder = write_folder(tmp_path / "pets", IMAGES[:20], np.arange(20) % 2)
    given = keras.utils.image_dataset_from_directory(
        folder, image_size=(6, 5), batch_size=None, verbose=False, **options
    ).map(lambda image, label: (tf.cast(image, tf.uint8), label))
    if taken:
        assert DatasetSource(given).size == 20
    else:
        with pytest.raises(ValueError, match=ANEW):
            DatasetSource(given)
