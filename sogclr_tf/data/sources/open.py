"""From a name, a path or whatever else holds images to the source of them."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.sources.arrays import ArraySource, digits
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.folder import FolderSource
from sogclr_tf.data.sources.folder_entries import is_folder
from sogclr_tf.data.sources.manifest import ManifestSource
from sogclr_tf.data.sources.manifest_table import is_manifest, is_table, lists_paths
from sogclr_tf.data.sources.shard_pattern import is_shards, matching
from sogclr_tf.data.sources.tar import TarSource
from sogclr_tf.data.sources.tf_dataset import DatasetSource
from sogclr_tf.data.sources.tfds import TfdsSource
from sogclr_tf.data.sources.tfrecords import TFRecordSource
from sogclr_tf.data.stated_pixels import ValueRange, checked_range
from sogclr_tf.printable import printable

# Collections with a name of their own: name -> function of a split.
_NAMED: dict[str, Callable[[str], Source]] = {"digits": digits}
# The columns of tables that stand for what configs call the features of records.
_COLUMNS = {"image/encoded": "path", "image/class/label": "label"}
# And the members of tar shards that do; their images are told by the suffixes of image files.
_MEMBERS = {"image/encoded": None, "image/class/label": "cls"}


def register_source(name: str, open_split: Callable[[str], Source]) -> None:
    """Makes `name` a collection that `training_views`, configs and the command know.

    Args:
        name: without the marks of a path; it goes before a TFDS set of the same name.
        open_split: function of the name of a split, such as "train" or "test".

    Raises:
        ValueError: the name is taken, or looks like a path.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> scans = {split: np.zeros([80, 16, 16, 3], np.uint8) for split in ("train", "test")}
        >>> sogclr_tf.register_source("scans", lambda split: sogclr_tf.ArraySource(scans[split]))
        >>> sogclr_tf.training_views("scans", batch_size=16).num_examples
        80
    """
    if name in _NAMED or is_path(name):
        raise ValueError(f"'{name}' cannot name a source: it is taken, or a path")
    _NAMED[name] = open_split


def from_name(
    name: str | os.PathLike,
    split: str = "train",
    data_dir: str | None = None,
    features: dict | None = None,
    text: str | None = None,
    channels: int | None = None,
    value_range: ValueRange | None = None,
) -> Source:
    """The source of a config.

    Args:
        name: "digits" or another registered name, a TFDS name, or a path: of a folder whose
            sub-folders are the splits ("./pets" with "./pets/train"), of a table of images with a
            column of splits ("./labels.csv"), or with "{split}" where the split stands in it, of a
            folder, a table, tar shards ("./{split}/{00000..00331}.tar") or TFRecord files
            ("gs://bucket/{split}-*.tfrecord").
        split: for TFDS any split expression; for a path the name of the split, "." for the folder
            itself, all rows of a table, or all files of a pattern.
        data_dir: where TFDS keeps its data.
        features: of TFRecord files, the names {"image", "label", "index"} and the {"dtype",
            "shape"} of raw pixels, as `TFRecordSource` takes them; or the names of the columns of a
            table, or of the members of tar shards. Other collections have no use for them.
        text: the feature of a TFDS set, the column of a table, or the member of tar shards, that
            holds the text or the texts of each image; None for images alone.
        channels, value_range: of the images, as for `sogclr_tf.FolderSource`; they belong inside a
            collection that `register_source` named, and are compared with it.

    Raises:
        ValueError: the split of a path cannot be told.
        FileNotFoundError: there are no such files.
    """
    if not is_path(name):
        if name in _NAMED:
            return _agreeing(_NAMED[name](split), channels, value_range)
        return TfdsSource(
            str(name), split, data_dir, text=text, channels=channels, value_range=value_range
        )
    if data_dir is not None:
        raise ValueError(f"data_dir '{data_dir}' is for names of TFDS sets, not for '{name}'")
    path = os.path.expanduser(os.fspath(name))
    if is_manifest(path) and "{split}" not in path and not is_folder(path):
        return _manifest(path, split, features, text, channels, value_range)
    path = _with_split(os.fspath(name), split)
    return from_path(path, features, text, channels=channels, value_range=value_range)


def from_path(
    path: str | os.PathLike,
    features: dict | None = None,
    text: str | None = None,
    *,
    channels: int | None = None,
    value_range: ValueRange | None = None,
) -> Source:
    """The source of a folder of images, a table, or the tar or TFRecord files of a pattern.

    Args:
        path: str or pathlib.Path, local or gs://...
        features, text, channels, value_range: as for `from_name`.
    """
    path = os.path.expanduser(os.fspath(path))
    if is_folder(path):
        return FolderSource(path, channels=channels, value_range=value_range)
    if is_manifest(path):
        return _manifest(path, None, features, text, channels, value_range)
    if is_shards(path):
        names = _renamed(features, _MEMBERS)
        return TarSource(
            path,
            image=names.get("image"),
            label=names.get("label", "cls"),
            text=text,
            channels=channels,
            value_range=value_range,
        )
    stated: Any = {"channels": channels, "value_range": value_range}
    return TFRecordSource(path, **(features or {}), text=text, **stated)


def is_path(name: str | os.PathLike) -> bool:
    """Whether a name is a path: of a table or of tars, a pathlib.Path, or from /, ./, ../ or ~ on.

    So it is with :// in it.
    """
    if isinstance(name, os.PathLike) or is_manifest(name) or is_shards(name):
        return True
    return "://" in name or os.path.isabs(name) or re.match(r"~|\.\.?(/|$)", name) is not None


def as_source(
    images: Any,
    labels: Sequence | None = None,
    *,
    channels: int | None = None,
    value_range: ValueRange | None = None,
) -> Source:
    """A source of whatever holds images.

    Args:
        images: a `Source`, an array, a tf.data.Dataset, or what `ManifestSource` takes: the path of
            a table, a frame, columns, a list or an array of paths.
        labels: of an array or of a list of paths, one each; or None.
        channels, value_range: as for `sogclr_tf.ArraySource`; of a `Source` they belong inside it.
    """
    table = is_table(images)
    if labels is not None and (table or isinstance(images, (Source, tf.data.Dataset))):
        raise ValueError(
            "labels belong inside the source, the table or the data set: zip (image, label) pairs"
        )
    if isinstance(images, Source):
        return _agreeing(images, channels, value_range)
    stated: Any = {"channels": channels, "value_range": value_range}
    if isinstance(images, tf.data.Dataset):
        return DatasetSource(images, **stated)
    if table or lists_paths(images):
        images = images if labels is None else {"path": images, "label": labels}
        return ManifestSource(images, **stated)
    return ArraySource(images, labels, **stated)


def _agreeing(source: Source, channels: int | None, value_range: ValueRange | None) -> Source:
    """A source whose format is what was stated of it, where something was."""
    value_range = checked_range(value_range)
    if channels is None and value_range is None:
        return source
    found = source.pixel_format
    stated = PixelFormat(channels or found.channels, value_range or found.value_range, found.deep)
    if stated != found:
        raise ValueError(
            f"images of {source.name} have {found.channels} channels and value_range "
            f"{found.value_range}, but {stated.channels} and {stated.value_range} were stated: "
            "state what it has, or other ones where the source is made"
        )
    return source


def _manifest(
    path: str,
    split: str | None,
    features: dict | None,
    text: str | None,
    channels: int | None,
    value_range: ValueRange | None,
) -> ManifestSource:
    """The table of a config, with captions where these are asked for."""
    names = _renamed(features, _COLUMNS)
    return ManifestSource(
        path,
        split,
        path=names.get("image") or "path",
        label=names.get("label", "label"),
        index=names.get("index"),
        caption=text,
        channels=channels,
        value_range=value_range,
    )


def _renamed(features: dict | None, usual: dict[str, Any]) -> dict[str, Any]:
    """The names in `features`, with others in place of those that are usual in TFRecord files."""
    stated = features or {}
    names = {key: stated[key] for key in ("image", "label", "index") if key in stated}
    return {key: usual.get(name, name) for key, name in names.items()}


def _with_split(path: str, split: str) -> str:
    """The path of a split."""
    if "{split}" in path:
        return path.replace("{split}", split)
    folder = os.path.expanduser(path)
    if not is_folder(folder):
        if split != "." and (is_shards(folder) or matching([folder])):
            raise ValueError(
                f"'{printable(path)}' does not say which files are of which split: put {{split}} "
                "in the place of the split's name, or give . for all files"
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
