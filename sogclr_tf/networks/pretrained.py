"""The weights of ResNets of PyTorch, keras.applications and SimCLR in those of `resnet.ResNet`.

The networks are the same but for details, which the import makes up for exactly:

- PyTorch pads as many rows before an image as behind it (`padding="symmetric"`).
- Theirs expect images normalized by a mean and deviation, ours images in 0..1. Zeros are padded
  after that, so it cannot go into the first kernel and is a layer of its own.
- keras.applications strides in the first convolution of a block (`stride_in="1x1"`), takes blue,
  green, red (the first kernel is turned around), and has biases before its batch normalizations
  (taken off their moving means) and another epsilon in them (added to their moving variances).
- SimCLR pads convolutions as PyTorch does and its pooling as TensorFlow does (`padding="fixed"`),
  and has a convolution in the first shortcut of every stage (`shortcuts="by_stage"`).
"""

import collections
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from sogclr_tf.networks import resnet, weight_files
from sogclr_tf.networks.weight_accounts import check_fit, listed, without_the_rest
from sogclr_tf.networks.weight_layouts import LAYOUTS

_STEMS = {(7, 7): "imagenet", (3, 3): "cifar"}
_OTHERS = (
    (r"(cls_token|pos_embed|patch_embed)", "a vision transformer, which import_vit takes"),
    (r"(preact|post)_bn", "a ResNet of version 2"),
    (r"conv\d_block\d+_2_conv/depthwise", "a ResNeXt"),
    (r"^stem_gn/", "a ResNet of this package with group normalization, which needs no import"),
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of the arrays of a file; `str` of it is what the command prints.

    Attributes:
        layout: whose names they have, "PyTorch", "Keras" or "SimCLR".
        depth, width_multiplier, stem: of the network, as `resnet.ResNet` takes them.
        arrays: how many arrays were used, each once.
        parameters: how many numbers the encoder holds, all of them set.
        left_out: {reason: list of names} of the arrays that were not used.
    """

    layout: str
    depth: int
    width_multiplier: int
    stem: str
    arrays: int
    parameters: int
    left_out: dict

    def __str__(self) -> str:
        lines = [
            f"ResNet-{self.depth} with the {self.stem} stem and {self.width_multiplier} x 64 "
            f"channels, by the names of {self.layout}",
            f"used      {self.arrays} arrays, for all {self.parameters:,} numbers of the encoder",
        ]
        for reason, names in self.left_out.items():
            lines.append(f"left out  {reason}: {listed(names)}")
        return "\n".join(lines)


def import_resnet(
    source: Any,
    *,
    input_shape: Sequence[int | None] = (224, 224, 3),
    input_normalization: Any = "published",
) -> tuple[keras.Model, Report]:
    """Returns (encoder, `Report`) from the weights of a ResNet that was trained elsewhere.

    Depth, width and stem are found from the arrays. Every one of them is used once or in the
    report, and every weight of the encoder is set once.

    Args:
        source: what `weight_files.read` takes: a path, a Keras model, or a state dict. In PyTorch's
            names the encoder may be a part called `base_encoder` (SogCLR, MoCo v3), `encoder_q`
            (MoCo v1 and v2), `encoder` or `backbone`, all of it below `module` or not.
        input_shape: (height, width, channels) of the encoder; height and width may be None.
        input_normalization: "published", as the published weights of the layout were trained:
            ImageNet's mean and deviation for PyTorch, keras.applications' `preprocess_input` for
            Keras, none for SimCLR; or (mean, deviation) of red, green and blue in 0..1, each three
            floats; or None.

    Returns:
        The encoder is a `resnet.ResNet` of standard layers: images float32 [B, H, W, 3] in 0..1 to
        features float32 [B, C].

    Raises:
        ValueError: the source cannot be read, is another network, or its arrays do not fit: all
            misfits in one line.
        ImportError: PyTorch or safetensors is needed and not installed.

    Examples:
        >>> import keras
        >>> import sogclr_tf
        >>> network = keras.applications.ResNet50(weights=None, include_top=False)
        >>> encoder, report = sogclr_tf.import_resnet(network, input_shape=(64, 64, 3))
        >>> encoder.output_shape
        (None, 2048)
    """
    stored = weight_files.read(source)
    layout = LAYOUTS[stored.layout]
    prefix = layout.prefix(stored.arrays)
    arrays, left_out = without_the_rest(stored, layout.left_out, prefix)
    network = _network(stored.origin, arrays, layout, prefix)
    published = isinstance(input_normalization, str) and input_normalization == "published"
    encoder = resnet.ResNet(
        **network,
        padding=layout.padding,
        stride_in=layout.stride_in,
        shortcuts=layout.shortcuts,
        input_normalization=layout.input_normalization if published else input_normalization,
        input_shape=input_shape,
    )
    check_fit(stored.origin, f"ResNet-{network['depth']}", arrays, _shapes(encoder, layout, prefix))
    for variable, value in _values(encoder, arrays, layout, prefix, published and layout.is_bgr):
        variable.assign(value)
    report = Report(
        layout=stored.layout,
        **network,
        arrays=len(arrays),
        parameters=encoder.count_params(),
        left_out=left_out,
    )
    return encoder, report


def _network(origin, arrays, layout, prefix):
    """{"depth", "width_multiplier", "stem"} by the names and shapes of arrays."""
    for pattern, what in _OTHERS:
        name = next((name for name in arrays if re.search(pattern, name)), None)
        if name:
            raise ValueError(f"{origin} is {what} (it has {name}): only ResNets can be imported")

    def kernel(layer):
        """(height, width, input, output), or None where there is no such kernel."""
        array = arrays.get(_name(layout, prefix, layer, "kernel"))
        is_kernel = array is not None and array.ndim == 4
        return tuple(array.shape[axis] for axis in layout.kernel_axes) if is_kernel else None

    depth = _depth(origin, arrays, layout)
    # Where the first kernel is missing, `check_fit` says so.
    stem = kernel("stem_conv") or (7, 7, 3, 64)
    if stem[:2] not in _STEMS:
        raise ValueError(
            f"{origin} has a first kernel of {stem[0]}x{stem[1]}: expected the 7x7 of ImageNet or "
            "the 3x3 of CIFAR, so this network cannot be imported"
        )
    width = stem[-1]
    _check_width(origin, width, kernel("stage1_block1_conv2") or (3, 3, width, width))
    _check_batch_norm(origin, arrays, layout, prefix)
    return {"depth": depth, "width_multiplier": width // 64, "stem": _STEMS[stem[:2]]}


def _depth(origin, arrays, layout):
    found = collections.defaultdict(set)
    for name in arrays:
        match = re.search(layout.block, name)
        if match:
            found[int(match[1])].add(int(match[2]))
    if not found:
        raise ValueError(
            f"{origin} holds no ResNet: expected arrays such as {layout.example}, it holds "
            f"{listed(arrays) or 'none'}"
        )
    # The first and the last, so that one that is missing between them counts.
    blocks = tuple(max(found[stage]) - min(found[stage]) + 1 for stage in sorted(found))
    is_bottleneck = any(re.search(layout.bottleneck, name) for name in arrays)
    depths = {stages: depth for depth, stages in resnet.stages().items()}
    if (is_bottleneck, blocks) not in depths:
        kind = "bottleneck" if is_bottleneck else "basic"
        raise ValueError(
            f"{origin} has {', '.join(map(str, blocks))} {kind} blocks in its stages: expected "
            f"those of depth {', '.join(map(str, depths.values()))}"
        )
    return depths[is_bottleneck, blocks]


def _check_width(origin, width, inner):
    *_, fan_in, fan_out = inner
    if width % 64 or not width:
        raise ValueError(f"{origin} has {width} channels in its stem: expected a multiple of 64")
    if 0 < fan_in < fan_out and fan_out % fan_in == 0:
        raise ValueError(
            f"{origin} is a ResNeXt, with {fan_out // fan_in} groups in a convolution: only "
            "ResNets can be imported"
        )
    if fan_in == fan_out != width:
        raise ValueError(
            f"{origin} is a wide ResNet, with {fan_out} channels within a block after a stem of "
            f"{width}: expected {width} there too, as a width multiplier widens every layer"
        )


def _check_batch_norm(origin, arrays, layout, prefix):
    """Refuses normalizations without statistics of batches, whose gamma and beta look the same."""
    mean = layout.parameters["moving_mean"]
    gamma = _name(layout, prefix, "stem_bn", "gamma")
    if gamma in arrays and not any(name.endswith(mean) for name in arrays):
        raise ValueError(
            f"{origin} has {gamma} but no {mean.strip('./')} at all, so that its normalizations "
            "are not those of batches (but of groups of channels, perhaps): only ResNets with "
            "batch normalization can be imported"
        )


def _name(layout, prefix, layer, parameter):
    """What the file calls the parameter of a layer of ours."""
    return prefix + layout.layer(layer) + layout.parameters[parameter]


def _shapes(encoder, layout, prefix):
    """{name: shape} of all arrays that the encoder is made of, in the terms of the file."""
    shapes = {}
    for layer in encoder.layers:
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.name == "kernel":
                shape = tuple(shape[k] for k in np.argsort(layout.kernel_axes))
                if layout.has_bias:
                    bias = _name(layout, prefix, layer.name, "bias")
                    shapes[bias] = (variable.shape[-1],)
            shapes[_name(layout, prefix, layer.name, variable.name)] = shape
    return shapes


def _values(encoder, arrays, layout, prefix, is_bgr):
    """Yields (variable, its value) for every weight of the encoder."""
    for layer in encoder.layers:
        for variable in layer.weights:
            value = arrays[_name(layout, prefix, layer.name, variable.name)]
            if variable.name == "kernel":
                value = np.transpose(value, layout.kernel_axes)
                if is_bgr and layer.name == "stem_conv":
                    value = value[:, :, ::-1]
            elif variable.name == "moving_mean" and layout.has_bias:
                convolution = layer.name.replace("bn", "conv")
                value = value - arrays[_name(layout, prefix, convolution, "bias")]
            elif variable.name == "moving_variance":
                # In float64, since the difference is far below what float32 adds to 1.
                value = np.asarray(value, "float64") + (layout.epsilon - layer.epsilon)
            yield variable, value
