"""Weights that hide no fault: what is multiplied by zeros, as models have before training, shows in no logit."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_SMALL = 0.05


def awakened(module: nn.Module) -> nn.Module:
    """Return a copy of a module in which parameters that are all zero, and a row of padding, hold random numbers."""
    made = copy.deepcopy(module)
    _fill(made, 0)
    return made


@contextmanager
def awake(module: nn.Module, seed: int = 0) -> Iterator[None]:
    """Fill the zeros of a module itself in the same way for a while, then put them back, bit by bit."""
    filled = _fill(module, seed)
    try:
        yield
    finally:
        for zeros, before in filled:
            zeros.copy_(before)


def _fill(module: nn.Module, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Fill what is zero, a row of padding on the scale of the others; return it with a copy of what it was."""
    zeros = [(each.data, _SMALL) for each in module.parameters() if each.is_floating_point() and each.numel()]
    embeddings = (part for part in module.modules() if isinstance(part, nn.Embedding) and part.padding_idx is not None)
    zeros += [(part.weight.data[part.padding_idx], float(part.weight.data.float().std())) for part in embeddings]
    generator, filled = torch.Generator().manual_seed(seed), []
    for tensor, scale in zeros:
        if not tensor.any():
            filled.append((tensor, tensor.clone()))
            tensor.copy_((torch.randn(tensor.shape, generator=generator) * scale).to(tensor))
    return filled
