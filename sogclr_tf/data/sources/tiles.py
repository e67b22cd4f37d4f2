"""Tiles of large images, each an example of its own."""

import hashlib
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import refusal
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.sources import file_cache
from sogclr_tf.data.sources.base import Source, order
from sogclr_tf.data.sources.image_sizes import image_sizes
from sogclr_tf.data.sources.readable import check_faults
from sogclr_tf.data.view_size import Size, height_and_width
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.printable import printable

_LOG = logging.getLogger("sogclr_tf")
_MOST = 2**31 - 1


class Tiles(Source):
    """Tiles of the images of another source, such as slides of pathology or scenes from above.

        slides = sogclr_tf.FolderSource("./slides")
        views = sogclr_tf.training_views(sogclr_tf.Tiles(slides, 256), batch_size=64)

    The tiles lie on a grid from the upper left corner of each image. Only whole ones count: what
    remains at the right and at the bottom is in no tile, unless the stride reaches it. Images that
    are smaller than a tile give none, with a warning that counts them.

    The index is the number of the tile, counted through all images in the order of their indices,
    and in each by rows: it stays as long as the images before do. A tile has the label and the
    text of its image.

    The grid is made of the sizes that the headers of the files tell. They are read at the first
    start and remembered; an image that has another size later stops the training.

    Of a JPEG only the part around a tile is turned into pixels, of a TIFF only the strips or tiles
    that it touches, of other kinds the whole image. As tiles come in random order, a file is read
    again for each; a thread that makes views holds one file and one tile. docs/data.md has
    measurements.

    Args:
        source: image files (`FolderSource`, `ManifestSource`), an `ArraySource`, or some of their
            examples, as `readable` gives them. `source.max_pixels` bounds the image.
        size: of a tile in pixels: the side of a square, or (height, width).
        stride: from one tile to the next, in pixels: one number, or (down, right). By default
            `size`; below it tiles overlap.
        name: what to call it in messages.

    Raises:
        ValueError: a size is none, the source gives its images in one order only or is of tiles
            already, a header cannot be read, or there is no tile, or more than 2,147,483,647.
        FileNotFoundError: a file is not there.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> slides = sogclr_tf.ArraySource(np.zeros([2, 512, 768, 3], np.uint8))
        >>> tiles = sogclr_tf.Tiles(slides, size=256)
        >>> tiles.num_examples  # 2 x 3 of each
        12
    """

    def __init__(
        self, source: Source, size: Size, stride: Size | None = None, *, name: str | None = None
    ) -> None:
        _check_source(source)
        tile = height_and_width(size)
        step = tile if stride is None else height_and_width(stride, "stride")
        indices = source.indices()
        by_index = np.argsort(indices)
        sizes = image_sizes(source)[by_index]
        grids = np.where((sizes >= tile).all(1, keepdims=True), (sizes - tile) // step + 1, 0)
        counts = np.prod(grids, axis=1, dtype=np.int64)
        _check_counts(source, counts, tile)
        super().__init__(
            name or f"tiles of {source.name}",
            int(counts.sum()),
            image_size=tile,
            labeled=source.labeled,
            has_text=source.has_text and source.caption_offsets is None,
            class_names=source.class_names,
        )
        self.in_range = source.in_range
        self._source, self._step = source, step
        # Of each image, in the order of the indices.
        self._rows = tf.constant(by_index, tf.int32)
        self._indices = tf.constant(indices[by_index])
        self._sizes = tf.constant(sizes, tf.int32)
        self._columns = tf.constant(grids[:, 1], tf.int32)
        self._ends = tf.constant(np.cumsum(counts), tf.int32)
        self._remembered = printable(file_cache.path_of("sizes", source.fingerprint() or ""))

    @property
    def pixel_format(self) -> PixelFormat:
        return self._source.pixel_format

    @property
    def in_python(self) -> bool:
        return self._source.in_python

    def fingerprint(self) -> str | None:
        below = self._source.fingerprint()
        if below is None:
            return None
        # Which images there are may differ by what cannot be read.
        grid = hashlib.sha256(self._indices.numpy().tobytes() + self._sizes.numpy().tobytes())
        return f"{below} tiles {self.image_size} {self._step} {grid.hexdigest()[:24]}"

    def example_names(self) -> ExampleNames:
        """The name of the image, how its tiles lie, and the number of the tile in it.

        So each tile keeps its row of a loss's table when images come or go.
        """
        names = self._source.example_names()
        (height, width), (down, right) = self._tile, self._step
        lie = f"{height}x{width} every {down}x{right}"
        stems = [
            f"{names[index]} {lie}, {columns} in a row, "
            for index, columns in zip(
                self._indices.numpy().tolist(), self._columns.numpy().tolist(), strict=True
            )
        ]
        return ExampleNames.numbered(stems, np.diff(self._ends.numpy(), prepend=0))

    def check_examples(self) -> None:
        self._source.check_examples()

    def check_files(self, indices: np.ndarray | None = None) -> None:
        if indices is not None:
            images = np.searchsorted(self._ends.numpy(), indices, side="right")
            indices = self._indices.numpy()[np.unique(images)]
        self._source.check_files(indices)

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        """As of every `Source`; "image" is {"number": of the image by its index, "box"}."""
        return tf.data.Dataset.from_tensor_slices(order(self.size, seed, first)).map(self._tile_at)

    def indices_and_labels(self) -> np.ndarray:
        pairs = self._source.indices_and_labels()
        labels = pairs[np.argsort(pairs[:, 0]), 1]
        labels = np.repeat(labels, np.diff(self._ends.numpy(), prepend=0))
        return np.stack([np.arange(self.size, dtype=np.int32), labels], axis=1)

    def read(self, image: Any) -> tf.Tensor:
        """The decoded tile: uint8, or float32 in 0..1, [height, width, C]."""
        number, box = image["number"], image["box"]
        row = self._rows[number]
        if self._source.image_size is not None:
            part = self._source.part_at(row, box)
        else:
            whole = self._source.read(self._source.example_at(row)["image"])
            part = self._source.crop(self._unchanged(number, whole), box)
        return tf.ensure_shape(part, [*self._tile, part.shape[-1]])

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        """`image`: `read` decodes."""
        return image

    def shape(self, image: tf.Tensor) -> tf.Tensor:
        return tf.shape(image)[:2]

    def crop(self, image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        top, left, height, width = tf.unstack(box)
        part = tf.slice(image, [top, left, 0], [height, width, -1])
        return tf.ensure_shape(part, [None, None, image.shape[-1]])

    def locate(self, index: int) -> str:
        ends = self._ends.numpy()
        number = int(np.searchsorted(ends, index, side="right"))
        place = index - (int(ends[number - 1]) if number else 0)
        row, column = divmod(place, int(self._columns[number]))
        (height, width), (down, right) = self._tile, self._step
        top, left = row * down, column * right
        return (
            f"{self._source.locate(int(self._indices[number]))}, tile at row {row}, column "
            f"{column} (pixels {top}:{top + height}, {left}:{left + width})"
        )

    @property
    def _tile(self) -> tuple[int, ...]:
        return self.image_size  # type: ignore[return-value]

    def _tile_at(self, index):
        number = tf.searchsorted(self._ends, index[tf.newaxis], side="right")[0]
        begin = tf.where(number > 0, self._ends[tf.maximum(number - 1, 0)], 0)
        columns, place = self._columns[number], index - begin
        corner = tf.stack([place // columns, place % columns]) * self._step
        box = tf.concat([corner, self._tile], 0)
        example = {"image": {"number": number, "box": box}, "index": index}
        carried = [*["label"] * self.labeled, *["text"] * self.has_text]
        if carried:
            # TensorFlow leaves out what is not taken of it.
            below = self._source.example_at(self._rows[number])
            example.update({key: below[key] for key in carried})
        return example

    def _unchanged(self, number, encoded):
        """`encoded`; the pipeline stops where the image has another size than the grid is for."""
        was, now = self._sizes[number], self._source.shape(encoded)

        def changed():
            number_text = tf.strings.as_string(self._indices[number])
            now_text, was_text = (
                tf.strings.reduce_join(tf.strings.as_string(size), separator="x")
                for size in (now, was)
            )
            return tf.strings.join(
                [
                    *("image ", number_text, f" of {self._source.name} has ", now_text),
                    *(" pixels, but had ", was_text, " when its tiles were laid out: remove "),
                    f"{self._remembered}, which remembers that, and start again",
                ]
            )

        return refusal.unless(tf.reduce_all(was == now), changed, encoded)


def _check_source(source: Any) -> None:
    if not isinstance(source, Source):
        raise ValueError(
            f"tiles of {source!r}: expected a source, such as sogclr_tf.FolderSource(...) or "
            "sogclr_tf.ArraySource(...)"
        )
    if isinstance(source, Tiles):
        raise ValueError(
            f"{source.name} are tiles already: cut the images with the size and stride wanted"
        )
    if not source.any_order:
        raise ValueError(
            f"{source.name} cannot be cut into tiles, because its images can only be read one "
            "after the other: give image files (a folder or a table) or an array"
        )
    check_faults(source)


def _check_counts(source: Source, counts: np.ndarray, tile: tuple[int, int]) -> None:
    """Refuses no tiles and too many, and warns of images without any."""
    total, without = int(counts.sum()), int(np.count_nonzero(counts == 0))
    size = f"{tile[0]}x{tile[1]} pixels"
    if not total:
        raise ValueError(f"{source.name} has no tile: all its images are smaller than {size}")
    if total > _MOST:
        raise ValueError(
            f"{source.name} has {total:,} tiles of {size}, but an index is at most {_MOST:,}: use "
            "a larger stride, or fewer images"
        )
    if without:
        _LOG.warning(
            "%s: %d of %d images are smaller than a tile of %s, and are left out",
            *(source.name, without, len(counts), size),
        )
