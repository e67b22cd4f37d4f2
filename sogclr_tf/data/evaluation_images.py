"""Whole images with their labels, for evaluation."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sogclr_tf.data import augment, reduced
from sogclr_tf.data.autograph import as_it_stands
from sogclr_tf.data.files.outlined import called
from sogclr_tf.data.reduced import Reduced
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.readable import clear_errors
from sogclr_tf.data.view_size import Size, height_and_width

# So many are read at once.
_LABELS = 4096


@as_it_stands
def evaluation_set(source: Source, size: Size) -> tuple[tf.data.Dataset, np.ndarray | None]:
    """Of each image the largest part in the middle that has the proportions of `size`, resized.

    Args:
        source: `sogclr_tf.Source`.
        size: in pixels: the side of a square, or (height, width).

    Returns:
        (tf.data.Dataset of float32 [height, width, C] in 0..1, labels int32 [N] or None).

    Raises:
        ValueError: the size is none, or a label is out of range.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> photographs = np.zeros([10, 40, 30, 3], np.uint8)
        >>> source = sogclr_tf.ArraySource(photographs, labels=np.arange(10))
        >>> images, labels = sogclr_tf.evaluation_set(source, 32)
        >>> images.element_spec.shape, labels[:3].tolist()
        (TensorShape([32, 32, 3]), [0, 1, 2])
    """
    size = height_and_width(size)
    _, labels = source.images_and_labels()
    images = _resized(source, source.examples(), size)
    return images.apply(tf.data.experimental.assert_cardinality(source.size)), labels


@as_it_stands
def evaluation_sample(
    source: Source, size: Size, count: int, seed: int = 0
) -> tuple[tf.data.Dataset, np.ndarray | None]:
    """As `evaluation_set`, of `count` examples drawn by `seed` (of all where there are fewer).

    What is left out is not decoded, nor read where the source can help it.
    """
    examples = _drawn(source, count, seed)
    images = _resized(source, examples, height_and_width(size))
    return images, _labels_of(source, examples)


@as_it_stands
def evaluation_pairs(
    source: Source, size: Size, count: int, seed: int = 0
) -> tuple[tf.data.Dataset, list[str], np.ndarray, np.ndarray | None]:
    """As `evaluation_sample`, of a source with texts.

    Returns:
        (the images, their texts: list of str, of each text the place of its image: int64, labels or
        None).
    """
    examples = _drawn(source, count, seed)
    images = _resized(source, examples, height_and_width(size))
    of_images = examples.map(lambda example: tf.reshape(example["text"], [-1]))
    texts = [[text.decode() for text in several] for several in of_images.as_numpy_iterator()]
    owners = np.repeat(np.arange(len(texts)), [len(several) for several in texts])
    return (
        images,
        [text for several in texts for text in several],
        owners,
        _labels_of(source, examples),
    )


def _drawn(source: Source, count: int, seed: int) -> tf.data.Dataset:
    """`count` examples in an order of their own, the same at each pass."""

    def drawn(_):
        tf.random.set_seed(1)
        return source.examples(tf.constant(seed, tf.int64)).take(count)

    return tf.data.Dataset.range(1).flat_map(drawn)


def _labels_of(source: Source, examples: tf.data.Dataset) -> np.ndarray | None:
    if not source.labeled:
        return None
    with clear_errors(source, lambda: examples):
        labels = examples.map(lambda example: example["label"]).batch(_LABELS)
        return np.concatenate([np.zeros(0, np.int32), *labels.as_numpy_iterator()])


def evaluation_image(
    image: tf.Tensor,
    size: tuple[int, int],
    shape_of: Callable[[tf.Tensor], tf.Tensor],
    reduced_to: Callable[..., Reduced],
) -> tf.Tensor:
    """The middle part of one image file, resized: what every evaluation sees, and a server too.

    Of a large JPEG it is made from an image that was scaled down while it was decoded.

    Args:
        image: what the functions take, such as the bytes of a file.
        size: (height, width).
        shape_of: the function that tells (height, width) without decoding.
        reduced_to: the function that decodes, as `Source.reduced`.

    Returns:
        float32 [height, width, C] in 0..1.
    """
    shape = shape_of(image)
    middle = augment.middle(shape, size)
    found = reduced_to(image, None, reduced.ratio(shape, middle[tf.newaxis], [size]))

    def resized(pixels, corner, ratio, box):
        shown = reduced.resized(Reduced(pixels, corner, ratio), box, size)
        return augment.in_unit_range(shown, pixels)

    return tf.cond(
        found.ratio > 1,
        lambda: called(resized, *found, middle),
        lambda: augment.whole(found.pixels, size),
    )


def _resized(source: Source, examples: tf.data.Dataset, size: tuple[int, int]) -> tf.data.Dataset:
    # Its errors would be buried in those of a traced function.
    _ = source.pixel_format

    def resized(example):
        if not source.reduces:
            return augment.whole(source.pixels(example), size)

        def reduced_to(image, box, ratio):
            found = source.reduced(image, box, ratio)
            return found._replace(pixels=source.checked(found.pixels, example["index"]))

        return evaluation_image(source.read(example["image"]), size, source.shape, reduced_to)

    # In one step, so that no decoded image waits for the next.
    return examples.map(
        resized,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
