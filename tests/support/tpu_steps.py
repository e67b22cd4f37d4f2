"""Steps of the ImageNet recipe, made smaller, and a stand-in for a TPU's cores."""

import types

import numpy as np
import tensorflow as tf

import sogclr_tf
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import config_of_file, recipe_path

CORES = 8
SMALL = {"name": "small_resnet", "widths": (12,), "stem_stride": 2}


def imagenet(image_size=8, batch_size=16, encoder=SMALL, loss="sogclr", optimizer="lars"):
    """The config of the ImageNet recipe, made smaller."""
    config = config_of_file(recipe_path("imagenet.py"))
    config.data.image_size = image_size
    config.batch_size = batch_size
    config.encoder = type(config)(encoder or config.encoder)
    config.loss.name = loss
    config.optimizer.name = optimizer
    if optimizer == "adam":  # which has no decay
        config.optimizer.weight_decay = 0.0
    return config


def model(config, under, num_examples=48):
    """The model of a config, made of what the command makes it of, under a strategy."""
    views = types.SimpleNamespace(
        num_examples=num_examples, steps_per_epoch=num_examples // config.batch_size
    )
    with under.scope():
        encoder = build.encoder(config)
        projector = sogclr_tf.projection_head(encoder.output_shape[-1], **config.projector)
        probe = sogclr_tf.OnlineProbe(10)
        loss = build.loss(config, views)
        built = sogclr_tf.SogCLR(encoder, loss, projector, probe, chunks=config.chunks)
        build.compile_model(config, built, views, under)
        built.optimizer.build(built.trainable_variables)
    return built


def specs(config, replicas=1):
    """What one replica gets of a stream's batch."""
    size, rows = config.data.image_size, config.batch_size // replicas
    view = tf.TensorSpec([rows, size, size, 3])
    numbers = {name: tf.TensorSpec([rows], tf.int64) for name in ("index", "label")}
    return {"view_a": view, "view_b": view, **numbers}


class StandIn:
    """A resolver of cores that do not exist: enough for TPUStrategy to trace, not to run."""

    def __init__(self, cores):
        self.cores = cores

    def get_tpu_system_metadata(self):
        place = "/job:localhost/replica:0/task:0/device:TPU:"
        devices = [types.SimpleNamespace(name=f"{place}{core}") for core in range(self.cores)]
        return tf.tpu.experimental.TPUSystemMetadata(self.cores, 1, self.cores, None, devices)


def views(config):
    size = config.data.image_size
    images = np.random.default_rng(0).integers(0, 256, (48, size, size, 3), np.uint8)
    policy = sogclr_tf.Policy(size=size, **config.augment)
    labeled = tf.data.Dataset.from_tensor_slices((images, np.arange(48) % 10))
    return sogclr_tf.training_views(labeled, batch_size=config.batch_size, policy=policy)
