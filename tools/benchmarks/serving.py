"""What an exported encoder costs per request, beside the Keras model called directly."""

import pathlib
import tempfile

import numpy as np
import sklearn.datasets
import tensorflow as tf
from benchmarks import report
from benchmarks.measure import interleaved

import sogclr_tf
from sogclr_tf.data import augment
from sogclr_tf.data.files import decoding
from sogclr_tf.networks import encoders


def add_arguments(parser):
    parser.description = (
        "Latency and throughput of the signatures of a SavedModel, loaded again, at several batch "
        "sizes; beside serving_default the Keras model itself as a tf.function, and beside "
        "serving_bytes the decoding and resizing of its files (JPEG of 427x640) alone."
    )
    parser.add_argument("--encoder", default="resnet50", help="as config.encoder.name")
    parser.add_argument("--size", type=int, default=224, help="of an image that is served")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="of every turn, at least")


def run(options):
    encoder = encoders.build_encoder(options.encoder, (options.size, options.size, 3))
    with tempfile.TemporaryDirectory() as folder:
        served = tf.saved_model.load(str(sogclr_tf.export_encoder(encoder, folder)))
    found, rows = [], []
    for batch in options.batch:
        made = calls(encoder, served, batch, options.size)
        timings = interleaved(made, options.rounds, options.seconds)
        for name, timing in timings.items():
            found.append({"call": name, "batch": batch, **timing._asdict()})
            rows.append(row(name, batch, timing, timings["Keras model"]))
    columns = [f"{options.encoder}, {options.size}x{options.size}", "B", "ms", "quartiles"]
    return found, report.table([*columns, "images/s", "to the Keras model"], rows)


def row(name, batch, timing, direct):
    """The cells of a call: milliseconds per request, images per second, the ratio to Keras's."""
    speed = f"{batch / timing.median:,.1f}"
    return [name, batch, *report.milliseconds(timing), speed, report.ratio(timing.over(direct))]


def calls(encoder, served, batch, size):
    """{name: a function that answers one request}."""
    images = tf.constant(np.random.default_rng(0).random((batch, size, size, 3)), tf.float32)
    files = tf.repeat(photograph(), batch)
    keras_model = tf.function(lambda images: encoder(images, training=False))
    decoded = tf.function(
        lambda files: tf.map_fn(image_of(size), files, fn_output_signature=tf.float32)
    )
    return {
        "Keras model": lambda: keras_model(images).numpy(),
        "serving_default": lambda: served.signatures["serving_default"](images=images)[
            "features"
        ].numpy(),
        "serving_bytes": lambda: served.signatures["serving_bytes"](image_bytes=files)[
            "features"
        ].numpy(),
        "decoding alone": lambda: decoded(files).numpy(),
    }


def image_of(size):
    return lambda file: augment.whole(decoding.decode(file), size)


def photograph():
    """scikit-learn's photograph of a temple, 427x640 pixels, as the bytes of its JPEG file."""
    folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    return tf.constant((folder / "china.jpg").read_bytes())
