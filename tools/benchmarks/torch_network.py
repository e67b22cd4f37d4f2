"""The residual networks of `sogclr_tf.networks.resnet` with their projector, plainly in PyTorch.

PyTorch alone: a process that trains one need not have TensorFlow.
"""

import torch
from torch import nn


class Network(nn.Module):
    """From images float [B, 3, H, W] to projections float [B, 128].

    Args:
        widths: channels of the stages, before a bottleneck makes them four times as many.
        blocks: how many each stage has.
        bottleneck: whether blocks are of three convolutions.
        stem_stride: of the first convolution.
    """

    def __init__(self, widths, blocks, bottleneck, stem_stride):
        super().__init__()
        channels = widths[0]
        layers = [_conv_bn(3, channels, 3, stem_stride), nn.ReLU(inplace=True)]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for place in range(count):
                block = _Block(channels, width, 2 if stage and not place else 1, bottleneck)
                layers.append(block)
                channels = block.channels
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.projector = _projector(channels, 128)

    def forward(self, images):
        return self.projector(self.encoder(images))


class _Block(nn.Module):
    def __init__(self, before, width, stride, bottleneck):
        super().__init__()
        self.channels = 4 * width if bottleneck else width
        if bottleneck:
            steps = [(before, width, 1, 1), (width, width, 3, stride), (width, self.channels, 1, 1)]
        else:
            steps = [(before, width, 3, stride), (width, width, 3, 1)]
        layers = []
        for step in steps:
            layers += [_conv_bn(*step), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*layers[:-1])
        same = stride == 1 and before == self.channels
        self.shortcut = nn.Identity() if same else _conv_bn(before, self.channels, 1, stride)

    def forward(self, x):
        return torch.relu(self.shortcut(x) + self.residual(x))


def _conv_bn(before, after, kernel, stride):
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
    )


def _projector(features, output):
    last = nn.BatchNorm1d(output)
    last.register_parameter("bias", None)
    return nn.Sequential(
        nn.Linear(features, features, bias=False),
        nn.BatchNorm1d(features),
        nn.ReLU(inplace=True),
        nn.Linear(features, output, bias=False),
        last,
    )
