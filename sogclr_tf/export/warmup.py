"""Requests that TF Serving sends a model itself, before it answers anyone else."""

import pathlib
from collections.abc import Mapping, Sequence

import tensorflow as tf

from sogclr_tf.data.pixel_format import PixelFormat, full_range

# Where TF Serving looks inside a version's folder.
FILE = "assets.extra/tf_serving_warmup_requests"
# For endpoints whose images may have any size.
_SIDE = 224


def write_requests(
    signatures: Mapping[str, tf.types.experimental.PolymorphicFunction],
    batches: Sequence[int],
    folder: pathlib.Path,
    pixel_format: PixelFormat,
) -> None:
    """Writes one request for each signature and batch size into a SavedModel's folder.

    The first request to a signature is slow, as its graph is optimized then, and the first of a
    batch size too: with these a server does both before it calls the version available.

    Args:
        signatures: {name: tf.function with an input signature of one tensor}.
        batches: sizes, ints >= 1.
        folder: pathlib.Path of the version.
        pixel_format: of the images of files.

    Raises:
        ModuleNotFoundError: the package tensorflow-serving-api is not installed.
    """
    prediction_log = _protocol()
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            (spec,) = function.input_signature
            for batch in batches:
                log = prediction_log.PredictionLog()
                request = log.predict_log.request
                request.model_spec.signature_name = name
                request.inputs[spec.name].CopyFrom(
                    tf.make_tensor_proto(_values(spec, batch, pixel_format))
                )
                writer.write(log.SerializeToString())


def require() -> None:
    """Raises ModuleNotFoundError, in a line, where tensorflow-serving-api is not installed."""
    _protocol()


def _protocol():
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "warm-up requests need the package tensorflow-serving-api, which is not installed: "
            "pip install --no-deps tensorflow-serving-api, or leave warmup empty"
        ) from error
    return prediction_log_pb2


def _values(spec, batch, pixel_format):
    """`batch` gray images, as pixels or as PNG files; or texts of a word, or their tokens."""
    if spec.name == "texts":
        return tf.fill([batch], "gray")
    if spec.name == "tokens":
        return tf.ones([batch, *spec.shape[1:]], spec.dtype)
    if spec.dtype == tf.string:
        dtype = tf.uint16 if pixel_format.deep else tf.uint8
        low, high = pixel_format.value_range or full_range(dtype)
        gray = tf.cast(round(max((low + high) / 2, 0)), dtype)
        file = tf.io.encode_png(tf.fill([_SIDE, _SIDE, pixel_format.channels], gray))
        return tf.repeat(file, batch)
    return tf.fill([batch, *(side or _SIDE for side in spec.shape[1:])], 0.5)
