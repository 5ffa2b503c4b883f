"""Gradients of PyTorch models on held-out text: by parameter, and back through time.

The definitions are those of `rnneval.models.keras.derivatives`. Back through time, the model is called token by token,
and a number that is zero is added to each array of the state after each token: its gradient is that of the state.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from rnneval.errors import CheckpointError, in_one_line
from rnneval.metrics.gradient_norms import decay_of
from rnneval.models.protocol import IdSource, Place
from rnneval.models.state import Packing, filled, leaves_of
from rnneval.models.step import StepLM
from rnneval.models.torch.module import TorchStep
from rnneval.records.run import ThroughTime, VariableGradient


def variable_gradients(
    lm: StepLM, text: IdSource, places: Sequence[Place], length: int
) -> tuple[float, dict[str, VariableGradient], dict[str, str]]:
    """Return the mean loss of segments, the gradient of each parameter, and why some parameters have none."""
    step, packing = _parts(lm)
    parameters = {name: each for name, each in step.module.named_parameters() if _has_gradient(each)}
    losses, of_places = [], []
    for place in places:
        ids = text.ids(place.at, place.at + length + 1)[None]
        with step.differentiating(parameters.values()):
            logits, _ = step.read(ids[:, :-1], packing.unpack(place.state[None]))
            loss = _loss(logits, ids[:, 1:])
            gradients = _gradients(loss, [*parameters.values()])
        losses.append(loss.item())
        of_places.append([_exact(gradient) for gradient in gradients])
    variables, missing = {}, {}
    for (name, parameter), gradients in zip(parameters.items(), zip(*of_places, strict=True), strict=True):
        stacked = torch.stack(gradients)
        if not stacked.isfinite().all():
            missing[name] = "it is not finite"
            continue
        norms = [float(gradient.norm()) for gradient in gradients]
        layer, _, variable = name.rpartition(".")
        variables[name] = VariableGradient(
            layer=layer,
            variable=variable,
            norm_mean=float(np.mean(norms)),
            norm_max=max(norms),
            norm_of_mean=float(stacked.mean(dim=0).norm()),
            weight_norm=float(_exact(parameter.detach()).norm()),
        )
    return float(np.mean(losses)), variables, missing


def through_time(
    lm: StepLM, text: IdSource, places: Sequence[Place], lags: int
) -> tuple[dict[str, ThroughTime], dict[str, str]]:
    """Return how the gradient of a token's loss falls off by lag for each state, and why some states have none."""
    _, packing = _parts(lm)
    try:
        of_places = [
            _backwards(lm, text.ids(place.at, place.at + lags + 2), packing.unpack(place.state[None]))
            for place in places
        ]
    except CheckpointError as error:  # calls of one token may change the state in place where longer ones do not
        return {}, {"any state, back through time": str(error)}
    decays, missing = {}, {}
    for key in of_places[0]:
        decay = decay_of(np.stack([norms[key] for norms in of_places]))
        if decay is None:
            missing[key] = "it does not act on the loss, or its gradient is not finite"
        else:
            decays[key] = decay
    for leaf in lm.leaves or ():
        if leaf.kind == "state" and not (torch.is_tensor(leaf.like) and _has_gradient(leaf.like)):
            missing[".".join(lm.named(leaf.path))] = f"its numbers are of the type {leaf.dtype}"
    return decays, missing


def _backwards(lm: StepLM, ids: np.ndarray, state: object) -> dict[str, np.ndarray]:
    """Return for each array of the state the norms of the gradient of the last token's loss, lag 0 first, by name."""
    step, _ = _parts(lm)
    nudges: list[dict[str, torch.Tensor]] = []  # of each token
    with step.differentiating():
        for token in ids[:-1]:
            logits, after = step.read(np.array([[token]], np.int32), state)
            leaves = leaves_of(after)
            added = {
                path: torch.zeros_like(leaf, requires_grad=True)
                for path, leaf in leaves.items()
                if isinstance(leaf, torch.Tensor) and _has_gradient(leaf)
            }
            nudges.append(added)
            state = filled(after, (leaf + added[path] if path in added else leaf for path, leaf in leaves.items()))
        if not any(nudges):
            raise CheckpointError("the state has no tensor of real or complex numbers")
        flat = [(path, nudge) for added in reversed(nudges) for path, nudge in added.items()]
        gradients = _gradients(_loss(logits, ids[None, -1:]), [nudge for _, nudge in flat])
    norms: dict[str, list[float]] = {}
    for (path, _), gradient in zip(flat, gradients, strict=True):
        names = lm.names.get(path) or (".".join(lm.named(path)),)
        for name, part in zip(names, gradient if len(names) > 1 else [gradient], strict=True):
            norms.setdefault(name, []).append(float(_exact(part).norm()))
    return {path: np.array(each) for path, each in norms.items()}


def _has_gradient(tensor: torch.Tensor) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    """Return a gradient in float64; that of complex numbers has the derivatives by both of their parts."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _gradients(loss: torch.Tensor, of: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return the gradients of a loss, zeros where it does not depend on a tensor; refuse what PyTorch cannot follow."""
    try:
        gradients: tuple[torch.Tensor, ...] = torch.autograd.grad(loss, of, materialize_grads=True)
    except RuntimeError as error:
        raise CheckpointError(f"PyTorch cannot follow gradients through this model: {in_one_line(error)}") from error
    return gradients


def _parts(lm: StepLM) -> tuple[TorchStep, Packing]:
    """Return the step and the packing of a model that the caller knows to have both."""
    return cast("TorchStep", lm.function.step), cast("Packing", lm.carrier)


def _loss(logits: torch.Tensor, targets: np.ndarray) -> torch.Tensor:
    """Return the mean loss of the last tokens."""
    wanted = torch.as_tensor(targets, dtype=torch.long, device=logits.device)
    return torch.nn.functional.cross_entropy(logits[:, -wanted.shape[1] :].flatten(0, 1), wanted.flatten())
