"""The model of a config with its batches, made without the data."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

import sogclr_tf
from sogclr_tf.evaluation.features import CompiledEncoder
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import has_texts
from sogclr_tf.models.contrastive import ContrastiveModel

# (training examples, classes) of the data sets that recipes name, as TFDS has them.
SIZES = {
    "cifar10": (50_000, 10),
    "cifar100": (50_000, 100),
    "imagenet2012": (1_281_167, 1000),
    "digits": (1_198, 10),
    "emoji": (1_713, 9),
}
# The pixels of a stand-in for the data: a stream says what its batches are without them.
_SIDE = 8


def size_of(
    config: ConfigDict, examples: float | None = None, classes: int | None = None
) -> tuple[int, int]:
    """(training examples, classes) of a config's data, where they are not given.

    Raises:
        ValueError: they are not given, and the data set is not one of `SIZES`.
    """
    known = SIZES.get(config.data.name, (None, 0))
    examples = known[0] if examples is None else int(examples)
    if examples is None:
        raise ValueError(
            f"the number of examples of '{config.data.name}' is not known here: say --examples=N "
            "and, for the online probe, --classes=N"
        )
    return examples, known[1] if classes is None else classes


def model_of(config: ConfigDict, examples: int, classes: int) -> ContrastiveModel:
    """The compiled model of the command, for so many examples."""
    build.set_precision(config.precision)
    strategy = tf.distribute.get_strategy()
    stream = types.SimpleNamespace(
        num_examples=examples, steps_per_epoch=max(1, examples // config.batch_size)
    )
    with tf.device("CPU:0"):
        if has_texts(config):
            words = [f"word{number}" for number in range(config.text_encoder.max_tokens - 2)]
            model = build.image_text_model(config, stream, ["", "[UNK]", *words])
        else:
            probed = classes if config.monitor.probe_rate else None
            model = build.image_model(config, stream, probed)
        build.compile_model(config, model, stream, strategy)
        model.optimizer.build(model.trainable_variables)
    return model


def step_of(
    config: ConfigDict, model: ContrastiveModel, kind: str, cores: int
) -> tuple[Callable, dict[str, tf.TensorSpec]]:
    """(function of a batch, one core's share of a batch) of a step: "train", "test" or "features".

    "train" and "test" are the steps of `fit` and `evaluate`; "features" is what an evaluation makes
    of images.

    Raises:
        ValueError: the batch does not divide into the cores.
    """
    if config.batch_size % cores:
        raise ValueError(f"a batch of {config.batch_size} does not divide into {cores} cores")
    share = {
        name: tf.TensorSpec([config.batch_size // cores, *spec.shape[1:]], spec.dtype)
        for name, spec in _batch(config, model).items()
    }
    if kind == "train":
        return model.train_step, share
    if kind == "test":
        return model.test_step, share
    name = "image" if has_texts(config) else "view_a"
    forward = CompiledEncoder(model.image_encoder if has_texts(config) else model.encoder)
    images = tf.TensorSpec(share[name].shape, tf.float32)
    return lambda batch: forward(batch["image"]), {"image": images}


def _batch(config, model):
    """The specs of a batch, as the command's stream gives them on a TPU."""
    size = config.batch_size
    images = np.zeros((size, _SIDE, _SIDE, 3), np.uint8)
    policy, policy_b = build.policies(config)
    finish = "host" if config.data.finish == "host" else "device"
    if has_texts(config):
        stream = sogclr_tf.training_pairs(
            images, ["word"] * size, batch_size=size, policy=policy, finish=finish
        )
    else:
        source = sogclr_tf.ArraySource(images, np.zeros(size, np.int64))
        stream = sogclr_tf.training_views(
            source, batch_size=size, policy=policy, policy_b=policy_b, finish=finish
        )
    return model.prepare_dataset(stream.stream(0)).element_spec


def variables_of(model: ContrastiveModel) -> dict[str, Any]:
    """{path: tf.Variable} of all that a step may read: weights, slots, counters and metrics.

    And where the random numbers of layers stand.
    """
    owners = [model.optimizer.variables, model.variables, model.metrics_variables]
    probe = getattr(model, "probe", None)
    if probe is not None:
        owners.append(probe.optimizer.variables)
    return {variable.path: variable.value for owner in owners for variable in owner}
