"""A folder of image files."""

import os

import numpy as np

from sogclr_tf.data.sources import folder_entries, image_files
from sogclr_tf.data.sources.file_list import FileListSource, root_of
from sogclr_tf.data.sources.folder_listing import Listing, list_images
from sogclr_tf.data.sources.strings import Strings
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.printable import printable


class FolderSource(FileListSource):
    """The JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF and HEIC files of a folder and the folders below.

    They are known by their suffixes, those without a suffix by their first bytes; where there are
    none, `.npy` files of one image each, [H, W] or [H, W, C]. Hidden files and
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
        channels: C of the decoded images; by default that of the files, but 3 for gray, which is
            repeated. 1 keeps gray as one, and makes gray of colors. Alpha is no channel.
        value_range: (low, high), the stored values that are black and white, such as (0, 4095) for
            12 bits in files of 16; by default the whole range of 8 or 16 bits, and 0..1 of floats.
            All 16 bits are kept, from the file to the encoder.

    Raises:
        FileNotFoundError: there is no such folder.
        PermissionError: a folder below may not be read.
        ValueError: no image lies in it, or a class has no printable name.

    Examples:
        >>> import os
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> for name in ("cats/1.png", "cats/2.png", "dogs/1.png"):
        ...     os.makedirs(os.path.dirname(f"pets/{name}"), exist_ok=True)
        ...     keras.utils.save_img(f"pets/{name}", np.zeros([20, 30, 3]))
        >>> source = sogclr_tf.FolderSource("pets")
        >>> source.num_examples, source.class_names
        (3, ['cats', 'dogs'])
        >>> source.locate(2)  # doctest: +ELLIPSIS
        '...pets/dogs/1.png...'
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        channels: int | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        folder = os.path.expanduser(os.fspath(folder))
        name = printable(folder)
        if not folder_entries.is_folder(folder):
            raise FileNotFoundError(f"there is no folder '{name}': give one that holds images")
        listing = list_images(folder)
        if not len(listing):
            listing = list_images(folder, image_files.ARRAY_SUFFIXES)
        if not len(listing):
            raise ValueError(_no_image(name, os.path.join(name, "*"), listing))
        image_files.warn_of(name, listing.left_out)
        labels = _labels(listing)
        super().__init__(
            name,
            root_of(folder),
            Strings(listing.text, listing.starts),
            labels=labels,
            class_names=None if labels is None else sorted(listing.group_names),
            channels=channels,
            value_range=value_range,
        )


def _no_image(name: str, pattern: str, listing: Listing) -> str:
    suffixes = ", ".join(suffix.decode() for suffix in image_files.SUFFIXES[:6])
    others = image_files.counts(listing.left_out)
    return (
        f"folder '{name}' holds no image{f' (only {others})' if others else ''}: expected files "
        f"{suffixes}, .tif or the like (TFRecord files are given as a pattern, such as {pattern})"
    )


def _labels(listing: Listing) -> np.ndarray | None:
    """int32 [N]; None where an image lies outside of the sub-folders."""
    sizes = listing.groups[:, 1] - listing.groups[:, 0]
    if sizes.sum() < len(listing):
        return None
    number = {name: place for place, name in enumerate(sorted(listing.group_names))}
    return np.repeat([number[name] for name in listing.group_names], sizes).astype(np.int32)
