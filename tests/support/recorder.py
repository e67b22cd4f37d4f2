"""A model that notes what it is trained on, and what it is to be trained on."""

import atexit
import functools
import pathlib
import shutil
import tempfile

import keras
import numpy as np
import tensorflow as tf

import sogclr_tf
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.input_checks import VIEWS

N = 26
# More than any test trains for.
EPOCHS = 40
IMAGES = np.zeros((N, 1, 1, 3), np.uint8)


class Recorder(ContrastiveModel):
    """Learns nothing.

    Attributes:
        seen: of each step, of each example (index, view a, view b).
    """

    batch_spec = VIEWS

    def __init__(self, num_examples=N):
        super().__init__(sogclr_tf.GlobalContrastiveLoss(num_examples))
        self.dense = keras.layers.Dense(1)
        self.dense.build((None, 1))
        self.track_features(1)
        self.built = True
        self.seen = []
        self.compile("sgd", run_eagerly=True)

    def build_from(self, elements):
        pass

    def train_step(self, data):
        batch = data[0] if isinstance(data, tuple) else data
        self.seen.append(_examples(batch))
        self._trained_steps.assign_add(1)
        return {"loss": 0.0}


@functools.cache
def stream(batch_size, images=None, seed=3):
    """Views that show nothing but the seed from which they are drawn."""
    images = IMAGES if images is None else images
    return sogclr_tf.training_views(images, batch_size=batch_size, policy=_seed_as_view, seed=seed)


@functools.cache
def _folder():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="images"))
    atexit.register(shutil.rmtree, folder)
    for number, image in enumerate(IMAGES):
        keras.utils.save_img(folder / f"{number:02}.png", image, scale=False)
    return folder


def folder_stream(batch_size):
    """Likewise of a folder of image files."""
    return stream(batch_size, _folder())


def expected(views, steps):
    """What a `Recorder` sees in these steps of training."""
    every = _first_epochs(views)
    return [every[step] for step in steps]


def crash_at(step):
    """A callback that raises EOFError in this step, before anything later can save it."""

    def crash(batch, logs):  # noqa: ARG001
        if callback.model.trained_steps == step:
            raise EOFError

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=crash)
    return callback


def _seed_as_view(image, seed):
    del image
    low = tf.bitwise.bitwise_and(seed, 255)[tf.newaxis, tf.newaxis]
    return tf.cast(tf.concat([low, low[..., :1]], -1), tf.uint8)


@functools.cache
def _first_epochs(views):
    return [_examples(batch) for batch in views.stream().take(EPOCHS * views.steps_per_epoch)]


def _examples(batch):
    sides = (batch["view_a"], batch["view_b"])
    seeds = [[tuple(view) for view in side.numpy()[:, 0, 0, :2].tolist()] for side in sides]
    return list(zip(batch["index"].numpy().tolist(), *seeds, strict=True))
