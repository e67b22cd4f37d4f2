"""An encoder that is named by a path: whether it fits a config, and a start from its weights."""

import json
import os
import pathlib
import zlib
from collections.abc import Callable

import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.view_size import height_and_width
from sogclr_tf.error_line import first_line
from sogclr_tf.experiment import build
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.export.load import is_checkpoint, load_encoder
from sogclr_tf.export.start import Start, fitting
from sogclr_tf.training.strategy import from_all_workers, part_from_workers

_ADVICE = (
    "give the --config.encoder.name and the options that it was made with, such as "
    "--config.encoder.padding, --config.encoder.shortcuts, --config.encoder.stride_in and "
    "--config.encoder.input_normalization"
)
# In place of the checksum of weights, which is not below 0.
_RESUMED, _FAILED = -1, -2


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


def read_start(
    config: ConfigDict, folder: RunFolder, strategy: tf.distribute.Strategy
) -> Start | None:
    """What the encoder of images starts from; None where random weights, or a checkpoint, are it.

    It is tried on an encoder of its own, before the folder is the run's. Of several workers all
    must call it.

    Raises:
        ValueError: there is no encoder, it does not fit, or several workers read different ones.
        OSError: it cannot be read.
    """
    path = config.encoder.get("weights")
    if not path:
        return None
    start, failure, checksum = None, None, _RESUMED
    if not any(folder.checkpoints.glob("step-*.index")):
        try:
            start = _start(config, path)
            checksum = _checksum(start)
        except (ValueError, OSError) as error:
            failure, checksum = error, _FAILED
    checksums = set(from_all_workers(strategy, checksum))
    if failure is None and len(checksums) == 1:
        return start
    part_from_workers(strategy)
    raise failure or ValueError(
        f"the workers do not start alike from {path}: all of them need the same file and the same "
        "folder of the run, on a disk that they share"
    )


def _start(config: ConfigDict, path: str) -> Start:
    advice, made_as = _ADVICE, None
    if is_checkpoint(path):
        stored = _config_beside(path)
        settings, channels = config.encoder.to_dict(), config.data.channels
        if stored is not None:
            advice = _advice(stored["encoder"], settings) or _ADVICE
            settings, channels = stored["encoder"], stored["data"].get("channels", channels)
        made_as = build.encoder_like(config, settings, channels)
    source = load_encoder(path, made_as)
    check_images(config, source, path, ", or the path of a run's folder, which fits any size")
    return fitting(build.encoder(config), source, path, advice)


def _config_beside(path):
    """The config of the run that a checkpoint belongs to; None where it lies in no run's folder."""
    path = pathlib.Path(path).expanduser()
    inside = path / "checkpoints"
    checkpoints = inside if inside.is_dir() else path if path.is_dir() else path.parent
    file = checkpoints.parent / "config.json"
    if checkpoints.name != "checkpoints" or not file.is_file():
        return None
    try:
        stored = json.loads(file.read_text())
        return stored if {"encoder", "data"} <= stored.keys() else None
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} cannot be read ({first_line(error)}): give the path of the run's encoder.keras"
        ) from error


def _advice(stored, own):
    """What to give for the encoder of a run; empty where the settings are the same."""
    # As JSON keeps them: lists, not tuples.
    own = json.loads(json.dumps(own))
    stored, own = (
        {name: value for name, value in settings.items() if value is not None}
        for settings in (stored, own)
    )
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


def _checksum(start):
    total = 0
    for value in start.values:
        total = zlib.crc32(value.tobytes(), total)
    return total
