"""Vision Transformers that map images to features (Dosovitskiy et al., arXiv 2010.11929).

The manner is that of MoCo v3 (Chen et al., arXiv 2104.02057): positions are fixed sines and
cosines in two dimensions, the projection of patches may stay as it was drawn, and weights start
from Xavier's uniform distribution, those of queries, keys and values each by itself. Blocks are
pre-normalized: self-attention, then a two-layer network four times as wide with the exact GELU,
each added to what went in.

All layers are Keras's own, so that `keras.models.load_model` reads an encoder without this package.
Keras has no layer for a token or a position by itself; an `Embedding` that looks up rows whose
numbers are known beforehand is one.
"""

from collections.abc import Sequence

import keras
import numpy as np

from sogclr_tf.networks.image_format import check_channels_last
from sogclr_tf.networks.input_normalization import normalized_images
from sogclr_tf.networks.normalization import require_one_of
from sogclr_tf.networks.positions import sine_cosine_positions

# {size: (width, heads)}. Of "small", MoCo v3 has 12 heads, DINO and timm 6.
SIZES = {"tiny": (192, 3), "small": (384, 12), "base": (768, 12)}
POOLINGS = ("token", "mean")
POSITIONS = ("sincos", "learned")


def ViT(  # noqa: N802
    size: str,
    *,
    patch_size: int = 16,
    depth: int = 12,
    heads: int | None = None,
    pooling: str = "token",
    positions: str = "sincos",
    freeze_patches: bool = False,
    input_normalization: Sequence[Sequence[float]] | None = None,
    input_shape: Sequence[int | None] = (224, 224, 3),
    name: str | None = None,
) -> keras.Model:
    """Returns a Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) without classifier.

    The model maps images float [B, H, W, C] in 0..1 (no mean or deviation is subtracted unless
    `input_normalization` says so) to features float32 [B, width], normalized by the last layer
    (LayerNorm). Features are float32 under mixed precision too. Layers have fixed names such as
    `block1_attention`.

    Args:
        size: "tiny" (width 192, 3 heads), "small" (384, 12) or "base" (768, 12).
        patch_size: side of the square patches in pixels, int >= 1; divides height and width.
            The time of a step grows with the number of patches.
        depth: number of blocks, int >= 1; those of the published networks are 12.
        heads: of the attention, int >= 1 that divides the width; None for those of the size, which
            are MoCo v3's. The "small" of DINO and timm has 6.
        pooling: "token", the output of a class token that is put before the patches; or "mean",
            that of all patches, without such a token. The mean comes before the last normalization.
        positions: "sincos", fixed and no weights to train; or "learned".
        freeze_patches: whether the projection of patches keeps its random start, which made the
            training of MoCo v3 more stable. Its layer, `patches`, is not trainable then.
        input_normalization: (mean, deviation), a float per channel each, of images in 0..1,
            subtracted and divided by in a layer without weights; None for none.
        input_shape: (height, width, channels), all known.
        name: the model's name, `vit_<size>` unless given.

    Returns:
        A Keras model from images float [B, H, W, channels] in 0..1 to features float32 [B, C].

    Raises:
        ValueError: for an unknown size, pooling or positions, a number that is not as above, a
            height or width that is not known or that `patch_size` does not divide, or where Keras
            is set to channels_first.

    Examples:
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.ViT("tiny", patch_size=8, input_shape=(32, 32, 3), depth=2)
        >>> encoder.output_shape
        (None, 192)
    """
    require_one_of("size", size, SIZES)
    require_one_of("pooling", pooling, POOLINGS)
    require_one_of("positions", positions, POSITIONS)
    width, usual_heads = SIZES[size]
    heads = usual_heads if heads is None else heads
    for what, value in (("patch_size", patch_size), ("depth", depth), ("heads", heads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{what} is {value!r}; give an int of at least 1.")
    if width % heads:
        raise ValueError(f"heads is {heads}; give a number that divides the width, {width}.")
    grid = _grid(input_shape, patch_size)
    images = keras.Input(tuple(input_shape), name="images")
    x = normalized_images(images, input_normalization)
    x = _tokens(x, width, patch_size, grid, has_class=pooling == "token", freeze=freeze_patches)
    x = _with_positions(x, grid, positions)
    for number in range(1, depth + 1):
        x = _block(x, heads, f"block{number}_")
    return keras.Model(images, _features(x, pooling), name=name or f"vit_{size}")


def _grid(input_shape, patch_size):
    """(rows, columns) of patches."""
    check_channels_last()
    if len(input_shape) != 3 or None in input_shape:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}; give (height, width, channels), all of them "
            f"known, since a ViT has positions for so many patches."
        )
    sides = input_shape[:2]
    if not all(side >= patch_size and side % patch_size == 0 for side in sides):
        below = [max(side // patch_size, 1) * patch_size for side in sides]
        above = [-(-side // patch_size) * patch_size for side in sides]
        fitting = [_by(sides) for sides in (below, above)]
        raise ValueError(
            f"patch_size {patch_size} does not divide images of {_by(sides)}: take images of "
            f"{' or '.join(dict.fromkeys(fitting))}, or another patch_size."
        )
    return tuple(side // patch_size for side in sides)


def _by(sides):
    return " x ".join(map(str, sides))


def _tokens(x, width, patch_size, grid, *, has_class, freeze):
    """[B, tokens, width]: a class token, if there is one, and the patches row by row."""
    # Xavier's of the patch as one vector; that of a convolution would count every pixel's outputs.
    x = keras.layers.Conv2D(
        width,
        patch_size,
        patch_size,
        kernel_initializer=_uniform(patch_size**2 * x.shape[-1] + width),
        trainable=not freeze,
        name="patches",
    )(x)
    x = keras.layers.Reshape((grid[0] * grid[1], width), name="patches_in_a_row")(x)
    if not has_class:
        return x
    token = keras.layers.Embedding(
        1,
        width,
        embeddings_initializer=keras.initializers.RandomNormal(0, 1e-6),
        name="class_token",
    )(_zeros(x[:, :1, 0]))
    return keras.layers.Concatenate(axis=1, name="tokens")([token, x])


def _with_positions(x, grid, positions):
    _, count, width = x.shape
    if positions == "sincos":
        fixed = np.zeros((count, width), "float32")
        # A class token has none.
        fixed[-grid[0] * grid[1] :] = sine_cosine_positions(grid, width)
        initializer = keras.initializers.Constant(fixed)
    else:
        initializer = keras.initializers.TruncatedNormal(0, 0.02)
    # No sum: Keras adds a vector by an operation for biases, which TFLite has for floats alone.
    rows = keras.ops.maximum(_zeros(x[:1, :, 0]), np.arange(count, dtype="int32"))
    table = keras.layers.Embedding(
        count,
        width,
        embeddings_initializer=initializer,
        trainable=positions == "learned",
        name="positions",
    )(rows)
    return keras.layers.Add(name="tokens_at_positions")([x, table])


def _block(x, heads, prefix):
    width = x.shape[-1]
    y = _normalize(f"{prefix}norm1")(x)
    y = keras.layers.MultiHeadAttention(
        heads, width // heads, kernel_initializer=_uniform(2 * width), name=f"{prefix}attention"
    )(y, y)
    x = keras.layers.Add(name=f"{prefix}add1")([x, y])
    y = _normalize(f"{prefix}norm2")(x)
    y = keras.layers.Dense(4 * width, activation="gelu", name=f"{prefix}widen")(y)
    y = keras.layers.Dense(width, name=f"{prefix}narrow")(y)
    return keras.layers.Add(name=f"{prefix}add2")([x, y])


def _features(x, pooling):
    _, count, width = x.shape
    if pooling == "mean":
        # A mean over many positions loses digits in 16 bits, and the loss needs float32 anyway.
        x = keras.layers.GlobalAveragePooling1D(dtype="float32", name="mean")(x)
    else:
        x = keras.layers.Cropping1D((0, count - 1), name="class_token_alone")(x)
        x = keras.layers.Reshape((width,), name="class_vector")(x)
    return _normalize("features", dtype="float32")(x)


def _normalize(name, **options):
    return keras.layers.LayerNormalization(epsilon=1e-6, name=name, **options)


def _uniform(fans):
    """Xavier's uniform distribution, of inputs plus outputs."""
    limit = (6 / fans) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)


def _zeros(x):
    """Zeros int32 of the shape of `x`, which depend on the model's input as Keras demands."""
    return keras.ops.zeros_like(x, dtype="int32")
