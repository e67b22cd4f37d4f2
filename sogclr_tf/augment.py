"""Augmented views of an image, each a function of the image and a seed alone.

Geometry (crop, resize, flip) is done image by image, because images differ in size. Colour (jitter,
grey, blur, solarise) is done on a whole batch of equal size, where each operation runs once over
the images that drew it instead of once per image.
"""

import dataclasses
import math
import numbers

import numpy as np
import tensorflow as tf

# What the numbers of one view's row of draws, each uniform in [0, 1), decide.
_CROP_ATTEMPTS = 10
_GEOMETRY = {
    "area": slice(0, _CROP_ATTEMPTS),
    "aspect": slice(_CROP_ATTEMPTS, 2 * _CROP_ATTEMPTS),
    "top": 20,
    "left": 21,
    "flip": 22,
}
_COLOUR = {
    "jitter": 23,
    "order": slice(24, 28),
    "brightness": 28,
    "contrast": 29,
    "saturation": 30,
    "hue": 31,
    "grey": 32,
    "blur": 33,
    "sigma": 34,
    "solarise": 35,
}
_DRAWS = 36


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a view is drawn: SimCLR's augmentation (arXiv 2002.05709, appendix A), or BYOL's.

    Attributes:
        size: side of the square view, in pixels.
        min_area: least share of the image's area that a crop keeps, in (0, 1]. 1 with
            `max_aspect` 1 and square images turns cropping off.
        max_aspect: a crop's width : height lies between its inverse and it, before the image's
            borders; 1 or more.
        flip: probability of a left-right flip.
        jitter: probability of colour jitter.
        strength: of the jitter. Brightness, contrast and saturation are scaled by factors within
            1 +- 0.8 * strength and the hue is turned by up to 0.2 * strength of the circle.
            SimCLR: 1.0 for ImageNet, 0.5 for CIFAR-10.
        saturation: what takes the place of 0.8 for saturation (BYOL: 0.4 at strength 0.5).
        grey: probability of losing colour.
        blur: probability of a Gaussian blur over a tenth of the side, sigma in 0.1..2.0 pixels.
            SimCLR: 0.5 for ImageNet, none for CIFAR-10.
        solarise: probability that values from 0.5 up are inverted (BYOL's second view: 0.2).

    Raises:
        ValueError: a value is out of range.
    """

    size: int
    min_area: float = 0.08
    max_aspect: float = 4 / 3
    flip: float = 0.5
    jitter: float = 0.8
    strength: float = 1.0
    saturation: float = 0.8
    grey: float = 0.2
    blur: float = 0.0
    solarise: float = 0.0

    def __post_init__(self):
        if not (isinstance(self.size, numbers.Integral) and self.size >= 1):
            raise ValueError(f"size is {self.size}: a view's side is a whole number of pixels >= 1")
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area is {self.min_area}: it must lie in (0, 1]")
        if not 1 <= self.max_aspect < math.inf:
            raise ValueError(f"max_aspect is {self.max_aspect}: it must be a number >= 1")
        for name in ("strength", "saturation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be a number >= 0")
        for name in ("flip", "jitter", "grey", "blur", "solarise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: a probability is in [0, 1]")


def draws(seed, epoch, index):
    """All randomness of one example's two views: float32 [2, draws], uniform in [0, 1).

    Args:
        seed, epoch, index: int scalars, each below 2**31. Equal arguments give equal draws,
            whatever ran before, on any device and in any thread.
    """
    high = tf.bitwise.left_shift(tf.cast(seed, tf.int64), tf.constant(32, tf.int64))
    key = tf.stack([high + tf.cast(epoch, tf.int64), tf.cast(index, tf.int64)])
    return tf.random.stateless_uniform([2, _DRAWS], seed=key, alg="philox")


def seeds(seed, epoch, index):
    """A seed for each of one example's two views, for augmentations of one's own: int64 [2, 2].

    Args:
        seed, epoch, index: as for `draws`, of whose numbers these tell nothing.
    """
    high = tf.bitwise.left_shift(tf.cast(seed, tf.int64), tf.constant(32, tf.int64))
    # `draws` has the keys of indices below 2**31.
    key = tf.stack([high + tf.cast(epoch, tf.int64), tf.cast(index, tf.int64) + 2**32])
    return tf.random.stateless_uniform([2, 2], key, None, None, tf.int64, alg="philox")


def view(image, row, policy):
    """One whole view of one image.

    Args:
        image: uint8, or float32 in 0..1, [H, W, 3].
        row: float32 [draws], one row of `draws`.
        policy: `Policy`.

    Returns:
        float32 [size, size, 3] in 0..1.
    """
    return colour(geometry(image, row, policy)[tf.newaxis], row[tf.newaxis], policy)[0]


def whole(image, size):
    """The image without any augmentation, for evaluation: float32 [size, size, 3] in 0..1.

    A square in the middle, as large as the image allows, resized.
    """
    image = as_float(image)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _resize(image[top : top + side, left : left + side], size)


def as_float(images):
    """Images as float32 in 0..1: uint8 is divided by 255, floats are taken as they are."""
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)


def geometry(image, row, policy):
    """Crop, resize and flip of one image: float32 [size, size, 3] in 0..1."""
    top, left, height, width = _crop_box(tf.shape(image), row, policy)
    crop = as_float(image[top : top + height, left : left + width])
    resized = _resize(crop, policy.size)
    return tf.where(row[_GEOMETRY["flip"]] < policy.flip, resized[:, ::-1], resized)


def colour(images, rows, policy):
    """Jitter, grey, blur and solarise, in this order, of a batch.

    Args:
        images: float32 [n, size, size, 3] in 0..1.
        rows: float32 [n, draws].
        policy: `Policy`.

    Returns:
        float32 [n, size, size, 3] in 0..1.
    """
    draw = {name: rows[:, column] for name, column in _COLOUR.items()}
    if policy.jitter and policy.strength:
        images = _jitter(images, draw, policy)
    if policy.grey:
        images = _on_some(images, draw["grey"] < policy.grey, _to_grey)
    if policy.blur:
        sigma = 0.1 + 1.9 * draw["sigma"]
        images = _on_some(images, draw["blur"] < policy.blur, gaussian_blur, sigma)
    if policy.solarise:
        images = _on_some(images, draw["solarise"] < policy.solarise, _solarise)
    return images


def gaussian_blur(images, sigma, radius=None):
    """Blurs each image with its own sigma.

    Args:
        images: float32 [n, H, W, 3].
        sigma: float32 [n], in pixels.
        radius: of the square window, in pixels; by default a twentieth of the height, at least 1,
            so that the window spans a tenth of the side, as in SimCLR.

    Returns:
        float32 [n, H, W, 3]. Borders are mirrored.
    """
    radius = radius or max(1, images.shape[1] // 20)
    taps = 2 * radius + 1
    # The CPU computes exp 16 at a time and rounds what is left over differently: in rows of a
    # multiple of 16 an image's weights do not depend on its place in the batch.
    offsets = tf.range(-radius, 16 * math.ceil(taps / 16) - radius, dtype=tf.float32)
    weights = tf.exp(-tf.square(offsets / sigma[:, tf.newaxis]) / 2)[:, :taps]
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return _blur_axis(_blur_axis(images, weights, radius, axis=1), weights, radius, axis=2)


def _blur_axis(images, weights, radius, axis):
    length = images.shape[axis]
    # Not tf.pad: it refuses an empty batch and a border as wide as the image.
    mirrored = np.pad(np.arange(length), radius, mode="reflect")
    padded = tf.gather(images, mirrored, axis=axis)
    total = tf.zeros_like(images)
    for tap in range(2 * radius + 1):
        window = padded[:, tap : tap + length] if axis == 1 else padded[:, :, tap : tap + length]
        total += weights[:, tap, tf.newaxis, tf.newaxis, tf.newaxis] * window
    return total


def _crop_box(shape, row, policy):
    """(top, left, height, width) of the first drawn crop that fits; else of one cut to fit."""
    height, width = tf.cast(shape[0], tf.float32), tf.cast(shape[1], tf.float32)
    area = policy.min_area + (1 - policy.min_area) * row[_GEOMETRY["area"]]
    log_aspect = math.log(policy.max_aspect) * (2 * row[_GEOMETRY["aspect"]] - 1)
    side = tf.sqrt(area * height * width)
    heights = tf.round(side * tf.exp(-log_aspect / 2))
    widths = tf.round(side * tf.exp(log_aspect / 2))
    # argmax of booleans is the first that is true, or 0 where none is.
    chosen = tf.argmax(tf.cast((heights <= height) & (widths <= width), tf.int32))
    crop_height = tf.clip_by_value(heights[chosen], 1.0, height)
    crop_width = tf.clip_by_value(widths[chosen], 1.0, width)
    top = tf.floor(row[_GEOMETRY["top"]] * (height - crop_height + 1))
    left = tf.floor(row[_GEOMETRY["left"]] * (width - crop_width + 1))
    return tf.unstack(tf.cast(tf.stack([top, left, crop_height, crop_width]), tf.int32))


def _resize(image, size):
    resized = tf.image.resize(image, [size, size], method="bicubic")
    # Bicubic interpolation overshoots at edges.
    return tf.clip_by_value(tf.ensure_shape(resized, [size, size, 3]), 0.0, 1.0)


def _jitter(images, draw, policy):
    """Brightness, contrast, saturation and hue, in an order that each image draws for itself.

    In each of four rounds the batch is split by the operation that is the image's turn, so that
    every operation runs once per image, whatever the orders. A fifth group is left as it is.
    """
    factor = {
        name: 1 + reach * policy.strength * (2 * draw[name] - 1)
        for name, reach in _reaches(policy).items()
    }
    turn = 0.2 * policy.strength * (2 * draw["hue"] - 1)
    operations = [
        (lambda x, f: x * f, tf.maximum(factor["brightness"], 0.0)),
        (_contrast, tf.maximum(factor["contrast"], 0.0)),
        (_saturation, tf.maximum(factor["saturation"], 0.0)),
        (_hue, turn),
    ]
    order = tf.argsort(draw["order"], axis=1)
    for position in range(len(operations)):
        group = tf.where(draw["jitter"] < policy.jitter, order[:, position], len(operations))
        images = _by_group(images, group, operations)
    return images


def _reaches(policy):
    """How far from 1 the factors of a jitter go, at strength 1."""
    return {"brightness": 0.8, "contrast": 0.8, "saturation": policy.saturation}


def _by_group(images, group, operations):
    """Applies operation g to the images of group g; the last group is left unchanged."""
    count = len(operations) + 1
    places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), group, count)
    parts = []
    for (operation, amounts), place in zip(operations, places, strict=False):
        amount = tf.gather(amounts, place)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        parts.append(tf.clip_by_value(operation(tf.gather(images, place), amount), 0.0, 1.0))
    parts.append(tf.gather(images, places[-1]))
    return tf.ensure_shape(tf.dynamic_stitch(places, parts), images.shape)


def _on_some(images, chosen, operation, *amounts):
    """Applies `operation` to the images where `chosen` (bool [n]), with their `amounts`."""
    place = tf.where(chosen)
    changed = operation(tf.gather_nd(images, place), *(tf.gather_nd(x, place) for x in amounts))
    # Rounding may have led just out of 0..1.
    return tf.tensor_scatter_nd_update(images, place, tf.clip_by_value(changed, 0.0, 1.0))


def _contrast(images, factor):
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return mean + (images - mean) * factor


def _saturation(images, factor):
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images), 3, axis=-1)
    scaled = tf.clip_by_value(saturation * factor, 0.0, 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue, scaled, value], axis=-1))


def _hue(images, turn):
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images), 3, axis=-1)
    return tf.image.hsv_to_rgb(
        tf.concat([tf.math.floormod(hue + turn, 1.0), saturation, value], axis=-1)
    )


def _to_grey(images):
    red, green, blue = tf.split(images, 3, axis=-1)
    return tf.repeat(0.2989 * red + 0.587 * green + 0.114 * blue, 3, axis=-1)


def _solarise(images):
    return tf.where(images < 0.5, images, 1 - images)
