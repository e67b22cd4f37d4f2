"""Encoders as single files: `.keras` and TFLite."""

import os
import pathlib
import tempfile

import keras
import tensorflow as tf

from sogclr_tf.atomic_write import replacing
from sogclr_tf.export.checks import checked_encoder, checked_image_shape
from sogclr_tf.export.signatures import ServedModel


def export_keras(model: keras.Model, path: str | os.PathLike) -> pathlib.Path:
    """Saves an encoder as a `.keras` file, whole or not at all; what was there is replaced.

    `ResNet`, `small_resnet` and `ViT` are made of Keras's own layers: `keras.models.load_model`
    reads the file without this package.

    Args:
        model: as for `export_encoder`.
        path: of the file, `*.keras`; its folder is made where missing.

    Returns:
        pathlib.Path of the file.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: the encoder is not built, or the file's name is another.

    Examples:
        >>> import keras
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> path = sogclr_tf.export_keras(encoder, "encoder.keras")
        >>> keras.models.load_model(path).output_shape
        (None, 8)
    """
    encoder, path = checked_encoder(model), pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path is {path}: expected a name that ends in .keras.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        encoder.save(temporary)
    return path


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    image_shape: tuple | None = None,
    quantize: bool = True,
) -> pathlib.Path:
    """Converts an encoder to a TFLite file, whole or not at all; what was there is replaced.

    The file's signature `serving_default` takes `images` and returns `features`, as that of
    `export_encoder`, for any batch.

    Args:
        model: as for `export_encoder`.
        path: of the file; its folder is made where missing.
        image_shape: as for `export_encoder`.
        quantize: whether kernels are kept in 8 bits (dynamic-range quantization), a quarter of the
            room; activations stay float32.

    Returns:
        pathlib.Path of the file.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: as for `export_encoder`.

    Examples:
        >>> import numpy as np
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> path = sogclr_tf.export_tflite(encoder, "encoder.tflite")
        >>> serve = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
        >>> serve(images=np.zeros([2, 16, 16, 3], np.float32))["features"].shape
        (2, 8)
    """
    encoder, path = checked_encoder(model), pathlib.Path(path)
    served_model = ServedModel(encoder, checked_image_shape(encoder, image_shape))
    with tempfile.TemporaryDirectory() as folder:
        signature = served_model.plain_signature()
        tf.saved_model.save(served_model.root, folder, {"serving_default": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        if quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converted = converter.convert()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(converted)
    return path
