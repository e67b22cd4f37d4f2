"""The two image operations of tensorflow-addons that pipelines for contrastive learning used.

They stand in place of `tfa.image.adjust_hsv_in_yiq` and `tfa.image.gaussian_filter2d`, give the
same numbers, and work eagerly, in a tf.function and in tf.data. They serve augmentations of one's
own; `sogclr_tf.Policy` has no need of them.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Of NTSC. A row each for Y (brightness), I and Q (the plane of colors).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
# What is done in YIQ, as done to RGB.
_KEEP_BRIGHTNESS, _KEEP_COLOR, _QUARTER_TURN = (
    (np.linalg.inv(_YIQ) @ change @ _YIQ).astype(np.float32)
    for change in (
        np.diag([1, 0, 0]),
        np.diag([0, 1, 1]),
        np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]),
    )
)
_PADDINGS = ("REFLECT", "CONSTANT", "SYMMETRIC")


def adjust_hsv_in_yiq(
    images: tf.Tensor | np.ndarray,
    delta_hue: float | np.ndarray | tf.Tensor = 0.0,
    scale_saturation: float | np.ndarray | tf.Tensor = 1.0,
    scale_value: float | np.ndarray | tf.Tensor = 1.0,
) -> tf.Tensor:
    """Turns the hue, scales saturation and value, all by one 3x3 matrix per image.

    The color plane of YIQ is turned by `delta_hue` and scaled by `scale_saturation`; then all is
    scaled by `scale_value`. That is linear, and not the same as to go through HSV: a turn in YIQ
    keeps the brightness Y, a turn in HSV keeps the largest channel.

    Args:
        images: floats, any range, or uint8; [H, W, 3] or [N, H, W, 3].
        delta_hue: in radians, from red by way of magenta to blue; a number, or [N].
        scale_saturation: factor >= 0; a number, or [N]. 0 leaves gray.
        scale_value: factor >= 0; a number, or [N].

    Returns:
        As `images`. Floats are not clipped: values in 0..1 may leave it. uint8 is rounded and
        clipped.

    Raises:
        ValueError: images of another shape or dtype.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> red = tf.constant([[[1.0, 0.0, 0.0]]])
        >>> gray = sogclr_tf.adjust_hsv_in_yiq(red, scale_saturation=0.0)
        >>> print([round(float(value), 2) for value in gray[0, 0]])
        [0.3, 0.3, 0.3]
    """
    images = _checked(images, channels=3)
    delta_hue, scale_saturation, scale_value = (
        tf.cast(x, tf.float32) for x in (delta_hue, scale_saturation, scale_value)
    )
    along = scale_saturation * tf.cos(delta_hue)
    across = scale_saturation * tf.sin(delta_hue)
    matrix = _per_image(scale_value) * (
        _KEEP_BRIGHTNESS + _per_image(along) * _KEEP_COLOR + _per_image(across) * _QUARTER_TURN
    )
    if matrix.shape.rank == 3:
        # To go with rows of pixels, [N, H, W, 3].
        matrix = matrix[:, tf.newaxis]
    return _in_floats(images, lambda x: tf.linalg.matmul(x, matrix, transpose_b=True))


def gaussian_filter2d(
    images: tf.Tensor | np.ndarray,
    filter_shape: int | Sequence[int] = (3, 3),
    sigma: float | Sequence[float] | tf.Tensor = 1.0,
    padding: str = "REFLECT",
    constant_values: float = 0,
) -> tf.Tensor:
    """Blurs by a Gaussian window, rows and columns in turn.

    Args:
        images: floats, any range, or uint8; [H, W, C] or [N, H, W, C].
        filter_shape: (rows, columns) of the window in pixels, whole numbers >= 1, or one for both.
            A window of even length reaches one pixel further down or right.
        sigma: in pixels, > 0; a number, or a pair for rows and columns. The same for all images.
        padding: what lies beyond the border: "REFLECT" (mirrored, the border pixel not
            repeated), "SYMMETRIC" (mirrored, the border pixel repeated) or "CONSTANT".
        constant_values: the value for "CONSTANT".

    Returns:
        As `images`; uint8 is rounded.

    Raises:
        ValueError: an argument is out of range; a mirrored border wider than the images.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> point = np.zeros([1, 5, 5, 1], np.float32)
        >>> point[0, 2, 2, 0] = 1
        >>> blurred = sogclr_tf.gaussian_filter2d(point, filter_shape=(3, 3), sigma=1.0)
        >>> print(f"{float(blurred[0, 2, 2, 0]):.3f}")
        0.204
    """
    images = _checked(images)
    if padding not in _PADDINGS:
        raise ValueError(f"padding is '{padding}': choose one of {', '.join(_PADDINGS)}")
    lengths = _pair("filter_shape", filter_shape)
    if not all(length >= 1 and int(length) == length for length in lengths):
        raise ValueError(f"filter_shape is {filter_shape}: expected whole numbers >= 1")
    if padding != "CONSTANT":
        _check_border(images.shape[-3:-1], lengths, padding)
    sigmas = _pair("sigma", sigma)
    if any(known is not None and not known > 0 for known in map(tf.get_static_value, sigmas)):
        raise ValueError(f"sigma is {sigma}: a width in pixels is > 0")

    def blur(x):
        for axis, length, width in zip((1, 2), lengths, sigmas, strict=True):
            x = _blur_axis(x, int(length), width, axis, padding, constant_values)
        return x

    return _in_floats(images, blur)


def _blur_axis(images, length, sigma, axis, padding, constant):
    before = (length - 1) // 2
    borders = [[0, 0]] * 4
    borders[axis] = [before, length - 1 - before]
    offsets = tf.range(-before, length - before, dtype=tf.float32)
    weights = tf.nn.softmax(-tf.square(offsets / tf.cast(sigma, tf.float32)) / 2)
    shape = [1, 1, 1, 1]
    shape[axis - 1] = length
    kernel = tf.tile(tf.reshape(weights, shape), [1, 1, tf.shape(images)[3], 1])
    padded = tf.pad(images, borders, padding, constant)
    return tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")


def _per_image(values):
    """Numbers, scalar or [N], to go with matrices."""
    return values[..., tf.newaxis, tf.newaxis]


def _in_floats(images, operation):
    """Applies `operation`, from and to float32 [N, H, W, C], to images of any shape and dtype."""
    single = images.shape.rank == 3
    batch = tf.cast(images[tf.newaxis] if single else images, tf.float32)
    result = operation(batch)
    result = tf.ensure_shape(result[0] if single else result, images.shape)
    if images.dtype.is_integer:
        return tf.cast(tf.clip_by_value(tf.round(result), 0.0, 255.0), images.dtype)
    return tf.cast(result, images.dtype)


def _checked(images, channels=None):
    images = tf.convert_to_tensor(images)
    if not (images.dtype.is_floating or images.dtype == tf.uint8):
        raise ValueError(f"images are of {images.dtype.name}: expected floats or uint8")
    shape = images.shape
    if shape.rank not in (3, 4) or (channels and shape[-1] != channels):
        last = channels or "C"
        raise ValueError(f"images have shape {shape}: expected [H, W, {last}] or [N, H, W, {last}]")
    return images


def _check_border(sides, lengths, padding):
    for side, length in zip(sides, lengths, strict=True):
        widest = None if side is None else 2 * side + (-1 if padding == "REFLECT" else 1)
        if side is not None and length > widest:
            raise ValueError(
                f"filter_shape is {length} along a side of {side}: with {padding} it is at most "
                f'{widest}; padding="CONSTANT" has no limit'
            )


def _pair(name, value):
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} is {value}: expected one number or a pair")
        return tuple(value)
    return value, value
