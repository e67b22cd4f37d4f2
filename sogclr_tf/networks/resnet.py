"""Residual networks that map images to pooled features (He et al., arXiv 1512.03385).

The layout is the one called v1.5: a bottleneck strides in its 3x3 convolution, and a shortcut has
a 1x1 convolution only where the shape changes. Three details follow SimCLR (arXiv 2002.05709):
the last batch normalization of a block starts with gamma = 0, so that every block starts as its
shortcut; statistics are those of the global batch (`synchronized=True`); and convolutions start
from a truncated normal of variance 1 / fan_in, which is half of He's 2 / fan_in. With
`normalization="group"` there is group normalization (Wu and He, arXiv 1803.08494) in all of these
places. The options `padding`, `stride_in`, `shortcuts` and `input_normalization` are for weights of
other libraries (`pretrained.py`).
"""

import functools
from collections.abc import Callable, Sequence

import keras

from sogclr_tf.networks.image_format import check_channels_last
from sogclr_tf.networks.input_normalization import normalized_images
from sogclr_tf.networks.normalization import normalization as normalization_layer
from sogclr_tf.networks.normalization import require_one_of

STEMS = ("imagenet", "cifar")
PADDINGS = ("same", "symmetric", "fixed")
STRIDES_IN = ("3x3", "1x1")
SHORTCUTS = ("by_shape", "by_stage")
NORMALIZATIONS = ("batch", "group")


def ResNet(  # noqa: N802
    depth: int,
    *,
    width_multiplier: int = 1,
    stem: str = "imagenet",
    normalization: str = "batch",
    padding: str = "same",
    stride_in: str = "3x3",
    shortcuts: str = "by_shape",
    input_normalization: Sequence[Sequence[float]] | None = None,
    input_shape: Sequence[int | None] = (224, 224, 3),
    name: str | None = None,
) -> keras.Model:
    """Returns a residual network (He et al., CVPR 2016, arXiv 1512.03385) without classifier.

    The model maps images float [B, H, W, C] in 0..1 (no mean or deviation is subtracted unless
    `input_normalization` says so) to features float32 [B, C], the average over positions after the
    last ReLU. C is 512 for depths 18 and 34 and 2048 for the others, times `width_multiplier`.
    Features are float32 under mixed precision too. Layers have fixed names such as
    `stage1_block1_conv1`.

    Args:
        depth: 18 or 34 (basic blocks); 50, 101 or 152 (bottleneck blocks).
        width_multiplier: int >= 1, multiplies the channels of every layer, stem included.
        stem: "imagenet", a 7x7 convolution of stride 2 and a 3x3 max pooling of stride 2; or
            "cifar", a 3x3 convolution of stride 1, for images of about 32 pixels.
        normalization: "batch", by the mean and variance of the global batch, in inference by
            running averages of them; or "group", by those of each image alone, over groups of
            channels: 32 groups, or as many as divide both 32 and half the channels.
        padding: of convolutions and pooling of stride 2: "same", as TensorFlow pads, which for an
            even size is one row and column less before than behind; "symmetric", as PyTorch does;
            or "fixed", as SimCLR does: convolutions in PyTorch's way, pooling in TensorFlow's.
        stride_in: the convolution of a bottleneck block that has its stride: "3x3", or "1x1",
            the first one, as in the paper and keras.applications. Basic blocks have no choice.
        shortcuts: which have a 1x1 convolution: "by_shape", those where the shape changes; or
            "by_stage", the first of every stage, as in SimCLR's code. It matters to basic blocks.
        input_normalization: (mean, deviation), a float per channel each, of images in 0..1,
            subtracted and divided by in a layer without weights; None for none.
        input_shape: (height, width, channels); height and width may be None.
        name: the model's name, `resnet<depth>` unless given.

    Returns:
        A Keras model from images float [B, H, W, channels] in 0..1 to features float32 [B, C].

    Raises:
        ValueError: for an unknown depth, stem, normalization, padding, stride_in or shortcuts, a
            width multiplier below 1, an input_normalization that is not as above, an input shape
            that is not (height, width, channels), or where Keras is set to channels_first.

    Examples:
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.ResNet(18, stem="cifar", input_shape=(32, 32, 3))
        >>> encoder.output_shape
        (None, 512)
    """
    require_one_of("depth", depth, _LAYOUTS)
    require_one_of("stem", stem, STEMS)
    require_one_of("normalization", normalization, NORMALIZATIONS)
    require_one_of("padding", padding, PADDINGS)
    require_one_of("stride_in", stride_in, STRIDES_IN)
    require_one_of("shortcuts", shortcuts, SHORTCUTS)
    _require_positive_int("width_multiplier", width_multiplier)
    block, blocks = _LAYOUTS[depth]
    if block is _bottleneck_block:
        block = functools.partial(block, stride_in=stride_in)
    elif stride_in != "3x3":
        raise ValueError(f"stride_in is {stride_in!r}; the blocks of depth {depth} take only 3x3.")
    widths = [64 * width_multiplier * 2**stage for stage in range(4)]
    images = _image_input(input_shape)
    convolve = functools.partial(_convolve, normalization=normalization, padding=padding)
    x = normalized_images(images, input_normalization)
    x = _stem(x, convolve, widths[0], stem, padding)
    x = _stages(x, functools.partial(block, convolve), widths, blocks, shortcuts == "by_stage")
    return keras.Model(images, _pool(x), name=name or f"resnet{depth}")


def small_resnet(
    *,
    widths: Sequence[int] = (32, 64, 128),
    blocks_per_stage: int = 1,
    stem_stride: int = 1,
    normalization: str = "batch",
    input_shape: Sequence[int | None] = (32, 32, 3),
    name: str | None = None,
) -> keras.Model:
    """Returns a small residual network (arXiv 1512.03385), of a size that a CPU can train.

    The model maps images float [B, H, W, C] in 0..1 to features float32 [B, widths[-1]], as
    `ResNet` does: a 3x3 stem, then one stage per width, each but the first of stride 2.

    Args:
        widths: channels of each stage, ints >= 1; the stem has `widths[0]`.
        blocks_per_stage: basic blocks in each stage, int >= 1.
        stem_stride: stride of the stem, int >= 1; 2 makes the network about four times faster.
        normalization: "batch" or "group", as in `ResNet`.
        input_shape: (height, width, channels); height and width may be None.
        name: the model's name, `small_resnet` unless given.

    Returns:
        A Keras model from images float [B, H, W, channels] in 0..1 to features float32 [B, C],
        C being the last of `widths`.

    Raises:
        ValueError: if `widths` is empty, if a number is not an int >= 1, for an unknown
            normalization, or for an input shape that is not (height, width, channels).

    Examples:
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.small_resnet(widths=(16, 32), input_shape=(32, 32, 3))
        >>> encoder.output_shape
        (None, 32)
    """
    if not widths:
        raise ValueError("widths is empty; give the channels of at least one stage.")
    for width in widths:
        _require_positive_int("each of widths", width)
    _require_positive_int("blocks_per_stage", blocks_per_stage)
    _require_positive_int("stem_stride", stem_stride)
    require_one_of("normalization", normalization, NORMALIZATIONS)
    convolve = functools.partial(_convolve, normalization=normalization, padding="same")
    images = _image_input(input_shape)
    x = convolve(images, widths[0], 3, stem_stride, "stem_", relu=True)
    block = functools.partial(_basic_block, convolve)
    features = _pool(_stages(x, block, widths, [blocks_per_stage] * len(widths)))
    return keras.Model(images, features, name=name or "small_resnet")


def stages() -> dict[int, tuple[bool, tuple[int, ...]]]:
    """{depth: (whether its blocks are bottlenecks, ints: how many of them each stage has)}."""
    return {
        depth: (block is _bottleneck_block, blocks) for depth, (block, blocks) in _LAYOUTS.items()
    }


def _require_positive_int(what, value):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{what} is {value!r}; give an int of at least 1.")


def _image_input(input_shape):
    check_channels_last()
    if len(input_shape) != 3 or input_shape[-1] is None:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}; give (height, width, channels), "
            "of which height and width may be None."
        )
    return keras.Input(tuple(input_shape), name="images")


def _stem(x, convolve, width, stem, padding):
    if stem == "cifar":
        return convolve(x, width, 3, 1, "stem_", relu=True)
    x = convolve(x, width, 7, 2, "stem_", relu=True)
    if padding == "symmetric":
        # After a ReLU nothing is below zero, so that a border of zeros never changes a maximum.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    padding = "valid" if padding == "symmetric" else "same"
    return keras.layers.MaxPooling2D(3, 2, padding=padding, name="stem_pool")(x)


def _convolve(
    x, filters, kernel_size, stride, prefix, suffix="", *, relu, normalization, padding, **options
):
    """A convolution, its normalization (which takes the options) and, if asked, a ReLU."""
    if padding in ("symmetric", "fixed"):
        # Where the stride is 1, "same" is symmetric; a 1x1 convolution needs no border.
        padding = "same"
        if stride > 1 and kernel_size > 1:
            name = f"{prefix}pad{suffix}"
            x, padding = keras.layers.ZeroPadding2D(kernel_size // 2, name=name)(x), "valid"
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(),
        name=f"{prefix}conv{suffix}",
    )(x)
    x = normalization_layer(normalization, prefix, suffix, channels=filters, **options)(x)
    return keras.layers.ReLU(name=f"{prefix}relu{suffix}")(x) if relu else x


def _basic_block(convolve, x, width, stride, prefix, project):
    residual = convolve(x, width, 3, stride, prefix, 1, relu=True)
    residual = convolve(residual, width, 3, 1, prefix, 2, relu=False, gamma_initializer="zeros")
    return _add_shortcut(convolve, x, residual, stride, prefix, project)


def _bottleneck_block(convolve, x, width, stride, prefix, project, stride_in="3x3"):
    strides = (1, stride) if stride_in == "3x3" else (stride, 1)
    residual = convolve(x, width, 1, strides[0], prefix, 1, relu=True)
    residual = convolve(residual, width, 3, strides[1], prefix, 2, relu=True)
    residual = convolve(residual, 4 * width, 1, 1, prefix, 3, relu=False, gamma_initializer="zeros")
    return _add_shortcut(convolve, x, residual, stride, prefix, project)


def _add_shortcut(convolve, x, residual, stride, prefix, project):
    channels = residual.shape[-1]
    if project or stride != 1 or x.shape[-1] != channels:
        x = convolve(x, channels, 1, stride, f"{prefix}shortcut_", relu=False)
    x = keras.layers.Add(name=f"{prefix}add")([x, residual])
    return keras.layers.ReLU(name=f"{prefix}relu")(x)


def _stages(x, block, widths, blocks, by_stage=False):
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        for index in range(1, count + 1):
            stride = 2 if stage > 1 and index == 1 else 1
            project = by_stage and index == 1
            x = block(x, width, stride, f"stage{stage}_block{index}_", project)
    return x


def _pool(x):
    # A mean over many positions loses digits in 16 bits, and the loss needs float32 anyway.
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x)


_LAYOUTS: dict[int, tuple[Callable, tuple[int, ...]]] = {
    18: (_basic_block, (2, 2, 2, 2)),
    34: (_basic_block, (3, 4, 6, 3)),
    50: (_bottleneck_block, (3, 4, 6, 3)),
    101: (_bottleneck_block, (3, 4, 23, 3)),
    152: (_bottleneck_block, (3, 8, 36, 3)),
}
