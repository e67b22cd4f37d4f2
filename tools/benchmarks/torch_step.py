"""A bare training step in PyTorch, channels last. It needs PyTorch and NumPy alone."""

import numpy as np
import torch
from benchmarks import turns
from benchmarks.torch_network import Network

RATE, MOMENTUM, TEMPERATURE = 1e-3, 0.9, 0.1


def work(batch, side, layout):
    """Steps on two views of `batch` images of noise, as `turns.Work`."""
    images = np.random.default_rng(0).random((2 * batch, side, side, 3), np.float32)
    return turns.steps(step(images, layout), batch)


def step(images, layout):
    """A function that takes one step: two views through the network, NT-Xent, SGD; no more.

    Args:
        images: float32 [2B, side, side, 3] in 0..1, both views of all images.
        layout: dict, the arguments of `torch_network.Network`.
    """
    network = Network(**layout).to(memory_format=torch.channels_last)
    images = torch.from_numpy(np.moveaxis(images, -1, 1))
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM)
    count = len(images)
    positives = torch.arange(count).roll(count // 2)
    itself = 1e9 * torch.eye(count)

    def one():
        z = torch.nn.functional.normalize(network(images))
        loss = torch.nn.functional.cross_entropy(z @ z.T / TEMPERATURE - itself, positives)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return one
