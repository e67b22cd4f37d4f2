"""How ResNets of PyTorch, keras.applications and SimCLR name and order their weights."""

import dataclasses
import re
from collections.abc import Callable

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# keras.applications subtracts these from 0..255 and does not divide.
CAFFE = (tuple(level / 255 for level in (123.68, 116.779, 103.939)), (1 / 255,) * 3)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The names and shapes of one library, in terms of ours."""

    prefix: Callable  # names of all arrays -> what those of the encoder begin with
    layer: Callable  # the name of a layer of ours -> of theirs
    parameters: dict  # the same for parameters, with what stands before them
    kernel_axes: tuple  # theirs in the order of ours: height, width, input, output
    has_bias: bool
    block: str  # matches an array within a block: groups stage and block
    bottleneck: str  # matches an array that only bottleneck blocks have
    example: str
    left_out: tuple  # ((pattern, reason), ...)
    epsilon: float
    stride_in: str
    is_bgr: bool
    input_normalization: tuple | None
    padding: str = "symmetric"
    shortcuts: str = "by_shape"


def _pytorch_prefix(names):
    """The first of these that a name begins with; the last one is that of any."""
    parts = [f"{part}." for part in ("base_encoder", "encoder_q", "encoder", "backbone")]
    prefixes = [f"module.{part}" for part in parts] + parts + ["module.", ""]
    return next((p for p in prefixes if any(name.startswith(p) for name in names)), "")


def _pytorch_layer(layer):
    block = _block(layer)
    if block is None:
        return {"stem_conv": "conv1", "stem_bn": "bn1"}[layer]
    stage, index, kind, number = block
    part = f"{kind}{number}" if number else f"downsample.{('conv', 'bn').index(kind)}"
    return f"layer{stage}.{index - 1}.{part}"


def _keras_layer(layer):
    block = _block(layer)
    if block is None:
        return {"stem_conv": "conv1_conv", "stem_bn": "conv1_bn"}[layer]
    stage, index, kind, number = block
    return f"conv{stage + 1}_block{index}_{number}_{kind}"


def _simclr_layer(layer):
    block = _block(layer)
    if block is None:
        return "stem"
    stage, index, _, number = block
    return f"block_group{stage}/block{index}/{f'conv{number}' if number else 'shortcut'}"


def _block(layer):
    """(stage, block, "conv" or "bn", number or 0 for the shortcut), or None for the stem."""
    match = re.fullmatch(r"stage(\d)_block(\d+)_(?:shortcut_)?(conv|bn)(\d?)", layer)
    return match and (int(match[1]), int(match[2]), match[3], int(match[4] or 0))


LAYOUTS = {
    "PyTorch": Layout(
        prefix=_pytorch_prefix,
        layer=_pytorch_layer,
        parameters={
            "kernel": ".weight",
            "gamma": ".weight",
            "beta": ".bias",
            "moving_mean": ".running_mean",
            "moving_variance": ".running_var",
        },
        kernel_axes=(2, 3, 1, 0),
        has_bias=False,
        block=r"layer(\d+)\.(\d+)\.",
        bottleneck=r"layer\d+\.\d+\.conv3\.",
        example="conv1.weight and layer1.0.conv1.weight",
        left_out=(
            (r"(module\.)?(momentum_encoder|encoder_k)\.", "the momentum encoder"),
            (r"(module\.)?predictor\.", "the predictor"),
            (r"(module\.)?projector\.|{prefix}fc\.", "the classifier or projector"),
            (r"(module\.)?queue", "the queue"),
            (r"(module\.)?u(_\w+)?$", "a number per example"),
            (r".*\.num_batches_tracked$", "counts of batches"),
        ),
        epsilon=1e-5,
        stride_in="3x3",
        is_bgr=False,
        input_normalization=IMAGENET,
    ),
    "Keras": Layout(
        prefix=lambda _: "",
        layer=_keras_layer,
        parameters={
            name: f"/{name}"
            for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
        },
        kernel_axes=(0, 1, 2, 3),
        has_bias=True,
        block=r"conv(\d+)_block(\d+)_",
        bottleneck=r"conv\d+_block\d+_3_conv/",
        example="conv1_conv/kernel and conv2_block1_1_conv/kernel",
        left_out=((r"predictions/", "the classifier"),),
        epsilon=1.001e-5,
        stride_in="1x1",
        is_bgr=True,
        input_normalization=CAFFE,
    ),
    # By the names that `simclr_checkpoint.by_layer` gives.
    "SimCLR": Layout(
        prefix=lambda _: "",
        layer=_simclr_layer,
        parameters={
            name: f"/{name}"
            for name in ("kernel", "gamma", "beta", "moving_mean", "moving_variance")
        },
        kernel_axes=(0, 1, 2, 3),
        has_bias=False,
        block=r"block_group(\d+)/block(\d+)/",
        bottleneck=r"/conv3/",
        example="trainable_variables_list/0",
        left_out=(
            (r"(model/_)?projection_head/", "the projection head"),
            (r"(model/supervised_head|head_supervised)/", "the classifier"),
            (r"trainable_variables_list/", "the projection head or classifier"),
            (r"model/(?!resnet_model/)", "what is not the encoder"),
            (r"(save_counter|global_step)$", "counts"),
        ),
        epsilon=1e-5,
        stride_in="3x3",
        is_bgr=False,
        input_normalization=None,
        padding="fixed",
        shortcuts="by_stage",
    ),
}
