"""Augmented views of images, each a function of the image and a seed alone.

What is made of an image does not depend on the others of its batch, to the bit. Crops and their
resizing are single operations of TensorFlow. All that follows is compiled by XLA, as a loop over
images: it changes colours several times faster than operations on batches do.
"""

import dataclasses
import functools
import math
import numbers

import numpy as np
import tensorflow as tf

# The CPU computes exp 16 at a time and rounds what is left over differently: in rows of a multiple
# of 16 a result does not depend on its place in the batch.
_LANES = 16
# What the numbers of one view's row of draws, each uniform in [0, 1), decide.
_GEOMETRY = {
    "area": slice(0, _LANES),
    "aspect": slice(_LANES, 2 * _LANES),
    "top": 32,
    "left": 33,
    "flip": 34,
}
_COLOUR = {
    "jitter": 35,
    "order": slice(36, 40),
    "brightness": 40,
    "contrast": 41,
    "saturation": 42,
    "hue": 43,
    "grey": 44,
    "blur": 45,
    "sigma": 46,
    "solarise": 47,
}
_DRAWS = 48
# Of SplitMix64: the distance of two states, and the factors of its mixing.
_STEP, _FACTORS = 0x9E3779B97F4A7C15, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


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
    """All randomness of the two views of each example, uniform in [0, 1): float32 [..., 2, draws].

    The numbers of SplitMix64 (Steele, Lea and Flood 2014), started at a mixture of the arguments.
    TensorFlow's own generators take one seed for a whole batch.

    Args:
        seed: int scalar in [0, 2**31).
        epoch, index: ints in [0, 2**31) of one shape [...]. Equal arguments give equal draws,
            whatever else is drawn, on any device and in any thread.
    """
    step = tf.constant(_STEP, tf.uint64)
    state = tf.zeros_like(index, tf.uint64)
    for part in (seed, epoch, index):
        state = _mixed(state + step + tf.cast(part, tf.uint64))
    places = tf.constant(np.arange(1, 2 * _DRAWS + 1).reshape(2, _DRAWS), tf.uint64)
    numbers = _mixed(state[..., tf.newaxis, tf.newaxis] + places * step)
    # The upper 24 bits: as many as a float32 holds.
    return tf.cast(tf.bitwise.right_shift(numbers, tf.constant(40, tf.uint64)), tf.float32) / 2**24


def seeds(seed, epoch, index):
    """A seed for each of one example's two views, for augmentations of one's own: int64 [2, 2].

    Args:
        seed, epoch, index: as for `draws`, of whose numbers these tell nothing.
    """
    high = tf.bitwise.left_shift(tf.cast(seed, tf.int64), tf.constant(32, tf.int64))
    # `draws` has the keys of indices below 2**31.
    key = tf.stack([high + tf.cast(epoch, tf.int64), tf.cast(index, tf.int64) + 2**32])
    return tf.random.stateless_uniform([2, 2], key, None, None, tf.int64, alg="philox")


def _mixed(state):
    """SplitMix64's way from a state to a number: uint64."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        state = tf.bitwise.bitwise_xor(state, _shifted(state, shift))
        state *= tf.constant(factor, tf.uint64)
    return tf.bitwise.bitwise_xor(state, _shifted(state, 31))


def _shifted(number, bits):
    return tf.bitwise.right_shift(number, tf.constant(bits, tf.uint64))


def view(image, row, policy):
    """One whole view of one image.

    Args:
        image: uint8, or float32 in 0..1, [H, W, 3].
        row: float32 [draws], one row of `draws`.
        policy: `Policy`.

    Returns:
        uint8 [size, size, 3].
    """
    row = row[tf.newaxis]
    box = crop_boxes(tf.shape(image)[tf.newaxis, :2], row, policy)[0]
    return views([part(image, box)], row, policy)[0]


def whole(image, size):
    """The image without any augmentation, for evaluation: float32 [size, size, 3] in 0..1.

    A square in the middle, as large as the image allows, resized.
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.minimum(height, width)
    square = part(image, ((height - side) // 2, (width - side) // 2, side, side))
    return tf.clip_by_value(_resize([square], size)[0] / _white(square), 0.0, 1.0)


def as_float(images):
    """Images as float32 in 0..1: uint8 is divided by 255, floats are taken as they are."""
    images, white = tf.cast(images, tf.float32), _white(images)
    return images / white if white > 1 else images


def crop_boxes(shapes, rows, policy):
    """Where each image is cropped: the first of 16 drawn boxes that fits, else one cut to fit.

    Args:
        shapes: int32 [n, 2], (height, width) of each image.
        rows: float32 [n, draws].
        policy: `Policy`.

    Returns:
        int32 [n, 4], (top, left, height, width) in pixels, inside the image.
    """
    shapes = tf.cast(shapes, tf.float32)
    height, width = shapes[:, :1], shapes[:, 1:]
    area = policy.min_area + (1 - policy.min_area) * rows[:, _GEOMETRY["area"]]
    log_aspect = math.log(policy.max_aspect) * (2 * rows[:, _GEOMETRY["aspect"]] - 1)
    side = tf.sqrt(area * height * width)
    heights = tf.round(side * tf.exp(-log_aspect / 2))
    widths = tf.round(side * tf.exp(log_aspect / 2))
    # argmax of booleans is the first that is true, or 0 where none is.
    fits = tf.cast((heights <= height) & (widths <= width), tf.int32)
    first = tf.argmax(fits, axis=1)[:, tf.newaxis]
    sides = tf.concat([tf.gather(x, first, batch_dims=1) for x in (heights, widths)], axis=1)
    sides = tf.clip_by_value(sides, 1.0, shapes)
    place = rows[:, _GEOMETRY["top"] : _GEOMETRY["left"] + 1]
    return tf.cast(tf.concat([tf.floor(place * (shapes - sides + 1)), sides], axis=1), tf.int32)


def part(image, box):
    """The rectangle (top, left, height, width) of an image [H, W, 3]."""
    top, left, height, width = tf.unstack(box)
    return tf.slice(image, [top, left, 0], [height, width, 3])


def views(crops, rows, policy):
    """What becomes of cropped images: resized, then as `finish` says.

    Args:
        crops: list of n images [h, w, 3] of any sizes, all uint8 or all float32 in 0..1.
        rows: float32 [n, draws].
        policy: `Policy`.

    Returns:
        uint8 [n, size, size, 3].
    """
    return finish(_resize(crops, policy.size), rows, policy, _white(crops[0]), tf.uint8)


def finish(images, rows, policy, white=1.0, dtype=tf.float32):
    """What comes after the resizing: flip, jitter, grey, blur and solarise, in this order.

    Compiled by XLA at the first call for a policy and a shape, which takes a second or two.

    Args:
        images: float32 [n, size, size, 3]; what lies outside of 0..`white` is cut.
        rows: float32 [n, draws].
        policy: `Policy`.
        white: the greatest value of `images`.
        dtype: of the result.

    Returns:
        float32 in 0..1, or uint8 rounded to the nearest of its 256 steps; [n, size, size, 3].
    """
    return _compiled(policy, white, dtype)(images, rows)


def _resize(images, size):
    """Bicubic interpolation, which overshoots at edges: float32 [n, size, size, 3]."""
    # As floats: TensorFlow is slower at bytes.
    resized = [
        tf.image.resize(tf.cast(image, tf.float32)[tf.newaxis], [size, size], method="bicubic")
        for image in images
    ]
    return tf.ensure_shape(tf.concat(resized, 0), [len(images), size, size, 3])


def _white(images):
    return 255.0 if images.dtype == tf.uint8 else 1.0


@functools.cache
def _compiled(policy, white, dtype):
    def finish_one(image, row):
        finished = _finish_one(tf.clip_by_value(image / white, 0.0, 1.0), row, policy)
        return tf.cast(finished * 255 + 0.5, dtype) if dtype == tf.uint8 else finished

    @tf.function(jit_compile=True, autograph=False)
    def finish_each(images, rows):
        return tf.map_fn(
            lambda pair: finish_one(*pair),
            (images, rows),
            fn_output_signature=tf.TensorSpec(images.shape[1:], dtype),
        )

    return finish_each


def _finish_one(image, row, policy):
    draw = {name: row[column] for name, column in (_GEOMETRY | _COLOUR).items()}

    def sometimes(name, operation, planes):
        probability = getattr(policy, name)
        if not probability:
            return planes
        return tf.cond(draw[name] < probability, lambda: operation(planes), lambda: planes)

    # Not a transposition: XLA would leave the colours interleaved in memory, which is slower.
    planes = tf.stack(tf.unstack(image, axis=2))
    planes = sometimes("flip", lambda planes: tf.reverse(planes, [2]), planes)
    if policy.strength:
        planes = sometimes("jitter", lambda planes: _jitter(planes, draw, policy), planes)
    planes = sometimes("grey", _to_grey, planes)
    planes = sometimes("blur", lambda planes: _blur(planes, 0.1 + 1.9 * draw["sigma"]), planes)
    planes = sometimes("solarise", _solarise, planes)
    # Rounding may have led just out of 0..1.
    return tf.clip_by_value(tf.stack(tf.unstack(planes), axis=2), 0.0, 1.0)


def _jitter(planes, draw, policy):
    """Brightness, contrast, saturation and hue of one image, in the order that it drew."""
    reaches = {"brightness": 0.8, "contrast": 0.8, "saturation": policy.saturation}
    factor = {
        name: tf.maximum(1 + reach * policy.strength * (2 * draw[name] - 1), 0.0)
        for name, reach in reaches.items()
    }
    turn = 0.2 * policy.strength * (2 * draw["hue"] - 1)
    order = tf.argsort(draw["order"])

    def change(position, planes):
        changed = tf.switch_case(
            order[position],
            [
                lambda: planes * factor["brightness"],
                lambda: _contrast(planes, factor["contrast"]),
                lambda: _saturation(planes, factor["saturation"]),
                lambda: _hue(planes, turn),
            ],
        )
        return position + 1, tf.clip_by_value(changed, 0.0, 1.0)

    return tf.while_loop(lambda position, _: position < 4, change, (0, planes))[1]


def _contrast(planes, factor):
    mean = tf.reduce_mean(planes, axis=[1, 2], keepdims=True)
    return mean + (planes - mean) * factor


def _saturation(planes, factor):
    """Scales the saturation of HSV, to 1 at most: moves all but the greatest away from it."""
    value, chroma = _value_and_chroma(planes)
    return value - (value - planes) * tf.minimum(factor, tf.math.divide_no_nan(value, chroma))


def _hue(planes, turn):
    """Turns the hue of HSV by a share of the circle."""
    value, chroma = _value_and_chroma(planes)
    red, green, blue = tf.unstack(planes)
    hue = tf.where(
        red >= value,
        green - blue,
        tf.where(green >= value, 2 * chroma + blue - red, 4 * chroma + red - green),
    )
    hue = turn + tf.math.divide_no_nan(hue, 6 * chroma)
    # A colour is full within a sixth of the circle from its own hue, and gone a third away from it.
    away = hue - tf.reshape([0.0, 1 / 3, 2 / 3], [3, 1, 1])
    away = tf.abs(away - tf.round(away))
    return value - chroma * tf.clip_by_value(6 * away - 1, 0.0, 1.0)


def _value_and_chroma(planes):
    value = tf.reduce_max(planes, axis=0)
    return value, value - tf.reduce_min(planes, axis=0)


def _to_grey(planes):
    luma = tf.tensordot(tf.constant([0.2989, 0.587, 0.114]), planes, 1)
    return tf.broadcast_to(luma, planes.shape)


def _solarise(planes):
    return tf.where(planes < 0.5, planes, 1 - planes)


def _blur(planes, sigma):
    """Gaussian blur over a tenth of the side, borders mirrored."""
    side = planes.shape[1]
    radius = max(1, side // 20)
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-tf.square(offsets / sigma) / 2)
    weights = tf.unstack(weights / tf.reduce_sum(weights))
    mirrored = np.pad(np.arange(side), radius, mode="reflect")

    def with_border(planes, axis):
        before, after = mirrored[:radius], mirrored[-radius:]
        border = [tf.gather(planes, places, axis=axis) for places in (before, after)]
        return tf.concat([border[0], planes, border[1]], axis)

    def mixed(bordered, axis):
        shifted = (
            bordered[:, k : k + side] if axis == 1 else bordered[:, :, k : k + side]
            for k in range(2 * radius + 1)
        )
        return functools.reduce(tf.add, map(tf.multiply, weights, shifted))

    def smoothed(planes, axis):
        bordered = with_border(planes, axis)
        # XLA would weave the border into the sum, which is ten times slower, but for a condition
        # between them. This one always holds.
        return tf.cond(sigma > 0, lambda: mixed(bordered, axis), lambda: planes)

    return smoothed(smoothed(planes, axis=1), axis=2)
