"""A folder of image files."""

import hashlib
import os

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import folder_entries, image_files
from sogclr_tf.data.sources.base import EncodedSource, order
from sogclr_tf.data.sources.folder_listing import Listing, list_images
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.printable import printable


class FolderSource(EncodedSource):
    """The JPEG, PNG, WebP, BMP and GIF files of a folder and the folders below.

    They are known by their suffixes, those without a suffix by their first bytes. Hidden files and
    what systems leave in folders are passed over; a warning counts other files, but for notes such
    as .txt and .json.

    The index is the place of a file's relative path in byte order, so it stays as long as no file
    is added, removed or renamed. Files are read when they are needed. The list of files is kept in
    a manifest (see `sogclr_tf.data.sources.file_cache` and `folder_listing.list_images`), so that
    the next start does not walk through the folder again; the folder itself is never written to.

    Where all images lie in sub-folders, those of the first level are their classes, numbered in
    the order of their names.

    Args:
        folder: a local path or gs://...

    Raises:
        FileNotFoundError: there is no such folder.
        PermissionError: a folder below may not be read.
        ValueError: no image lies in it, or a class has no printable name.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        folder = os.path.expanduser(os.fspath(folder))
        name = printable(folder)
        if not folder_entries.is_folder(folder):
            raise FileNotFoundError(f"there is no folder '{name}': give one that holds images")
        listing = list_images(folder)
        if not len(listing):
            raise ValueError(_no_image(name, os.path.join(name, "*"), listing))
        image_files.warn_of(name, listing.left_out)
        labels = _labels(listing)
        super().__init__(
            name,
            len(listing),
            labeled=labels is not None,
            class_names=None if labels is None else sorted(listing.group_names),
        )
        self._text, self._starts = tf.constant(listing.text), tf.constant(listing.starts)
        self._labels = None if labels is None else tf.constant(labels)
        # The working directory may change before the files are read.
        root = os.path.join(folder if "://" in folder else os.path.abspath(folder), "")
        # In bytes, as it may hold some that are no text.
        self._root = os.fsencode(root)

    def fingerprint(self) -> str:
        names = hashlib.sha256(self._text.numpy()).hexdigest()
        return f"{os.fsdecode(self._root)} {names} {self.max_pixels}"

    def example_names(self) -> ExampleNames:
        """The relative paths, so that the folder itself may lie anywhere."""
        return ExampleNames(self._text.numpy(), self._starts.numpy())

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        rows = order(self.size, seed, first)
        return tf.data.Dataset.from_tensor_slices(rows).map(self._example)

    def read(self, image: tf.Tensor) -> tf.Tensor:
        return tf.io.read_file(self._root + image)

    def locate(self, index: int) -> str:
        return printable(os.fsdecode(self._root + self._path(index).numpy()))

    def _example(self, row):
        example = {"image": self._path(row), "index": row}
        if self.labeled:
            example["label"] = self._labels[row]
        return example

    def _path(self, row: int | tf.Tensor) -> tf.Tensor:
        start, end = self._starts[row], self._starts[row + 1]
        return tf.strings.substr(self._text, start, end - start)


def _no_image(name: str, pattern: str, listing: Listing) -> str:
    suffixes = ", ".join(suffix.decode() for suffix in image_files.SUFFIXES)
    others = image_files.counts(listing.left_out)
    return (
        f"folder '{name}' holds no image{f' (only {others})' if others else ''}: expected files "
        f"{suffixes} (TFRecord files are given as a pattern, such as {pattern})"
    )


def _labels(listing: Listing) -> np.ndarray | None:
    """int32 [N]; None where an image lies outside of the sub-folders."""
    sizes = listing.groups[:, 1] - listing.groups[:, 0]
    if sizes.sum() < len(listing):
        return None
    number = {name: place for place, name in enumerate(sorted(listing.group_names))}
    return np.repeat([number[name] for name in listing.group_names], sizes).astype(np.int32)
