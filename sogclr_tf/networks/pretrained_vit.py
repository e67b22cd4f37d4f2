"""The weights of MoCo v3's, DINO's and timm's Vision Transformers in those of `ViT`.

All three name their arrays as timm does. A file says neither how many heads the attention has nor
how images are to be normalized: `import_vit` takes what the published weights have, and can be
told.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from sogclr_tf.networks import weight_files
from sogclr_tf.networks.positions import resampled_positions, sine_cosine_positions
from sogclr_tf.networks.vision_transformer import SIZES, ViT
from sogclr_tf.networks.vit_layout import counterpart, value
from sogclr_tf.networks.weight_accounts import check_fit, listed, without_the_rest
from sogclr_tf.networks.weight_layouts import IMAGENET, LAYOUTS

# By an array that other networks lack.
_OTHERS = (
    (r"dist_token", "a distilled DeiT"),
    (r"reg(ister)?_tokens?$", "a ViT with register tokens"),
    (r"\.ls\d\.|\.gamma_\d$|lambda_\d$", "a ViT with layer scale (DINOv2, DeiT III, BEiT)"),
    (r"\.[qk]_norm\.", "a ViT that normalizes queries and keys"),
    (r"rel_pos|relative_pos", "a ViT with relative positions"),
    (r"norm_pre\.", "a ViT with a normalization before its blocks (CLIP)"),
    (r"attn_pool\.", "a ViT that pools by attention (SigLIP)"),
    (r"patch_embed\.(backbone|proj\.\d)", "a ViT with convolutions before its patches"),
    (r"embeddings\.cls_token", "a ViT by the names of Hugging Face's transformers, not of timm"),
    (r"encoder_layer_\d|class_token", "a ViT by the names of torchvision, not of timm"),
)
_LEFT_OUT = (
    *LAYOUTS["PyTorch"].left_out,
    (r"(module\.)?head\.|{prefix}(head|pre_logits)\.", "the classifier or projector"),
)
_USUAL_HEADS = {"tiny": 3, "small": 6, "base": 12}


@dataclasses.dataclass(frozen=True)
class ViTReport:
    """What became of the arrays of a file; `str` of it is what the command prints.

    Attributes:
        size, patch_size, depth, heads, pooling: of the network, as `ViT` takes them.
        heads_by: why so many heads.
        positions: what kind they are, and whether they were resampled.
        arrays: how many arrays were used, each once.
        parameters: how many numbers the encoder holds, all of them set.
        left_out: {reason: list of names} of the arrays that were not used.
    """

    size: str
    patch_size: int
    depth: int
    heads: int
    pooling: str
    heads_by: str
    positions: str
    arrays: int
    parameters: int
    left_out: dict

    def __str__(self) -> str:
        pooled = "class token" if self.pooling == "token" else "mean of patches"
        lines = [
            f"ViT {self.size} with {self.depth} blocks and patches of {self.patch_size} x "
            f"{self.patch_size}, features from the {pooled}, by the names of timm",
            f"heads     {self.heads}, {self.heads_by}",
            f"positions {self.positions}",
            f"used      {self.arrays} arrays, for all {self.parameters:,} numbers of the encoder",
        ]
        for reason, names in self.left_out.items():
            lines.append(f"left out  {reason}: {listed(names)}")
        return "\n".join(lines)


def holds_vit(stored: weight_files.Stored) -> bool:
    """Whether these are the arrays of a Vision Transformer, of any kind."""
    marks = r"(^|\.)(cls_token|class_token|pos_embed|patch_embed|patch_embeddings)\b"
    return any(re.search(marks, name) for name in stored.arrays)


def import_vit(
    source: Any,
    *,
    heads: int | None = None,
    input_shape: Sequence[int] = (224, 224, 3),
    input_normalization: Any = "published",
) -> tuple[keras.Model, ViTReport]:
    """Returns (encoder, `ViTReport`) from the weights of a ViT that was trained elsewhere.

    Width, depth, patches and positions are found from the arrays. Every one of them is used once or
    in the report, and every weight of the encoder is set once.

    Args:
        source: what `weight_files.read` takes: a path or a state dict, with timm's names. The
            encoder may be a part called `base_encoder` (MoCo v3), `backbone` (DINO) or `encoder`,
            all of it below `module` or not. Of DINO's two networks the teacher is taken.
        heads: of the attention; None for 12 in a small ViT of MoCo v3, which is known by
            `base_encoder` or by its fixed positions, and otherwise 3, 6 and 12 in tiny, small and
            base, as of DINO and timm. Another number fits the same arrays, with other features.
        input_shape: (height, width, channels) of the encoder. Learned positions of another grid of
            patches are resampled by bicubic interpolation; fixed ones are computed anew.
        input_normalization: "published" for ImageNet's mean and deviation, as MoCo v3 and DINO; or
            (mean, deviation) of the channels in 0..1, a float for each; or None. Of timm's weights
            many expect ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), which a file does not say.

    Returns:
        The encoder is a `ViT` of standard layers: images float32 [B, H, W, C] in 0..1 to features
        float32 [B, width].

    Raises:
        ValueError: the source cannot be read, is another network, or its arrays do not fit: all
            misfits in one line.
        ImportError: PyTorch or safetensors is needed and not installed.

    Examples:
        >>> import sogclr_tf
        >>> try:
        ...     sogclr_tf.import_vit({"conv1.weight": [[0.0]]}, input_shape=(224, 224, 3))
        ... except ValueError as error:
        ...     print(str(error).partition(":")[0])
        the state dict holds no ViT
    """
    stored = weight_files.read(source)
    prefix = LAYOUTS["PyTorch"].prefix(stored.arrays)
    arrays, left_out = without_the_rest(stored, _LEFT_OUT, prefix)
    _check_kind(stored.origin, arrays, prefix)
    found = _network(stored.origin, arrays, prefix)
    positions = _Positions(stored.origin, arrays, prefix, found, input_shape)
    usual, reason = _usual_heads(found["size"], prefix, positions.fixed)
    published = isinstance(input_normalization, str) and input_normalization == "published"
    encoder = ViT(
        **found,
        heads=usual if heads is None else heads,
        positions="sincos" if positions.fixed else "learned",
        input_normalization=IMAGENET if published else input_normalization,
        input_shape=input_shape,
    )
    _fill(encoder, stored.origin, arrays, prefix, positions)
    report = ViTReport(
        **found,
        heads=usual if heads is None else heads,
        heads_by=reason if heads is None else f"as said ({usual} would be usual)",
        positions=str(positions),
        arrays=len(arrays),
        parameters=encoder.count_params(),
        left_out=left_out,
    )
    return encoder, report


def _fill(encoder, origin, arrays, prefix, positions):
    """Sets every weight by the array that holds it."""
    last = "norm" if positions.tokens else "fc_norm"
    fits = {variable.path: counterpart(variable, last) for variable in encoder.weights}
    shapes = {f"{prefix}{fit.name}": fit.shape for fit in fits.values()}
    check_fit(origin, encoder.name, arrays, shapes | {positions.name: positions.shape})
    for variable in encoder.weights:
        name = f"{prefix}{fits[variable.path].name}"
        is_position = name == positions.name
        variable.assign(positions.value(variable) if is_position else value(variable, arrays[name]))


def _check_kind(origin, arrays, prefix):
    for pattern, what in _OTHERS:
        name = next((name for name in arrays if re.search(pattern, name)), None)
        if name:
            raise ValueError(f"{origin} is {what} (it has {name}), which cannot be imported")
    if not any(re.match(rf"{re.escape(prefix)}blocks\.\d+\.", name) for name in arrays):
        raise ValueError(
            f"{origin} holds no ViT: expected arrays such as {prefix}blocks.0.attn.qkv.weight, it "
            f"holds {listed(arrays) or 'none'}"
        )


def _network(origin, arrays, prefix):
    """{"size", "patch_size", "depth", "pooling"} by the names and shapes of arrays."""
    kernel = arrays.get(f"{prefix}patch_embed.proj.weight")
    if kernel is None or kernel.ndim != 4 or kernel.shape[2] != kernel.shape[3]:
        shape = "missing" if kernel is None else f"of shape {kernel.shape}"
        raise ValueError(
            f"{origin} does not fit a ViT: {prefix}patch_embed.proj.weight is {shape}, expected "
            "(width, channels, side, side)"
        )
    sizes = {width: size for size, (width, _) in SIZES.items()}
    if len(kernel) not in sizes:
        raise ValueError(
            f"{origin} is a ViT of width {len(kernel)}: expected "
            f"{', '.join(f'{width} ({size})' for width, size in sizes.items())}"
        )
    # timm calls the last normalization so where it stands behind the mean.
    is_mean = f"{prefix}fc_norm.weight" in arrays and f"{prefix}cls_token" not in arrays
    numbers = {int(number) for name in arrays for number in re.findall(r"blocks\.(\d+)\.", name)}
    return {
        "size": sizes[len(kernel)],
        "patch_size": kernel.shape[2],
        "depth": max(numbers) + 1,
        "pooling": "mean" if is_mean else "token",
    }


def _usual_heads(size, prefix, is_fixed):
    """(heads, why)."""
    if size == "small" and (is_fixed or "base_encoder" in prefix):
        return SIZES[size][1], "as MoCo v3 has, whose arrays these are by name or positions"
    return _USUAL_HEADS[size], "as DINO and timm have (a file does not say it)"


class _Positions:
    """Those of a file, for the patches of the encoder."""

    def __init__(self, origin, arrays, prefix, found, input_shape):
        self.name = f"{prefix}pos_embed"
        width, patch = SIZES[found["size"]][0], found["patch_size"]
        self.tokens = 1 if found["pooling"] == "token" else 0
        self.new_grid = tuple(side // patch for side in input_shape[:2] if side)
        table = arrays.get(self.name)
        is_table = table is not None and table.ndim == 3 and table.shape[1] > self.tokens
        # Whatever is wrong otherwise is told with the other misfits.
        count = table.shape[1] - self.tokens if is_table else math.prod(self.new_grid)
        self.shape = (1, count + self.tokens, width)
        self.grid = self._grid_of(origin, count)
        self._table = table[0] if is_table and table.shape == self.shape else None
        self.fixed = self._table is not None and self._are_fixed(width)

    def _grid_of(self, origin, count):
        side = math.isqrt(count)
        if side**2 == count:
            return side, side
        if count == math.prod(self.new_grid):
            return self.new_grid
        if math.isqrt(count + self.tokens) ** 2 == count + self.tokens:
            raise ValueError(
                f"{origin} is a ViT whose class token has no position ({self.name} is of "
                f"{count + self.tokens} patches alone), which cannot be imported"
            )
        raise ValueError(
            f"{origin} has positions of {count} patches, which are no square: give the "
            "input_shape (--image_size) that it was trained with"
        )

    def _are_fixed(self, width):
        fixed = np.zeros(self._table.shape)
        fixed[self.tokens :] = sine_cosine_positions(self.grid, width)
        return np.allclose(self._table, fixed, rtol=0, atol=1e-4)

    def value(self, computed):
        """[tokens, width] of the file for the encoder's grid; `computed` are those of a new one."""
        if self.grid == self.new_grid:
            return self._table
        if self.fixed:
            return computed
        patches = resampled_positions(self._table[self.tokens :], self.grid, self.new_grid)
        return np.concatenate([self._table[: self.tokens], patches])

    def __str__(self):
        kind = "fixed sines and cosines" if self.fixed else "learned"
        grids = ("{} x {}".format(*grid) for grid in (self.grid, self.new_grid))
        if self.grid == self.new_grid:
            return f"{kind}, of {next(grids)} patches as in the file"
        how = "computed anew" if self.fixed else "resampled by bicubic interpolation"
        return "{}, {} for {} patches instead of {}".format(kind, how, *reversed([*grids]))
