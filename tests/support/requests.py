"""Images and files that an export is asked about, good ones and bad ones."""

import pathlib
import struct
import zlib

import numpy as np
import sklearn.datasets
import tensorflow as tf

from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.open import from_path

SIDE = 16
RANDOM = np.random.default_rng(0)


def batch(size=8):
    return RANDOM.random((size, SIDE, SIDE, 3)).astype(np.float32)


def files():
    """Real photographs as JPEG and PNG: [(path of scikit-learn's file), ...] as bytes."""
    folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
    photographs = [(folder / name).read_bytes() for name in ("china.jpg", "flower.jpg")]
    return [*photographs, tf.io.encode_png(tf.io.decode_jpeg(photographs[1])).numpy()]


def evaluation_images(encoded, folder, size=SIDE, channels=3):
    """The same images as an evaluation sees them."""
    for number, content in enumerate(encoded):
        ending = "jpg" if content.startswith(b"\xff\xd8") else "png"
        (folder / f"{number}.{ending}").write_bytes(content)
    images, _ = evaluation_set(from_path(folder, channels=channels), size)
    return np.stack(list(images.as_numpy_iterator()))


def bomb(side=50_000):
    """A PNG of a few hundred bytes whose header claims `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


BAD_FILES = {
    "not an image": (lambda: [b"hello"], "no image: not one of JPEG, PNG, WebP, BMP, GIF"),
    "an empty file": (lambda: [b""], "no image"),
    "an empty batch": (lambda: [], "the batch is empty: send at least one image"),
    "a truncated JPEG": (lambda: [files()[0][:5000]], "(?i)jpeg"),
    "a truncated PNG": (lambda: [files()[2][:5000]], "(?i)png"),
    "an image bomb": (lambda: [bomb()], "image too large: .*50000 50000.* more than max_pixels"),
    "a bad one among good ones": (lambda: [files()[0], b"hello"], "no image"),
}
BAD_IMAGES = {
    "another size": (lambda: np.zeros([2, 9, 9, 3]), r"\[2,9,9,3\].* expected shape"),
    "grayscale": (lambda: np.zeros([2, SIDE, SIDE, 1]), r"expected shape"),
    "no batch": (lambda: np.zeros([SIDE, SIDE, 3]), r"expected shape|rank"),
    "an empty batch": (lambda: np.zeros([0, SIDE, SIDE, 3]), "send at least one image"),
}
