"""How large an encoder is in every form that it is exported in, and how well its neighbors vote.

    python tools/compare_exports.py runs/cifar10_small/encoder.keras --data=cifar10 --data_dir=DIR

Each form is written, read back as whoever serves it would, and evaluated on the whole test set by
the nearest training images (kNN). Prints a table, top-1 in percent; --json keeps the figures, 0..1.
"""

import argparse
import json
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

import sogclr_tf
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.export.signatures import WEIGHTS


class Lite:
    """A TFLite file, called as an encoder is."""

    def __init__(self, path):
        interpreter = tf.lite.Interpreter(str(path), num_threads=os.cpu_count())
        self._run = interpreter.get_signature_runner("serving_default")

    def __call__(self, images, training=False):  # noqa: ARG002
        features = tf.numpy_function(
            lambda batch: self._run(images=batch)["features"], [images], tf.float32
        )
        width = self._run.get_output_details()["features"]["shape"][-1]
        return tf.ensure_shape(features, (None, width))


def forms(encoder, folder):
    """Yields (name, bytes on disk, the encoder read back) of every form."""
    for weights in WEIGHTS:
        path = sogclr_tf.export_encoder(encoder, folder / weights, weights=weights)
        yield f"SavedModel, {weights}", size(path), sogclr_tf.load_encoder(path)
    path = sogclr_tf.export_keras(encoder, folder / "encoder.keras")
    yield ".keras", size(path), sogclr_tf.load_encoder(path)
    for name, quantize in (("TFLite, float32", False), ("TFLite, 8-bit kernels", True)):
        path = sogclr_tf.export_tflite(encoder, folder / f"{name}.tflite", quantize=quantize)
        yield name, size(path), Lite(path)


def size(path):
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def compare(encoder, train, test, k):
    """[{form, bytes, knn, difference}]; the difference is to the original, of its largest."""
    size, found, original = encoder.input_shape[1:3], [], None
    sets = [sogclr_tf.evaluation_set(source, size) for source in (train, test)]
    with tempfile.TemporaryDirectory() as folder:
        made = [("the Keras model", None, encoder)]
        for name, stored, read in [*made, *forms(encoder, pathlib.Path(folder))]:
            scores = sogclr_tf.evaluate_encoder(read, *sets[0], *sets[1], k=k, linear_probe=False)
            features = scores.test_features
            original = features if original is None else original
            difference = np.abs(features - original).max() / np.abs(original).max()
            accuracy = scores.knn_top1[k]
            found.append({"form": name, "bytes": stored, "knn": accuracy, "off": float(difference)})
            print(line(found[-1]), flush=True)
    return found


def line(row):
    """A row of the table, as Markdown."""
    stored = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.2f}"
    return f"| {row['form']} | {stored} | {100 * row['knn']:.2f} | {row['off']:.1e} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("encoder", help="what sogclr_tf.load_encoder reads: a .keras file")
    parser.add_argument("--data", default="digits", help="a name or a path, as of data.name")
    parser.add_argument("--data_dir", help="where TFDS keeps it")
    parser.add_argument("--k", type=int, default=200, help="neighbors that vote")
    parser.add_argument("--json", help="a file to write the figures to")
    options = parser.parse_args()
    encoder = sogclr_tf.load_encoder(options.encoder)
    train, test = (from_name(options.data, split, options.data_dir) for split in ("train", "test"))
    print(f"| form | MB | kNN of {options.k}, top-1 | largest change of a feature |")
    print("|---|---|---|---|")
    found = compare(encoder, train, test, options.k)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
