"""Models whose weights hide no fault.

A model that was never trained has parameters that are all zero, and an embedding of zeros for the padding id. What is
multiplied by them has no effect, and a fault in it shows in no logit. Here they hold small random numbers, in a copy or
for a while.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_SMALL = 0.05


def awakened(module: nn.Module) -> nn.Module:
    """Return a copy of a module in which parameters that are all zero hold small random numbers.

    So does an embedding's row of the padding id, on the scale of its other rows. Numbers that are not zero stay as they
    are, as do buffers; the module itself is not changed, and two calls make equal copies.
    """
    made = copy.deepcopy(module)
    _fill(made)
    return made


@contextmanager
def awake(module: nn.Module, seed: int = 0) -> Iterator[None]:
    """Fill the zeros of a module itself in the same way for a while, then put them back, bit by bit.

    No second copy of a large model is needed, and a step function that holds the module calls the right one.
    """
    filled = _fill(module, seed)
    try:
        yield
    finally:
        for zeros, before in filled:
            zeros.copy_(before)


def _fill(module: nn.Module, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Fill what is zero; return it with a copy of what it was."""
    generator, filled = torch.Generator().manual_seed(seed), []

    def fill(zeros: torch.Tensor, scale: float) -> None:
        filled.append((zeros, zeros.clone()))
        zeros.copy_((torch.randn(zeros.shape, generator=generator) * scale).to(zeros))

    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.numel() and not parameter.any():
            fill(parameter.data, _SMALL)
    for part in module.modules():
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            row = part.weight.data[part.padding_idx]
            if not row.any():
                fill(row, float(part.weight.data.float().std()))
    return filled
