"""Derivatives of PyTorch models on held-out text: by parameter, back through time, and along tangents of the state.

The definitions are those of `rnneval.models.keras.derivatives`. Back through time, the model is called token by token,
and a number that is zero is added to each array of the state after each token: its gradient is that of the state.
Tangents are carried by PyTorch's forward mode, which `torch.func.jvp` uses; a complex number is a pair of real ones.
"""

import warnings
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd import forward_ad

from rnneval.arrays import Doubles
from rnneval.errors import CheckpointError, in_one_line
from rnneval.metrics.gradient_norms import decays_of
from rnneval.models.protocol import TINY, IdSource, Place, Vectors
from rnneval.models.state import Packing, as_array, filled, leaves_of, made_like, numbers_of
from rnneval.models.step import StepLM
from rnneval.models.torch.module import TorchStep
from rnneval.models.torch.recurrent import uncompiled
from rnneval.records.run import ThroughTime, VariableGradient

_NUDGE = 1e-3  # of the norm of a state: the change that shows whether PyTorch sees how the state acts
_HIDDEN = 0.5  # of such a change: one that PyTorch's tangent misses is no rounding, and no kink of a function


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
            gradients = _gradients(loss, [*parameters.values()]) if parameters else ()
        losses.append(loss.item())
        of_places.append([_exact(gradient) for gradient in gradients])
    variables = {}
    missing = {} if parameters else {"any parameter": "the module shows none of real or complex numbers"}
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
    decays, missing = decays_of({key: np.stack([norms[key] for norms in of_places]) for key in of_places[0]})
    for leaf in lm.leaves:
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
        names = _names(lm, path)
        for name, part in zip(names, gradient if len(names) > 1 else [gradient], strict=True):
            norms.setdefault(name, []).append(float(_exact(part).norm()))
    return {path: np.array(each) for path, each in norms.items()}


class TangentWalk:
    """Rows of a model and, for each layer and all of them together, two tangent vectors a row."""

    def __init__(self, lm: StepLM, text: IdSource, places: Sequence[Place]) -> None:
        self._step, self._packing = _parts(lm)
        self._text, self._places = text, places
        self._states: Vectors = np.stack([place.state for place in places])
        self._moving = {
            leaf.path: (leaf, columns)
            for leaf, columns in self._packing.columns.items()
            if leaf.kind == "state" and leaf.dtype.kind in "fc" and leaf.size
            if leaf.axis is not None or self._packing.separate
        }
        size = numbers_of(self._states).shape[1]
        inside: dict[str, Doubles] = {}  # by layer: 1 for the numbers of its state, 0 for others
        for path, (_, columns) in self._moving.items():
            layer = _names(lm, path)[0].rpartition(".")[0]
            inside.setdefault(layer, np.zeros(size))[columns] = 1
        if len(inside) > 1:
            inside["stack"] = np.sum([*inside.values()], axis=0)
        self._layers = [*inside]
        self._inside = np.repeat(np.reshape([*inside.values()], (-1, size)), 2, axis=0)[:, None]  # (2 · layers, 1, D)
        start = np.stack([np.random.default_rng(seed).standard_normal((len(places), size)) for seed in (0, 1)])
        both = np.tile(start, (len(inside), 1, 1)) * self._inside
        self._vectors = both / np.linalg.norm(both, axis=2, keepdims=True)
        self._logs: list[Doubles] = []  # by token, `(2 · layers, rows)`
        self.missing = {} if inside else {"the state": "it has no arrays of real or complex numbers"}
        self.walked = 0

    def on(self, steps: int) -> None:
        """Walk further, unless a call failed."""
        at = [place.at + self.walked for place in self._places]
        ids = np.stack([self._text.ids(first, first + steps) for first in at])
        self.walked += steps
        try:
            # The LSTM of oneDNN has no forward mode; its switch warns of GPUs that are not there.
            quiet, plain = warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False)
            with self._step.evaluating(), uncompiled(), quiet, plain:
                for token in range(0 if self.missing else steps):
                    self._carry(ids[:, token : token + 1])
        except (RuntimeError, CheckpointError) as error:
            self.missing["any layer"] = f"PyTorch cannot carry tangents through this model: {in_one_line(error)}"

    def growth(self, steps: int) -> dict[str, Doubles]:
        """Return ln of each layer's growth at the last `steps` tokens, `(2, rows, steps)`."""
        if self.missing:
            return {}
        logs = np.stack(self._logs[-steps:], axis=2)
        return dict(zip(self._layers, logs.reshape(-1, 2, *logs.shape[1:]), strict=True))

    def _carry(self, ids: NDArray[np.int32]) -> None:
        """Carry states and tangents over one token of each row, and note how the tangents grow."""
        after, moved = self._states.copy(), np.zeros_like(self._vectors)
        for rows in self._packing.groups(self._states):
            after[rows], moved[:, rows] = self._moved(ids[rows], self._states[rows], self._vectors[:, rows])
        moved *= self._inside
        if not self._logs:
            self._require_visible(ids, moved)
        norm = np.maximum(np.linalg.norm(moved, axis=2), TINY)
        self._logs.append(np.log(norm))
        self._states, self._vectors = after, moved / norm[:, :, None]

    def _moved(self, ids: NDArray[np.int32], states: Vectors, vectors: Doubles) -> tuple[Vectors, Doubles]:
        """Return the states `(rows,)` after a token, and the tangents `(n, rows, D)`, in one call if that can be."""
        if self._packing.separate and len(vectors) > 1:
            calls = [self._moved(ids, states, vector[None]) for vector in vectors]
            return calls[0][0], np.concatenate([tangent for _, tangent in calls])
        count, rows, size = vectors.shape
        tangents, moved = vectors.reshape(-1, size), np.zeros((count * rows, size))
        state = self._packing.unpack(np.concatenate([states] * count))
        leaves = leaves_of(state)
        with forward_ad.dual_level():
            for path, (leaf, columns) in self._moving.items():
                tangent = made_like(leaf.unpacked(tangents[:, columns]), leaf.like)
                leaves[path] = forward_ad.make_dual(leaves[path], tangent)
            _, after = self._step.read(np.tile(ids, (count, 1)), filled(state, iter(leaves.values())))
            returned = leaves_of(after)
            for path, (leaf, columns) in self._moving.items():
                if (tangent := forward_ad.unpack_dual(returned[path]).tangent) is not None:
                    moved[:, columns] = leaf.packed(as_array(tangent, path))
            return self._packing.pack(after, len(moved))[:rows], moved.reshape(vectors.shape)

    def _require_visible(self, ids: NDArray[np.int32], moved: Doubles) -> None:
        """Refuse a model that hides from PyTorch how its state acts: a small change moves it in another direction."""
        ends = []
        for sign in (1, -1):
            states = np.stack([self._states] * len(moved))
            numbers = numbers_of(states)
            sizes = _NUDGE * np.maximum(np.linalg.norm(numbers_of(self._states), axis=1), _NUDGE)[:, None]
            numbers += (sign * sizes * self._vectors).astype(numbers.dtype)
            after = np.empty_like(states)
            for each, of_each in zip(states, after, strict=True):
                for rows in self._packing.groups(each):
                    _, state = self._step.read(ids[rows], self._packing.unpack(each[rows]))
                    of_each[rows] = self._packing.pack(state, len(rows))
            ends.append(numbers_of(after).astype(np.float64))
        changes = (ends[0] - ends[1]) / (2 * sizes) * self._inside
        missed = np.linalg.norm(changes - moved, axis=2) > _HIDDEN * np.maximum(np.linalg.norm(changes, axis=2), _NUDGE)
        if missed.all(axis=1).any():
            raise CheckpointError("a change of its state acts otherwise than its derivative says, as after detach()")


def _names(lm: StepLM, path: str) -> tuple[str, ...]:
    """Return the names of an array of the state: one, or one for each layer of a module that returned it."""
    return lm.names.get(path) or (".".join(lm.named(path)),)


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
