"""Copies of models whose weights hide no fault.

A model that was never trained has parameters that are all zero, and an embedding of zeros for the padding id. What is
multiplied by them has no effect, and a fault in it shows in no logit.
"""

import copy

import torch
from torch import nn

_SMALL = 0.05


def awakened(module: nn.Module) -> nn.Module:
    """Return a copy of a module in which parameters that are all zero hold small random numbers.

    So does an embedding's row of the padding id, on the scale of its other rows. Numbers that are not zero stay as they
    are, as do buffers; the module itself is not changed, and two calls make equal copies.
    """
    made, generator = copy.deepcopy(module), torch.Generator().manual_seed(0)

    def random(like: torch.Tensor, scale: float) -> torch.Tensor:
        return (torch.randn(like.shape, generator=generator) * scale).to(like)

    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.is_floating_point() and parameter.numel() and not parameter.any():
                parameter.copy_(random(parameter, _SMALL))
        for part in made.modules():
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                row = part.weight[part.padding_idx]
                if not row.any():
                    row.copy_(random(row, float(part.weight.float().std())))
    return made
