"""PyTorch's ResNets as torchvision names them: a state dict from seeds, and the network itself.

    python tests/support/pytorch_resnet.py

writes the golden features with PyTorch. The state dict needs NumPy alone: an array is drawn with
the CRC-32 of its name as its seed.
"""

import pathlib
import zlib

import numpy as np

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
GOLDEN = {
    "torch_resnet18": {"depth": 18},
    "torch_resnet18_cifar": {"depth": 18, "cifar": True},
    "torch_resnet34": {"depth": 34},
    "torch_resnet50": {"depth": 50},
}
# Even and odd: "same" padding differs from PyTorch's in the even ones.
SIDES = (64, 65)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(side):
    """float32 [2, side, side, 3] in 0..1."""
    return np.random.default_rng(side).random((2, side, side, 3), np.float32)


def state_dict(depth, *, cifar=False, width=64, prefix="", classes=10):
    """{name: numpy array}, with the classifier, whose activations are about 1 in every layer."""
    arrays = {}
    for name, shape in shapes(depth, cifar, width, classes):
        arrays[prefix + name] = drawn(name, shape)
    return arrays


def shapes(depth, cifar, width, classes):
    """[(name, shape)] in the order of the network."""
    found = _convolution("conv1", "bn1", 3, width, 3 if cifar else 7)
    channels, grows = width, 4 if depth >= 50 else 1
    for stage, count in enumerate(BLOCKS[depth]):
        inner = width * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}."
            sizes = [(inner, 3), (inner, 3)]
            if depth >= 50:
                sizes = [(inner, 1), (inner, 3), (4 * inner, 1)]
            into = channels
            for number, (out, size) in enumerate(sizes, 1):
                found += _convolution(f"{name}conv{number}", f"{name}bn{number}", into, out, size)
                into = out
            if block == 0 and (stage > 0 or depth >= 50):
                found += _convolution(
                    f"{name}downsample.0", f"{name}downsample.1", channels, inner * grows, 1
                )
            channels = inner * grows
    return [*found, ("fc.weight", (classes, channels)), ("fc.bias", (classes,))]


def _convolution(convolution, normalization, into, out, size):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return [
        (f"{convolution}.weight", (out, into, size, size)),
        *((f"{normalization}.{name}", (out,)) for name in vectors),
        (f"{normalization}.num_batches_tracked", ()),
    ]


def drawn(name, shape):
    """The array of that name and shape: float32, a variance always above 0."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.asarray(1000, np.int64)
    if len(shape) == 4:
        array = random.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith(("running_var", "weight")):
        array = random.uniform(0.5, 1.5, shape)
        # The sums of residual blocks would grow with depth.
        last = ".bn3." in name or ".bn2." in name
        array = array * 0.3 if last and name.endswith("weight") else array
    else:
        array = random.uniform(-0.3, 0.3, shape)
    return array.astype(np.float32)


def block_classes():
    """Convolution with its normalization, and the residual block of them, where torch is."""
    import torch
    from torch import nn

    def normalized(into, out, size, stride):
        convolution = nn.Conv2d(into, out, size, stride, padding=size // 2, bias=False)
        return convolution, nn.BatchNorm2d(out)

    class Block(nn.Module):
        def __init__(self, sizes, stride, shortcut):
            super().__init__()
            # The stride is that of the first 3x3 convolution.
            where = next(k for k, (*_, size) in enumerate(sizes) if size == 3)
            self.count = len(sizes)
            for k, (into, out, size) in enumerate(sizes):
                layers = normalized(into, out, size, stride if k == where else 1)
                setattr(self, f"conv{k + 1}", layers[0])
                setattr(self, f"bn{k + 1}", layers[1])
            into, out = sizes[0][0], sizes[-1][1]
            self.downsample = nn.Sequential(*normalized(into, out, 1, stride)) if shortcut else None

        def forward(self, x):
            y = x
            for k in range(1, self.count + 1):
                y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
                y = torch.relu(y) if k < self.count else y
            return torch.relu(y + (self.downsample(x) if self.downsample else x))

    return normalized, Block


def network(arrays):
    """The torch.nn.Module that a state dict belongs to: [B, 3, H, W] to features [B, C]."""
    import torch
    from torch import nn

    normalized, Block = block_classes()  # noqa: N806

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            width, _, size, _ = arrays["conv1.weight"].shape
            self.conv1, self.bn1 = normalized(3, width, size, 2 if size == 7 else 1)
            self.maxpool = nn.MaxPool2d(3, 2, 1) if size == 7 else nn.Identity()
            for stage in range(1, 5):
                setattr(self, f"layer{stage}", nn.Sequential(*self.blocks(stage)))
            self.fc = nn.Linear(*arrays["fc.weight"].shape[::-1])

        def blocks(self, stage):
            index = 0
            while f"layer{stage}.{index}.conv1.weight" in arrays:
                name = f"layer{stage}.{index}."
                kernels = [f"{name}conv{k}.weight" for k in (1, 2, 3)]
                kernels = [arrays[kernel].shape for kernel in kernels if kernel in arrays]
                sizes = [(into, out, size) for out, into, size, _ in kernels]
                stride = 2 if stage > 1 and index == 0 else 1
                yield Block(sizes, stride, f"{name}downsample.0.weight" in arrays)
                index += 1

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return x.mean((2, 3))

    built = Network()
    built.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return built.eval()


def features(built, batch):
    """float32 [B, C] of images in 0..1, normalized as torchvision's weights expect."""
    import torch

    normalized = ((batch - np.float32(MEAN)) / np.float32(DEVIATION)).astype(np.float32)
    with torch.no_grad():
        return built(torch.tensor(normalized.transpose(0, 3, 1, 2))).numpy()


def write_golden(folder):
    for name, options in GOLDEN.items():
        built = network(state_dict(**options))
        found = {f"side_{side}": features(built, images(side)) for side in SIDES}
        # Every channel of the last layer depends on all that was before; an eighth keeps it small.
        np.savez_compressed(folder / name, **{key: value[:, ::8] for key, value in found.items()})


if __name__ == "__main__":
    write_golden(pathlib.Path(__file__).parents[1] / "golden")
