"""Augmented views of images, each a function of the image and a seed alone.

What is made of an image does not depend on the others of its batch, to the bit. Crops and their
resizing are single operations of TensorFlow. All that follows is compiled by XLA, as a loop over
images: it changes colors several times faster than operations on batches do.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from sogclr_tf.data import host_finishing, randomness
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.view_size import Size, height_and_width

# Pixels for each of a view, above which an image is resized as it is.
_MANY_PIXELS = 24


def view(image: tf.Tensor, row: tf.Tensor, policy: Policy) -> tf.Tensor:
    """One whole view of one image.

    Args:
        image: uint8, or float32 in 0..1, [H, W, C].
        row: float32 [draws], one row of `draws`.
        policy: `Policy`.

    Returns:
        [height, width, C], uint8 or float32 as the image.
    """
    row = row[tf.newaxis]
    box = crop_boxes(tf.shape(image)[tf.newaxis, :2], row, policy)[0]
    return views([part(image, box)], row, policy)[0]


def whole(image: tf.Tensor, size: Size) -> tf.Tensor:
    """The image without any augmentation, for evaluation: float32 [height, width, C] in 0..1.

    The largest part in the middle that has the proportions of `size`, to the nearest pixel,
    resized: of a square the largest square.

    Args:
        image: uint8, or float32 in 0..1, [H, W, C].
        size: side of a square, or (height, width).
    """
    size = height_and_width(size)
    shown = part(image, middle(tf.shape(image)[:2], size))
    return in_unit_range(_resize([shown], size)[0], image)


def middle(shape: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Where `whole` cuts an image of a shape: int32 [4], (top, left, height, width).

    Args:
        shape: int32 [2], (height, width).
        size: (height, width) of the result.
    """
    if size[0] == size[1]:
        shown = tf.fill([2], tf.reduce_min(shape))
    else:
        # In whole numbers every device rounds alike; products may exceed 32 bits.
        height, width = tf.unstack(tf.cast(shape, tf.int64))
        heights = tf.minimum(height, _scaled(width, size[0], size[1]))
        widths = tf.minimum(width, _scaled(height, size[1], size[0]))
        shown = tf.cast(tf.stack([heights, widths]), tf.int32)
    return tf.concat([(shape - shown) // 2, shown], 0)


def in_unit_range(resized: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """What `image` was resized to, cut to 0..1: float32."""
    return tf.clip_by_value(resized / _white(image), 0.0, 1.0)


def as_float(images: tf.Tensor) -> tf.Tensor:
    """Images as float32 in 0..1: uint8 is divided by 255, floats are taken as they are."""
    images, white = tf.cast(images, tf.float32), _white(images)
    return images / white if white > 1 else images


def crop_boxes(shapes: tf.Tensor, rows: tf.Tensor, policy: Policy) -> tf.Tensor:
    """Where each image is cropped: the first of 16 drawn boxes that fits, else one cut to fit.

    Args:
        shapes: int32 [n, 2], (height, width) of each image.
        rows: float32 [n, draws].
        policy: `Policy`.

    Returns:
        int32 [n, 4], (top, left, height, width) in pixels, inside the image.
    """
    view_height, view_width = policy.image_size
    shapes = tf.cast(shapes, tf.float32)
    height, width = shapes[:, :1], shapes[:, 1:]
    area = policy.min_area + (1 - policy.min_area) * rows[:, randomness.GEOMETRY["area"]]
    log_aspect = math.log(policy.max_aspect) * (2 * rows[:, randomness.GEOMETRY["aspect"]] - 1)
    # Of a square this is 0, which changes no bit.
    log_aspect += math.log(view_width / view_height)
    side = tf.sqrt(area * height * width)
    heights = tf.round(side * tf.exp(-log_aspect / 2))
    widths = tf.round(side * tf.exp(log_aspect / 2))
    # argmax of booleans is the first that is true, or 0 where none is.
    fits = tf.cast((heights <= height) & (widths <= width), tf.int32)
    first = tf.argmax(fits, axis=1)[:, tf.newaxis]
    sides = tf.concat([tf.gather(x, first, batch_dims=1) for x in (heights, widths)], axis=1)
    sides = tf.clip_by_value(sides, 1.0, shapes)
    place = rows[:, randomness.GEOMETRY["top"] : randomness.GEOMETRY["left"] + 1]
    return tf.cast(tf.concat([tf.floor(place * (shapes - sides + 1)), sides], axis=1), tf.int32)


def part(image: tf.Tensor, box: tf.Tensor | tuple[tf.Tensor, ...]) -> tf.Tensor:
    """The rectangle (top, left, height, width) of an image [H, W, C]."""
    top, left, height, width = tf.unstack(box)
    return tf.slice(image, [top, left, 0], [height, width, image.shape[-1]])


def parts(images: Sequence[tf.Tensor], boxes: tf.Tensor) -> list[tf.Tensor]:
    """What `part` cuts of each of some images, in fewer operations.

    Args:
        images: list of n images [H, W, C].
        boxes: int32 [n, 4], as `crop_boxes` gives them.
    """
    starts = tf.pad(boxes[:, :2], [[0, 0], [0, 1]])
    # -1 is all channels.
    sizes = tf.pad(boxes[:, 2:], [[0, 0], [0, 1]], constant_values=-1)
    found = map(tf.slice, images, tf.unstack(starts), tf.unstack(sizes))
    return [tf.ensure_shape(part, [None, None, images[0].shape[-1]]) for part in found]


def views(
    crops: Sequence[tf.Tensor], rows: tf.Tensor, policy: Policy, most_pixels: int | None = None
) -> tf.Tensor:
    """What becomes of cropped images: resized, then as `finish` says.

    Args:
        crops: list of n images [h, w, C] of any sizes, all uint8 or all float32 in 0..1.
        rows: float32 [n, draws].
        policy: `Policy`.
        most_pixels: h * w of the largest crop that may come, where it is known.

    Returns:
        [n, height, width, C], uint8 or float32 as the images.
    """
    resized = _resize(crops, policy.image_size, most_pixels)
    dtype = tf.uint8 if crops[0].dtype == tf.uint8 else tf.float32
    return finish(resized, rows, policy, _white(crops[0]), dtype)


def resized(
    crops: Sequence[tf.Tensor], policy: Policy, most_pixels: int | None = None
) -> tf.Tensor:
    """What `views` finishes: cropped images resized, nothing else.

    Args:
        crops, policy, most_pixels: as for `views`.

    Returns:
        [n, height, width, C], uint8 or float32 in 0..1 as the images.
    """
    images = tf.clip_by_value(_resize(crops, policy.image_size, most_pixels), 0.0, _white(crops[0]))
    return tf.cast(images + 0.5, tf.uint8) if crops[0].dtype == tf.uint8 else images


def finish(
    images: tf.Tensor,
    rows: tf.Tensor,
    policy: Policy,
    white: float = 1.0,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """What comes after the resizing: flip, jitter, grayscale, blur and solarize, in this order.

    Compiled by XLA at the first call for a policy and a shape, which takes a second or two.

    Args:
        images: float32 [n, height, width, C]; what lies outside of 0..`white` is cut.
        rows: float32 [n, draws].
        policy: `Policy`.
        white: the greatest value of `images`.
        dtype: of the result.

    Returns:
        float32 in 0..1, or uint8 rounded to the nearest of its 256 steps; [n, height, width, C].
    """
    return host_finishing.compiled(policy, white, dtype)(images, rows)


def _scaled(side: tf.Tensor, numerator: int, denominator: int) -> tf.Tensor:
    """A whole number times a fraction, to the nearest, at least 1."""
    return tf.maximum((2 * side * numerator + denominator) // (2 * denominator), 1)


def _resize(
    images: Sequence[tf.Tensor], size: tuple[int, int], most_pixels: int | None = None
) -> tf.Tensor:
    """Bicubic interpolation, which overshoots at edges: float32 [n, *size, C]."""
    resized = [_resize_one(image, size, most_pixels) for image in images]
    return tf.ensure_shape(tf.concat(resized, 0), [len(images), *size, images[0].shape[-1]])


def _resize_one(image: tf.Tensor, size: tuple[int, int], most_pixels: int | None) -> tf.Tensor:
    def resized(image):
        return tf.image.resize(image[tf.newaxis], size, method="bicubic")

    # As floats, because TensorFlow is slower at bytes; but of a large image only few pixels are
    # read, and one of 12 megapixels would take 144 MB in each thread. Both give the same numbers.
    # So does an image of that size, which stays what it is.
    limit = _MANY_PIXELS * math.prod(size)
    if most_pixels is not None and most_pixels <= limit:
        return resized(tf.cast(image, tf.float32))
    of_size = tf.reduce_all(tf.shape(image)[:2] == size)
    return tf.switch_case(
        tf.where(of_size, 0, tf.where(tf.size(image) > image.shape[-1] * limit, 1, 2)),
        [
            lambda: tf.cast(image[tf.newaxis], tf.float32),
            lambda: resized(image),
            lambda: resized(tf.cast(image, tf.float32)),
        ],
    )


def _white(images: tf.Tensor) -> float:
    return 255.0 if images.dtype == tf.uint8 else 1.0
