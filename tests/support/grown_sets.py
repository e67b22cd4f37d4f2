"""Trainings on a folder that changes afterwards."""

import shutil

import keras
import numpy as np
import tensorflow as tf
from support.files import write_folder

import sogclr_tf
from sogclr_tf import Checkpoints
from sogclr_tf.models import examples_check

STEP = 6
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
# (loss, options) of every kind of table.
LOSSES = {
    "sogclr": {"gamma_decay_steps": 9},
    "isogclr": {},
    "two_way": {"temperature_scheme": "individual", "temperature_optimizer": "adam"},
}


def folder_of(tmp_path):
    """Eight files, 00000.png to 00007.png."""
    return write_folder(tmp_path / "pets", IMAGES)


def change(folder):
    """One more before and one behind, one removed, one renamed."""
    for name in ("-first.png", "last.png"):
        shutil.copy(folder / "00000.png", folder / name)
    (folder / "00002.png").unlink()
    (folder / "00005.png").rename(folder / "00003b.png")


def views_of(source):
    return sogclr_tf.training_views(source, batch_size=4, policy=as_it_is)


def as_it_is(image, _):
    return tf.ensure_shape(tf.image.convert_image_dtype(image, tf.float32), [8, 8, 3])


def model(num_examples, loss="sogclr", **options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    built = sogclr_tf.SogCLR(encoder, sogclr_tf.build_loss(loss, num_examples, **options))
    built.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    return built


def trained(source, folder, loss="sogclr", save=True, **options):
    """A model with random values in all that learns, after `STEP` steps on a source, and saved."""
    built = model(source.num_examples, loss, **options)
    checkpoints = Checkpoints(built, folder)
    examples_check.check(built, source)
    rng = np.random.default_rng(1)
    for variable in (*built.variables, *built.optimizer.variables):
        if variable is not built._examples and variable is not built._stream_position:
            variable.assign(rng.uniform(1, 9, variable.shape).astype(variable.dtype))
    built._trained_steps.assign(STEP)
    if save:
        checkpoints.save()
    return built
