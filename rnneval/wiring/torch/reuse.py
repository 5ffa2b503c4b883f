"""Modules that stand for several layers: one object, run again on what it gave itself."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rnneval.models.state import filled, leaves_of
from rnneval.models.torch.module import TorchStep, copy_of
from rnneval.wiring.behaviour import Ids, ordinary_ids, other_ids
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, listening, same

_BEFORE = 5  # tokens of the calls that make a state


def reused_layers(step: TorchStep, owners: set[Chain], width: int, seed: int) -> Iterator[Chain]:
    """Yield those of the modules that own a state which read, for one token, what they gave themselves for it.

    A cell that runs several times on its own state for one token is none: its input stays the same.
    """
    before, one = np.split(ordinary_ids(width, (1, _BEFORE + 1), [seed, 4]), [_BEFORE], axis=1)
    other = other_ids(one, width)
    with torch.no_grad(), awake(step.module, seed):
        _, state = step(before, None)
        for layer in {_layer(step, owner, one, other, state): None for owner in sorted(owners)}:
            plain = _runs(step, layer, one, state)
            if len(plain) > 1:
                inputs = _inputs(plain, _runs(step, layer, other, state))
                altered = _runs(step, layer, one, state, altered=True)
                pairs = zip(plain[1:], altered[1:], strict=False)
                if any(not same(run[at], changed.get(at)) for run, changed in pairs for at in inputs & run.keys()):
                    yield layer


def _layer(step: TorchStep, owner: Chain, one: Ids, other: Ids, state: Any) -> Chain:
    """Return the innermost module around the owner of a state that is given tokens, or what was made of them."""
    around = (owner[:depth] for depth in range(len(owner), 0, -1))
    return next((c for c in around if _inputs(_runs(step, c, one, state), _runs(step, c, other, state))), owner[:1])


def _inputs(plain: list[dict[str, Any]], other: list[dict[str, Any]]) -> set[str]:
    """Return the places among the arguments of a first run that depend on the token."""
    pairs = zip(plain[:1], other[:1], strict=False)
    return {at for one, two in pairs for at, leaf in one.items() if not same(leaf, two.get(at))}


def _runs(step: TorchStep, layer: Chain, ids: Ids, state: Any, *, altered: bool = False) -> list[dict[str, Any]]:
    """Return the arguments of each run of a module in one call; those after its first result was altered, if asked."""
    runs: list[dict[str, Any]] = []

    def hear(chain: Chain, phase: str, given: Any, _: Any) -> None:
        if chain == layer and phase == "in":
            runs.append(leaves_of(copy_of(given)))

    def alter(_: Any, __: Any, result: Any) -> Any:
        is_first = len(runs) == 1
        return filled(result, map(_moved, leaves_of(result).values())) if altered and is_first else None

    handle = step.module.get_submodule(layer[-1]).register_forward_hook(alter)
    try:
        with listening(step.module, hear):
            step(ids, state)
    finally:
        handle.remove()
    return runs


def _moved(leaf: Any) -> Any:
    """Return a tensor of real numbers moved by about its own size."""
    return leaf * 1.5 + 0.5 if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf
