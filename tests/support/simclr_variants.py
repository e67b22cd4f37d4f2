"""Networks of google-research/simclr that are none of its plain ResNets."""

import numpy as np
from support import simclr_resnet

from sogclr_tf.networks import simclr_checkpoint


def arrays_of(variables, named=True):
    """{name: zeros}, as `by_layer` gives them of what is listed."""
    trainable = [name for name, _ in variables if "moving_" not in name]
    places = [f"trainable_variables_list/{i}" for i in range(len(trainable))]
    rest = range(len(trainable), len(variables))
    places += [f"model/resnet_model/variables/{i}" for i in rest]
    listed = list(zip(places, variables, strict=True))
    arrays = {place: np.broadcast_to(np.float32(0), shape) for place, (_, shape) in listed}
    names = {place: name for place, (name, _) in listed} if named else {}
    return simclr_checkpoint.by_layer("it", arrays, names)


def with_selective_kernels():
    """The first block of SimCLR's ResNet-50 of selective kernels, behind the stem of CIFAR."""
    path = "resnet/block_group1/bottleneck_block/"
    layers = [
        ("resnet/conv2d_fixed_padding/conv2d", (3, 3, 3, 64)),
        (f"{path}conv2d_fixed_padding_1/conv2d_1", (1, 1, 64, 256)),
        (f"{path}conv2d_fixed_padding_2/conv2d_2", (1, 1, 64, 64)),
        (f"{path}sk__conv2d/conv2d_fixed_padding_3/conv2d_3", (3, 3, 64, 128)),
        (f"{path}sk__conv2d/conv2d_4", (1, 1, 64, 32)),
        (f"{path}sk__conv2d/conv2d_5", (1, 1, 32, 128)),
        (f"{path}conv2d_fixed_padding_4/conv2d_6", (1, 1, 64, 256)),
    ]
    variables = []
    for name, shape in layers:
        variables.append((f"{name}/kernel", shape))
        if not name.endswith("conv2d_5"):
            norm = name.replace("conv2d_fixed_padding", "batch_norm_relu")
            variables += [(f"{norm}/{parameter}", shape[-1:]) for parameter in ("gamma", "beta")]
    return variables


def with_stem_of_resnet_d():
    stem = [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64)]
    kernels = [shape for name, shape in simclr_resnet.listed(18) if name.endswith("kernel")]
    return [
        (f"resnet/{layer}_{number}/x/{parameter}", shape)
        for number, kernel in enumerate(stem + kernels[1:])
        for layer, parameter, shape in (
            ("conv2d_fixed_padding", "kernel", kernel),
            ("batch_norm_relu", "gamma", kernel[-1:]),
            ("batch_norm_relu", "beta", kernel[-1:]),
        )
    ]
