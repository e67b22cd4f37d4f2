"""A step of LibAUC's GCLoss: loss, gradient, table. It needs LibAUC, PyTorch and NumPy alone."""

import contextlib
import io
import itertools

import torch
from benchmarks import turns
from benchmarks.projections import inputs
from libauc.losses.contrastive import GCLoss


def work(batch, examples, width):
    """Steps as `turns.Work`."""
    return turns.steps(step(*inputs(batch, examples, width), examples), batch)


def step(a, b, batches, examples):
    """A function that takes one step: loss, gradient by the projections, table.

    Args:
        a, b, batches: as `projections.inputs` gives them.
        examples: N, of the table.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        loss = GCLoss("unimodal", N=examples, tau=0.1, gamma=0.9)
        loss.adjust_gamma(1)  # from its second epoch on, gamma is what was asked for
    a, b = (torch.tensor(x, requires_grad=True) for x in (a, b))
    index = itertools.cycle([torch.tensor(one, dtype=torch.int64) for one in batches])

    def one():
        a.grad = b.grad = None
        loss(a, b, next(index)).backward()
        return a.grad.numpy()

    return one
