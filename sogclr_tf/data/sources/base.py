"""What every collection of images offers."""

import inspect
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data import pixel_range
from sogclr_tf.data.autograph import as_it_stands, converted
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.reduced import Reduced
from sogclr_tf.data.sources import label_range
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.printable import check_printable


class Source:
    """A finite collection of images, each with an index that never changes.

    Attributes:
        name: what to call it in messages.
        size: how many examples a pass over it gives.
        num_examples: indices lie in [0, num_examples): the size of a table over this source. It
            equals `size`, but for a slice of a larger set, whose examples keep their indices.
        image_size: (height, width) in pixels where all images agree, else None.
        labeled: whether examples carry a label.
        has_text: whether examples carry a text.
        caption_offsets: int64 [num_examples + 1] where images have several texts: those of image i
            have the numbers caption_offsets[i] ... caption_offsets[i + 1] - 1, at least one. None
            where each has one.
        class_names: list of str, or None; each can be written as UTF-8, without line breaks and
            other control characters, because pictures, files of exports and servers show it.
        pixel_format: `PixelFormat`, how many channels decoded images have, and which stored values
            are 0 and 1 in them.
        skipped: {index: why} of examples that are left out, as `readable` does.
        faults: {index: why} of examples that cannot be used, known before any is decoded.
        in_python: whether `read` or `decode` calls Python, which no tf.data service can.
        reduces: whether `reduced` may scale images down, and their shape is told without decoding.
        in_range: whether float images are known to lie in 0..1, so that none is looked at again.
        any_order: whether there is `example_at`, so that tiles can be cut of the images.

    Raises:
        ValueError: `size` is 0.

    Examples:
        >>> import sogclr_tf, tensorflow as tf
        >>> from sogclr_tf.data.sources.base import order
        >>> class Shades(sogclr_tf.Source):
        ...     def examples(self, seed=None, first=0):
        ...         rows = tf.data.Dataset.from_tensor_slices(order(self.size, seed, first))
        ...         return rows.map(lambda row: {"image": row, "index": row})
        ...     def decode(self, image):
        ...         return tf.fill([16, 16, 3], tf.cast(image, tf.uint8))
        >>> shades = Shades("shades", size=256, image_size=(16, 16))
        >>> sogclr_tf.training_views(shades, batch_size=64).steps_per_epoch
        4
    """

    in_range = False
    any_order = False

    skipped: dict[int, str] = {}  # noqa: RUF012 - never changed, replaced
    faults: dict[int, str] = {}  # noqa: RUF012 - likewise
    caption_offsets: np.ndarray | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.partition(".")[0] == "sogclr_tf":
            return
        for name, method in list(vars(cls).items()):
            # What a pipeline calls as it is traced is among them.
            if inspect.isfunction(method) and name[0] != "_" and hasattr(Source, name):
                setattr(cls, name, converted(method))

    def __init__(
        self,
        name: str,
        size: int,
        *,
        num_examples: int | None = None,
        image_size: Any = None,
        labeled: bool = False,
        has_text: bool = False,
        class_names: list[str] | None = None,
        pixel_format: PixelFormat | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"{name} is empty: give at least one batch of images")
        for label in () if class_names is None else class_names:
            check_printable(
                str(label),
                f"a class of {name}",
                "give it another name, or its folder a link of another name",
            )
        self.name = name
        self.size = int(size)
        self.num_examples = self.size if num_examples is None else int(num_examples)
        known = image_size is not None and None not in image_size
        self.image_size: tuple[int, ...] | None = tuple(image_size) if known else None
        self.labeled = labeled
        self.has_text = has_text
        self.class_names = class_names
        self._pixel_format = pixel_format or PixelFormat()

    @property
    def num_captions(self) -> int | None:
        """The texts of all images where an image may have several, else None."""
        return None if self.caption_offsets is None else int(self.caption_offsets[-1])

    @property
    def pixel_format(self) -> PixelFormat:
        return self._pixel_format

    @property
    def in_python(self) -> bool:
        return False

    @property
    def reduces(self) -> bool:
        return False

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        """One pass: a tf.data.Dataset of {"image", "index"}, "label" and "text" where it has them.

        "image" is what `read` takes; "index" and "label" are int32 scalars, "text" a string, or
        string [k], all k texts of the image in the order of their numbers.

        Args:
            seed: int64 scalar (or tensor), from which the order derives; None gives a fixed order.
            first: int64 scalar (or tensor): how many examples at the start of the pass are left
                out. They are not read where the source can help it, and never decoded.
        """
        raise NotImplementedError

    def example_at(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        """The example at a place of the fixed order, of sources that can read in `any_order`.

        Args:
            row: int32 scalar in [0, size).
        """
        raise NotImplementedError

    def part_at(self, row: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        """The rectangle `box` (as for `crop`) of the decoded image at a place of the fixed order.

        Apart from `example_at`, for sources that need not take hold of the rest of the image.
        """
        return self.crop(self.read(self.example_at(row)["image"]), box)

    @as_it_stands
    def indices(self) -> np.ndarray:
        """int32 [size], those of the fixed order, of sources that can read in `any_order`."""
        rows = tf.data.Dataset.range(self.size, output_type=tf.int32)
        found = rows.map(lambda row: self.example_at(row)["index"]).batch(4096)
        return np.concatenate(list(found.as_numpy_iterator()))

    def check_examples(self) -> None:
        """Raises ValueError of an example that `examples` fails at; called when that happened."""

    def check_files(self, indices: np.ndarray | None = None) -> None:
        """Raises FileNotFoundError of a file that is not there, where that can be told soon.

        Called before a training that does not leave out what cannot be read.

        Args:
            indices: int [n], of the examples that count; None for all.
        """

    def fingerprint(self) -> str | None:
        """Text that differs where the images may differ; None of images that need no decoding."""
        return None

    def example_names(self) -> ExampleNames:
        """What tells the examples 0 ... num_examples - 1 apart; a filter has those of all.

        They say whose the rows of a loss's table are: where they differ, training does not go on
        with it, and `Checkpoints.restore(grow=...)` carries its rows over by them. So they must
        not depend on where the collection lies. By default the source's name with the index, from
        which only another name or size can be told.
        """
        return ExampleNames.numbered([f"{self.name} "], [self.num_examples])

    def read(self, image: tf.Tensor) -> tf.Tensor:
        """What `decode` takes, from an example's "image".

        Apart from `examples`, so that what a stream leaves out is never fetched from a disk.
        """
        return image

    def decode(self, image: tf.Tensor) -> tf.Tensor:
        """What `read` gives as uint8, or float32 in 0..1, [H, W, C], as `pixel_format` says."""
        return self.pixel_format.pixels(image)

    def pixels(self, example: dict[str, tf.Tensor]) -> tf.Tensor:
        """The decoded image of an example: uint8, or float32 in 0..1, [H, W, C].

        One outside the range of its values stops the pipeline with a line that names it.
        """
        return self.checked(self.decode(self.read(example["image"])), example["index"])

    def checked(self, images: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Images as they are; a float one outside 0..1 stops the pipeline.

        Args:
            images: of one example [H, W, C], or of several [n, H, W, C].
            index: int, a scalar or [n].
        """
        if self.in_range:
            return images
        return pixel_range.checked(images, index, self.name, self.pixel_format.value_range)

    def shape(self, image: tf.Tensor) -> tf.Tensor:
        """(height, width) of `decode(image)`, where possible without decoding: int32 [2]."""
        return tf.shape(self.decode(image))[:2]

    def crop(self, image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        """The rectangle `box` of `decode(image)`, where cheaper without decoding the rest.

        Args:
            image: what `read` gives.
            box: int32 [4], (top, left, height, width) in pixels, inside the image.
        """
        top, left, height, width = tf.unstack(box)
        image = self.decode(image)
        return tf.slice(image, [top, left, 0], [height, width, image.shape[-1]])

    def reduced(self, image: tf.Tensor, box: tf.Tensor | None, ratio: tf.Tensor | int) -> Reduced:
        """As `crop`, and scaled down where that is cheaper than to decode all pixels.

        Args:
            image: what `read` gives.
            box: as for `crop`, in pixels of the whole image; None for all of it.
            ratio: by how much it may be scaled down, one of `reduced.RATIOS`.
        """
        del ratio  # all pixels are at hand
        if box is None:
            return Reduced(self.decode(image), tf.zeros([2], tf.int32), 1)
        return Reduced(self.crop(image, box), box[:2], 1)

    def locate(self, index: int) -> str:
        """Where the example of an index (an int) lies, as printable text for a message."""
        return f"example {index} of {self.name}"

    @as_it_stands
    def images_and_labels(self) -> tuple[tf.data.Dataset, np.ndarray | None]:
        """(tf.data.Dataset of decoded images, int32 [size] or None), in the same fixed order.

        Raises:
            ValueError: a label is below 0, or has no class name where there are class names.
        """
        labels = None
        if self.labeled:
            labels = label_range.checked(self.indices_and_labels(), self.class_names, self.locate)
        # Its errors would be buried in those of a traced function.
        _ = self.pixel_format
        images = self.examples().map(
            self.pixels, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return images.apply(tf.data.experimental.assert_cardinality(self.size)), labels

    @as_it_stands
    def texts(self) -> list[str]:
        """The texts in the order of `images_and_labels`, all of an image in turn: list of str.

        Raises:
            ValueError: the source has none.
        """
        if not self.has_text:
            raise ValueError(f"{self.name} has no texts")
        passing = self.examples().map(lambda example: tf.reshape(example["text"], [-1]))
        return [text.decode() for texts in passing.as_numpy_iterator() for text in texts]

    @as_it_stands
    def indices_and_labels(self) -> np.ndarray:
        """int32 [size, 2], the index and the label of each example, in the order of `examples`."""
        pairs = self.examples().map(lambda example: tf.stack([example["index"], example["label"]]))
        try:
            return np.concatenate(list(pairs.batch(4096).as_numpy_iterator()))
        except tf.errors.InvalidArgumentError:
            self.check_examples()
            raise


def order(size: int, seed: int | tf.Tensor | None, first: int | tf.Tensor) -> tf.Tensor:
    """The rows of a pass, int32 [size - first], for sources that can read in any order.

    Args:
        size: how many rows there are.
        seed, first: as for `Source.examples`.
    """
    rows = tf.range(size)
    if seed is not None:
        # Not index_shuffle: it reads half of the seed, and favors some orders.
        key = tf.stack([tf.cast(seed, tf.int64), 0])
        rows = tf.random.experimental.stateless_shuffle(rows, key, alg="philox")
    return rows[first:]
