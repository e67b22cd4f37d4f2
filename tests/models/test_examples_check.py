"""A table belongs to its examples: training on others is refused, wherever the weights are from."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import small_model

import sogclr_tf
from sogclr_tf.data.sources.subset import subset
from sogclr_tf.models import examples_check

IMAGES = small_model.IMAGES
CHANGED = np.concatenate([IMAGES[:5], 255 - IMAGES[5:6], IMAGES[6:]])
OTHERS = {
    "one is another": (
        CHANGED,
        r"example 5 was 'uint8 8x8x3 \w+' and is 'uint8 8x8x3 \w+' now \(1 new, 1 gone",
    ),
    "one came before": (np.concatenate([CHANGED[5:6], IMAGES]), "example 0 was .* 24 at another"),
    "one came behind": (
        np.concatenate([IMAGES, CHANGED[5:6]]),
        "example 24, 'uint8 .*', is new",
    ),
    "one is gone": (
        IMAGES[:-1],
        r"example 23, 'uint8 .*', is gone \(0 new, 1 gone, 0 at another",
    ),
}
WAY_OUT = (
    r"\. Put them back; or .* --grow or, from Python, Checkpoints\.restore\(grow=views\.source"
)


def views(images=IMAGES):
    return sogclr_tf.training_views(images, batch_size=8, policy=as_it_is)


def as_it_is(image, _):
    return tf.ensure_shape(tf.image.convert_image_dtype(image, tf.float32), [8, 8, 3])


@functools.cache
def trained():
    """A model after an epoch on a stream."""
    built = small_model.model(run_eagerly=True)
    built.fit(views(), verbose=0)
    return built


def restored(folder, suffix):
    """A model of what `trained` saved."""
    path = folder / f"model{suffix}"
    if suffix == ".keras":
        trained().save(path)
        return keras.models.load_model(path)
    trained().save_weights(path)
    built = small_model.model()
    built.build_from(views().epoch(0).element_spec)
    built.load_weights(path)
    return built


@pytest.mark.parametrize("change", OTHERS)
def test_other_examples_are_refused_and_the_first_is_named(change):
    images, message = OTHERS[change]
    before = trained().get_weights()
    with pytest.raises(ValueError, match=message + ".*" + WAY_OUT) as told:
        trained().fit(views(images), verbose=0)
    assert "\n" not in str(told.value)
    for was, now in zip(before, trained().get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_the_same_examples_in_another_stream_fit():
    labeled = sogclr_tf.ArraySource(IMAGES.copy(), small_model.LABELS, name="labeled")
    for source in (labeled, subset(labeled, 50)):
        examples_check.check(trained(), source)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_files_of_a_model_keep_whose_its_rows_are(tmp_path, suffix):
    built = restored(tmp_path, suffix)
    examples_check.check(built, views().source)
    built = restored(tmp_path, suffix)
    named = "example 5 was" if suffix == ".keras" else "which ones, its weights alone do not say"
    with pytest.raises(ValueError, match=named):
        built.fit(views(CHANGED), initial_epoch=1, epochs=2, verbose=0)


def test_a_model_that_was_restored_after_the_first_check(tmp_path):
    """As by a callback, which puts weights in when `fit` has begun."""
    trained().save_weights(tmp_path / "model.weights.h5")
    built = small_model.model()
    built.build_from(views().epoch(0).element_spec)
    examples_check.check(built, views(CHANGED).source)
    built.load_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match="belongs to other examples than those of the array"):
        examples_check.check(built, views(CHANGED).source)


def test_before_the_first_step_any_examples_fit():
    built = small_model.model()
    for images in (CHANGED, IMAGES):
        source = views(images).source
        examples_check.check(built, source)
        assert built.examples_fingerprint == source.example_names().fingerprint


def test_a_table_of_unknown_examples_warns(caplog):
    built = small_model.model()
    built._trained_steps.assign(3)
    examples_check.check(built, views().source)
    assert "does not say whose the rows of its table are" in caplog.text
    with pytest.raises(ValueError, match="example 5 was"):
        examples_check.check(built, views(CHANGED).source)


def test_a_loss_without_a_table_goes_with_any():
    built = small_model.model("simclr")
    built._trained_steps.assign(3)
    for images in (IMAGES, CHANGED):
        examples_check.check(built, views(images).source)
    assert built.examples_fingerprint == 0


def test_weights_of_version_0_2_hold_steps_alone():
    built = small_model.model()
    built.load_own_variables({"0": np.int64(7)})
    assert (built.trained_steps, built.examples_fingerprint) == (7, 0)
