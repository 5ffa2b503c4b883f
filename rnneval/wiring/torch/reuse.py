"""Modules that stand for several layers: one object, run again on what it gave itself."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from rnneval.models.state import leaves_of
from rnneval.models.torch.module import TorchStep
from rnneval.wiring.subject import ordinary_ids, other_ids
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, runs_of, same

_BEFORE = 5  # tokens of the call that makes a state


def reused_layers(step: TorchStep, owners: set[Chain], width: int, seed: int) -> Iterator[Chain]:
    """Yield those of the modules that own a state which read, for one token, what they gave themselves for it.

    A cell that runs several times on its own state for one token is none: its input stays the same.
    """
    before, one = np.split(ordinary_ids(width, (1, _BEFORE + 1), [seed, 4]), [_BEFORE], axis=1)
    with torch.no_grad(), awake(step.module, seed):
        _, state = step(before, None)
        inputs: dict[Chain, set[str]] = {}  # by module, the arguments of its first run that depend on the token
        for owner in sorted(owners):
            # Of one that is given no token, such as a projection of the state, the module around it is meant.
            for layer in (owner[:depth] for depth in range(len(owner), 1, -1)):
                if layer in inputs:
                    break
                plain, other = (runs_of(step, layer, ids, state) for ids in (one, other_ids(one, width)))
                inputs[layer] = _changed(plain[:1], other[:1])
                if inputs[layer]:
                    again = runs_of(step, layer, one, state, altered=True)
                    if not inputs[layer].isdisjoint(_changed(plain[1:], again[1:])):
                        yield layer
                    break


def _changed(runs: Sequence[Any], others: Sequence[Any]) -> set[str]:
    """Return the places among the arguments of runs at which they differ from others."""
    pairs = ((leaves_of(one), leaves_of(other)) for one, other in zip(runs, others, strict=False))
    return {at for one, other in pairs for at, leaf in one.items() if not same(leaf, other.get(at))}
