"""Images with a stable example index, wherever they come from."""

import os
import re

import tensorflow as tf

from sogclr_tf.sources.arrays import ArraySource
from sogclr_tf.sources.base import Source, as_rgb
from sogclr_tf.sources.datasets import DatasetSource
from sogclr_tf.sources.digits import digits
from sogclr_tf.sources.encoded import EncodedSource
from sogclr_tf.sources.folder import FolderSource
from sogclr_tf.sources.readable import clear_errors, readable
from sogclr_tf.sources.tfds import TfdsSource
from sogclr_tf.sources.tfrecords import TFRecordSource

__all__ = [
    "ArraySource",
    "DatasetSource",
    "EncodedSource",
    "FolderSource",
    "Source",
    "TFRecordSource",
    "TfdsSource",
    "as_rgb",
    "as_source",
    "clear_errors",
    "digits",
    "from_name",
    "from_path",
    "is_path",
    "readable",
]


def from_name(name, split="train", data_dir=None, features=None):
    """The source of a config.

    Args:
        name: "digits", a TFDS name, or a path: of a folder whose sub-folders are the splits
            ("./pets" with "./pets/train"), or with "{split}" where the split stands in it, of a
            folder or of TFRecord files ("gs://bucket/{split}-*.tfrecord").
        split: for TFDS any split expression; for a path the name of the split, "." for the folder
            itself.
        data_dir: where TFDS keeps its data.
        features: names of the features of TFRecord files, {"image", "label", "index"}, as
            `TFRecordSource` takes them.

    Raises:
        ValueError: the split of a path cannot be told.
        FileNotFoundError: there are no such files.
    """
    if not is_path(name):
        return digits(split) if name == "digits" else TfdsSource(name, split, data_dir)
    if data_dir is not None:
        raise ValueError(f"data_dir '{data_dir}' is for names of TFDS sets, not for '{name}'")
    return from_path(_with_split(os.fspath(name), split), features)


def from_path(path, features=None):
    """The source of a folder of images, or of the TFRecord files that a pattern matches.

    Args:
        path: str or pathlib.Path, local or gs://...
        features: names of the features of TFRecord files, {"image", "label", "index"}.
    """
    path = os.path.expanduser(os.fspath(path))
    if tf.io.gfile.isdir(path):
        return FolderSource(path)
    return TFRecordSource(path, **(features or {}))


def is_path(name):
    """Whether a name is a path: it begins with /, ./, ../ or ~, has ://, or is a pathlib.Path."""
    if isinstance(name, os.PathLike):
        return True
    return "://" in name or os.path.isabs(name) or re.match(r"~|\.\.?(/|$)", name) is not None


def as_source(images, labels=None):
    """A source of whatever holds images: a `Source`, an array or a tf.data.Dataset."""
    if not isinstance(images, (Source, tf.data.Dataset)):
        return ArraySource(images, labels)
    if labels is not None:
        raise ValueError("labels belong inside the source or data set: zip (image, label) pairs")
    return images if isinstance(images, Source) else DatasetSource(images)


def _with_split(path, split):
    """The path of a split."""
    if "{split}" in path:
        return path.replace("{split}", split)
    folder = os.path.expanduser(path)
    if not tf.io.gfile.isdir(folder):
        if tf.io.gfile.glob(folder):
            raise ValueError(
                f"'{path}' does not say which files are of which split: put {{split}} in the place "
                "of the split's name"
            )
        return path
    if split == ".":
        return path
    if not tf.io.gfile.isdir(os.path.join(folder, split)):
        inside = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))
        raise ValueError(
            f"folder '{path}' has no sub-folder '{split}', only {', '.join(inside[:9])}"
            f"{' ...' * (len(inside) > 9)}: name one as the split, or . for the folder itself"
        )
    return os.path.join(path, split)
