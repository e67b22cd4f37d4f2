"""An encoder that is named by a path: whether it fits a config, and a start from its weights."""

import json
import os
import pathlib
import zlib
from collections.abc import Callable

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.view_size import height_and_width
from sogclr_tf.experiment import build
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.export.load import is_checkpoint, load_encoder
from sogclr_tf.export.start import Start, fitting
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.training.strategy import from_all_workers, part_from_workers

_ADVICE = (
    "give the options that it was made with, such as --config.encoder.padding, "
    "--config.encoder.stride_in and --config.encoder.input_normalization"
)


def check_images(
    config: ConfigDict, encoder: Callable, path: str | os.PathLike, otherwise: str = ""
) -> None:
    """Raises ValueError where an encoder was built for other images than the config's.

    Args:
        config: the run's.
        encoder: what `load_encoder` gave.
        path: where that was read, for messages.
        otherwise: what else can be done about another size, for messages.
    """
    *taken, channels = getattr(encoder, "input_shape", (None,) * 4)[1:]
    if channels not in (None, config.data.channels):
        raise ValueError(
            f"{path} takes images of {channels} channels, but data.channels is "
            f"{config.data.channels}: give --config.data.channels={channels}"
        )
    size = height_and_width(config.data.image_size)
    if not tf.TensorShape(taken).is_compatible_with(size):
        height, width = (side or own for side, own in zip(taken, size, strict=True))
        raise ValueError(
            f"{path} takes images of {height} x {width}, but data.image_size is "
            f"{config.data.image_size}: give --config.data.image_size={height},{width}{otherwise}"
        )


def may_start_elsewhere(folder: RunFolder) -> bool:
    """Whether a run has no checkpoint yet, so that `encoder.weights` may still be set otherwise."""
    return not any(folder.checkpoints.glob("step-*.index"))


def start(config: ConfigDict, model: ContrastiveModel) -> None:
    """Gives the encoder of images of a new model the weights that `config.encoder.weights` names.

    Of several workers all must call it.

    Raises:
        ValueError: there is no encoder, it does not fit, or several workers read different ones.
        OSError: it cannot be read.
    """
    path, strategy = config.encoder.weights, model.distribute_strategy
    found, failure, checksum = None, None, -1
    try:
        found = _found(config, getattr(model, "image_encoder", None) or model.encoder)
        checksum = _checksum(found)
    except (ValueError, OSError) as error:
        failure = error
    checksums = from_all_workers(strategy, checksum)
    if found is None or len(set(checksums)) > 1:
        part_from_workers(strategy)
        raise failure or ValueError(
            f"the workers do not read the same weights from {path}: all of them need the same file"
        )
    with strategy.scope():
        found.assign(path)


def _found(config: ConfigDict, encoder: keras.Model) -> Start:
    path, advice, made_as = config.encoder.weights, _ADVICE, None
    if is_checkpoint(path):
        stored = _config_beside(path)
        settings, channels = config.encoder.to_dict(), config.data.channels
        if stored is not None:
            advice = _advice(stored["encoder"], settings) or _ADVICE
            settings, channels = stored["encoder"], stored["data"].get("channels", channels)
        made_as = build.encoder_like(config, settings, channels)
    source = load_encoder(path, made_as)
    check_images(config, source, path, ", or the path of a run's folder, which fits any size")
    return fitting(encoder, source, path, advice)


def _config_beside(path):
    """The config of the run that a checkpoint belongs to, where it lies in the run's folder."""
    path = pathlib.Path(path).expanduser()
    for folder in (path, path.parent, path.parent.parent):
        file = folder / "config.json"
        if file.is_file():
            stored = json.loads(file.read_text())
            return stored if {"encoder", "data"} <= stored.keys() else None
    return None


def _advice(stored, own):
    """What to give for the encoder of a run; empty where the settings are the same."""
    # As JSON keeps them: lists, not tuples.
    own = json.loads(json.dumps(own))
    differing = [
        name
        for name in sorted((stored.keys() | own.keys()) - {"weights"})
        if stored.get(name) != own.get(name)
    ]
    there, here = (
        ", ".join(f"encoder.{name}={settings.get(name, 'its default')}" for name in differing)
        for settings in (stored, own)
    )
    return f"it was made with {there}, but this config has {here}" if differing else ""


def _checksum(found):
    total = 0
    for _, value in found.pairs:
        total = zlib.crc32(value.tobytes(), total)
    return total
