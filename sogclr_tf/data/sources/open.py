"""From a name, a path or whatever else holds images to the source of them."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sogclr_tf.data.sources.arrays import ArraySource, digits
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.folder import FolderSource
from sogclr_tf.data.sources.folder_entries import is_folder
from sogclr_tf.data.sources.tf_dataset import DatasetSource
from sogclr_tf.data.sources.tfds import TfdsSource
from sogclr_tf.data.sources.tfrecords import TFRecordSource, matching
from sogclr_tf.printable import printable

# Collections with a name of their own: name -> function of a split.
_NAMED: dict[str, Callable[[str], Source]] = {"digits": digits}


def register_source(name: str, open_split: Callable[[str], Source]) -> None:
    """Makes `name` a collection that `training_views`, configs and the command know.

        sogclr_tf.register_source("scans", lambda split: sogclr_tf.ArraySource(scans[split]))

    Args:
        name: without the marks of a path; it goes before a TFDS set of the same name.
        open_split: function of the name of a split, such as "train" or "test".

    Raises:
        ValueError: the name is taken, or looks like a path.
    """
    if name in _NAMED or is_path(name):
        raise ValueError(f"'{name}' cannot name a source: it is taken, or a path")
    _NAMED[name] = open_split


def from_name(
    name: str | os.PathLike,
    split: str = "train",
    data_dir: str | None = None,
    features: dict | None = None,
) -> Source:
    """The source of a config.

    Args:
        name: "digits" or another registered name, a TFDS name, or a path: of a folder whose
            sub-folders are the splits ("./pets" with "./pets/train"), or with "{split}" where the
            split stands in it, of a folder or of TFRecord files
            ("gs://bucket/{split}-*.tfrecord").
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
        if name in _NAMED:
            return _NAMED[name](split)
        return TfdsSource(name, split, data_dir)  # type: ignore[arg-type]
    if data_dir is not None:
        raise ValueError(f"data_dir '{data_dir}' is for names of TFDS sets, not for '{name}'")
    return from_path(_with_split(os.fspath(name), split), features)


def from_path(path: str | os.PathLike, features: dict | None = None) -> Source:
    """The source of a folder of images, or of the TFRecord files that a pattern matches.

    Args:
        path: str or pathlib.Path, local or gs://...
        features: names of the features of TFRecord files, {"image", "label", "index"}.
    """
    path = os.path.expanduser(os.fspath(path))
    if is_folder(path):
        return FolderSource(path)
    return TFRecordSource(path, **(features or {}))


def is_path(name: str | os.PathLike) -> bool:
    """Whether a name is a path: it begins with /, ./, ../ or ~, has ://, or is a pathlib.Path."""
    if isinstance(name, os.PathLike):
        return True
    return "://" in name or os.path.isabs(name) or re.match(r"~|\.\.?(/|$)", name) is not None


def as_source(images: Any, labels: Sequence | None = None) -> Source:
    """A source of whatever holds images: a `Source`, an array or a tf.data.Dataset."""
    if not isinstance(images, (Source, tf.data.Dataset)):
        return ArraySource(images, labels)
    if labels is not None:
        raise ValueError("labels belong inside the source or data set: zip (image, label) pairs")
    return images if isinstance(images, Source) else DatasetSource(images)


def _with_split(path: str, split: str) -> str:
    """The path of a split."""
    if "{split}" in path:
        return path.replace("{split}", split)
    folder = os.path.expanduser(path)
    if not is_folder(folder):
        if matching([folder]):
            raise ValueError(
                f"'{printable(path)}' does not say which files are of which split: put {{split}} "
                "in the place of the split's name"
            )
        return path
    if split == ".":
        return path
    if not is_folder(os.path.join(folder, split)):
        # What lies on a local disk may have a name that TensorFlow cannot give as text.
        names = tf.io.gfile.listdir(folder) if "://" in folder else os.listdir(folder)
        inside = sorted(printable(name.rstrip("/")) for name in names)
        raise ValueError(
            f"folder '{printable(path)}' has no sub-folder '{printable(split)}', only "
            f"{', '.join(inside[:9])}"
            f"{' ...' * (len(inside) > 9)}: name one as the split, or . for the folder itself"
        )
    return os.path.join(path, split)
