"""What `--mode=export` writes, as a config says."""

import logging
from collections.abc import Sequence

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.files.decoding import FILE_CHANNELS
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.view_size import height_and_width
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.export import warmup
from sogclr_tf.export.files import export_keras, export_tflite
from sogclr_tf.export.saved_model import export_encoder
from sogclr_tf.export.signatures import WEIGHTS
from sogclr_tf.export.towers import export_towers
from sogclr_tf.models.two_tower import TwoTowerSogCLR

_LOG = logging.getLogger("sogclr_tf")


def check_export(config: ConfigDict) -> None:
    """Raises where an export cannot be what the config says, before anything is trained."""
    settings = config.export
    if settings.weights not in WEIGHTS:
        raise ValueError(
            f"unknown export.weights '{settings.weights}': choose one of {', '.join(WEIGHTS)}"
        )
    if settings.keep < 0:
        raise ValueError(f"export.keep is {settings.keep}: give a number from 1, or 0 to keep all")
    if any(batch < 1 for batch in settings.warmup):
        raise ValueError(f"export.warmup is {settings.warmup}: give batch sizes from 1")
    if settings.warmup:
        warmup.require()


def export_images(
    config: ConfigDict,
    folder: RunFolder,
    model: keras.Model,
    owner: str,
    *,
    version: int | None = None,
    probe_source: Source | None = None,
    source: Source | None = None,
) -> None:
    """Exports an encoder as SavedModel and `.keras` file, and for TFLite where that is wanted.

    Args:
        config: the run's.
        folder: `RunFolder`.
        model: a Keras encoder, or a model that holds one.
        owner: what its linear probe is remembered by.
        version: of the SavedModel, which is kept as it is where it exists; None for the next one.
        probe_source: the labeled images of the model's online probe, where it has one.
        source: the images of its training, where they are at hand.
    """
    settings = config.export
    if version is not None and (folder.saved_model / str(version)).exists():
        _LOG.info("%s holds version %d already: it is kept", folder.saved_model, version)
    else:
        export_encoder(
            model,
            folder.saved_model,
            version=version,
            pixel_format=source.pixel_format if source else _stated_format(config),
            image_size=_file_size(model, height_and_width(config.data.image_size)),
            **_head(folder, owner, model, probe_source),
            weights=settings.weights,
            warmup_batches=settings.warmup,
            keep=settings.keep or None,
        )
    export_keras(model, folder.keras_file)
    if settings.tflite:
        export_tflite(model, folder.tflite_file)


def export_towers_of(
    config: ConfigDict,
    folder: RunFolder,
    model: TwoTowerSogCLR,
    *,
    class_names: Sequence[str] | None,
    pixel_format: PixelFormat,
) -> None:
    """Exports both towers as SavedModels, the image tower as `.keras` file and for TFLite too.

    Args:
        config: the run's.
        folder: `RunFolder`.
        model: the trained model, whose step is the version; one that exists is kept as it is.
        class_names: by which images are classified; None for no classification.
        pixel_format: of the training images.
    """
    settings, step = config.export, model.trained_steps
    if (folder.saved_model / "text" / str(step)).exists():
        _LOG.info("%s holds version %d already: it is kept", folder.saved_model, step)
    else:
        export_towers(
            model,
            folder.saved_model,
            version=step,
            image_size=_file_size(model.image_encoder, height_and_width(config.data.image_size)),
            class_names=class_names,
            weights=settings.weights,
            pixel_format=pixel_format,
            warmup_batches=settings.warmup,
            keep=settings.keep or None,
        )
    tower = model.image_tower()
    export_keras(tower, folder.keras_file)
    if settings.tflite:
        export_tflite(tower, folder.tflite_file)


def _stated_format(config):
    return PixelFormat(config.data.channels, config.data.value_range)


def _file_size(model, size):
    """(height, width) that images of files get, where the encoder itself takes any."""
    *taken, channels = getattr(model, "encoder", model).input_shape[1:]
    if channels not in FILE_CHANNELS:
        return None
    return size if None in taken and tf.TensorShape(taken).is_compatible_with(size) else None


def _head(folder, owner, model, probe_source):
    """Arguments of `export_encoder`: the linear probe of the evaluation, or the online one."""
    kept = folder.probe_of(owner)
    if kept is not None:
        probe, class_names = kept
        return {"head": probe.layer(), "class_names": class_names}
    if getattr(model, "probe", None) is not None:
        return {"class_names": probe_source.class_names}
    return {}
