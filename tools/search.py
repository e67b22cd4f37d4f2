"""Finds the images that a text describes, among those of a folder, by an exported pair of towers.

    python tools/search.py FOLDER "a red heart" ["two dogs" ...] --towers=runs/NAME/saved_model

FOLDER is whatever holds images: a folder, a table, a pattern of TFRecord or tar files; or, with
--split and --data_dir, the name of a TFDS set. The first search embeds all images by the image
tower, with a bar of progress, and keeps the matrix beside FOLDER, as FOLDER.embeddings.npz
(--index=FILE for another place). A later one reads it, and embeds anew where the images' names or
the towers are others; --again does so where only the pixels changed. A query is embedded by the
text tower and compared with every image by the cosine. The answer is search.html (--page=FILE): for
each query the nearest images with their cosine and place.
"""

import argparse
import os
import pathlib
import sys
import time
import zipfile
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.atomic_write import replacing
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.open import from_name, from_path, is_path
from sogclr_tf.data.sources.readable import readable
from sogclr_tf.error_line import first_line
from sogclr_tf.report import embedded_images
from sogclr_tf.report.page import Section, escape, page, write_page

BATCH = 256
# Of images of towers that take any size.
SIDE = 224
STYLE = """
.found { display: grid; gap: 14px; margin-top: 10px;
  grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); }
.found img { width: 128px; height: 128px; object-fit: contain; background: #f5f6f8;
  border-radius: 6px; }
.found img.crisp { image-rendering: pixelated; }
.found figcaption { display: block; font-weight: 400; font-size: 12px; overflow-wrap: anywhere; }
"""


class Embedded(NamedTuple):
    """The embeddings of a source's images.

    Attributes:
        matrix: float32 [N, D], a row for each image, of length 1.
        indices: int64 [N], the images' indices in the source.
    """

    matrix: np.ndarray
    indices: np.ndarray


def main():
    options = arguments().parse_args()
    try:
        search(options)
    except (ValueError, OSError, tf.errors.OpError) as error:
        sys.exit(f"search.py: {first_line(error)}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", help="what holds the images, or the name of a TFDS set")
    parser.add_argument("queries", nargs="+", metavar="query")
    parser.add_argument("--towers", type=pathlib.Path, required=True, help="with image/, text/")
    parser.add_argument("--split", help="of a TFDS set, or of a path with {split} in it")
    parser.add_argument("--data_dir", help="where TFDS keeps its data")
    parser.add_argument("--top", type=int, default=24, help="images to show, 24 by default")
    parser.add_argument("--index", type=pathlib.Path, help="where the embeddings are kept")
    parser.add_argument("--page", type=pathlib.Path, default=pathlib.Path("search.html"))
    parser.add_argument("--again", action="store_true", help="embed all images anew")
    return parser


def search(options):
    if options.top < 1:
        raise ValueError(f"--top is {options.top}: give at least 1")
    towers = [newest_version(options.towers / side) for side in ("image", "text")]
    source = readable(opened(options))
    kept = index_file(options)
    key = f"{source.example_names().fingerprint} {towers[0].resolve()} {made(towers[0])}"
    embedded = None if options.again else read(kept, key)
    if embedded is None:
        print(f"embedding {source.size} images of {source.name}", flush=True)
        embedded = embed(source, towers[0])
        write(kept, key, embedded)
        print(f"wrote {kept}: a later search reads it")
    text = tf.saved_model.load(str(towers[1])).signatures["serving_default"]
    sections = [answer(source, embedded, query, text, options.top) for query in options.queries]
    title = f"{len(embedded.matrix):,} images of {source.name}"
    print(write_page(options.page, page("Search", title, sections, STYLE)))


def opened(options):
    """The source of the images."""
    if options.split is not None or not is_path(options.folder):
        return from_name(options.folder, options.split or "train", options.data_dir)
    return from_path(options.folder)


def index_file(options):
    """Where the embeddings are kept."""
    if options.index is not None:
        return options.index
    if not is_path(options.folder) or "://" in options.folder:
        raise ValueError(f"'{options.folder}' is no local folder: say where the index is, --index")
    path = pathlib.Path(options.folder).expanduser()
    return path.with_name(f"{path.name.replace('*', '_')}.embeddings.npz")


def newest_version(folder):
    """The folder of the newest version of a tower."""
    versions = [file.parent for file in folder.glob("*/saved_model.pb")]
    numbered = [version for version in versions if version.name.isdecimal()]
    if not numbered:
        raise FileNotFoundError(
            f"{folder} holds no exported tower: give as --towers the folder that "
            "sogclr_tf.export_towers or --mode=export wrote"
        )
    return max(numbered, key=lambda version: int(version.name))


def made(version):
    """When a tower was exported, in nanoseconds."""
    return (version / "saved_model.pb").stat().st_mtime_ns


def embed(source, version):
    """`Embedded` of all images, by the exported image tower."""
    loaded = tf.saved_model.load(str(version))
    tower = loaded.signatures["serving_default"]
    _, *size, _ = tower.structured_input_signature[1]["images"].shape
    images, _ = evaluation_set(source, tuple(side or SIDE for side in size))
    progress, parts = keras.utils.Progbar(source.size, unit_name="image"), []
    for batch in images.batch(BATCH).prefetch(tf.data.AUTOTUNE):
        parts.append(tower(images=batch)["embeddings"].numpy())
        progress.add(len(batch))
    indices = [example["index"] for example in source.examples().as_numpy_iterator()]
    return Embedded(np.concatenate(parts), np.array(indices, np.int64))


def read(path, key):
    """What was kept under this key, or None where nothing is, or of other images or towers."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            if str(file["key"]) != key:
                print(f"{path} is of other images or towers: it is made anew")
                return None
            return Embedded(file["matrix"], file["indices"])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        print(f"{path} cannot be read: it is made anew")
        return None


def write(path, key, embedded):
    """Keeps embeddings, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, key=np.array(key), **embedded._asdict())


def answer(source, embedded, query, text, top):
    """The section of the page for a query; prints how long it took."""
    begun = time.perf_counter()
    (direction,) = text(texts=tf.constant([query]))["embeddings"].numpy()
    encoded = time.perf_counter()
    rows, cosines = nearest(embedded.matrix, direction, top)
    ended = time.perf_counter()
    print(
        f"'{query}': embedded in {1e3 * (encoded - begun):.1f} ms, compared with "
        f"{len(embedded.matrix):,} images in {1e3 * (ended - encoded):.1f} ms"
    )
    return Section(query, found(source, embedded.indices[rows], cosines))


def nearest(matrix, direction, top):
    """The rows that are nearest to a direction: (int64 [top], their cosines float32), in order.

    Args:
        matrix: float32 [N, D], of rows of length 1.
        direction: float32 [D], of length 1.
        top: how many; all where there are fewer.
    """
    cosines = matrix @ direction
    top = min(top, len(cosines))
    rows = np.argpartition(-cosines, top - 1)[:top]
    rows = rows[np.argsort(-cosines[rows], kind="stable")]
    return rows, cosines[rows]


def found(source, indices, cosines):
    """HTML of the images of these indices, in order, with their cosines and places."""
    only = FilteredSource(source, only=indices)
    shown = {
        int(example["index"]): embedded_images.image(source.pixels(example).numpy())
        for example in only.examples()
    }
    figures = "".join(
        f"<figure>{shown[index]}<figcaption>{cosine:.3f} {escape(source.locate(index))}"
        "</figcaption></figure>"
        for index, cosine in zip(indices.tolist(), cosines, strict=True)
    )
    return f'<div class="found">{figures}</div>'


if __name__ == "__main__":
    main()
