"""States and gates of `torch.nn.GRU`, `LSTM` and `RNN` after every token, seen in calls of many tokens.

A hook keeps what such a module is given. Its layers are then run once more, one after the other: PyTorch returns h of
every token, and c, of which it returns the last alone, follows from the equations of the cell.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.metrics.diagnostics.gates import Gated
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.protocol import GatedCell, LayerState, Layout, Sees, Trajectory

_NEAR = 1e-4  # largest difference between the states that a module returned and those that are computed

Seen = tuple[dict[str, Trajectory], dict[str, NDArray[Any]]]


def uncompiled() -> AbstractContextManager[None]:
    """Run models that `torch.compile` made uncompiled while a block runs.

    Where nothing was compiled, PyTorch's compiler stays out: its import ends a process that has TensorFlow.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


class _Layer(NamedTuple):
    """One layer of a recurrent module."""

    name: str
    number: int
    alone: torch.nn.RNNBase  # a module of this layer alone, with the same weights

    @property
    def slots(self) -> tuple[str, ...]:
        """The parts of its state."""
        return ("h", "c") if self.alone.mode == "LSTM" else ("h",)

    @property
    def gated(self) -> Gated | None:
        """Its weights in the order of `Gated`; None for a layer without gates."""
        if self.alone.mode not in {"GRU", "LSTM"}:
            return None
        order = [1, 0, 2] if self.alone.mode == "GRU" else [0, 1, 2, 3]  # PyTorch has r, z, n and i, f, g, o

        def placed(name: str) -> NDArray[np.float32]:
            weight = getattr(self.alone, f"{name}_l0").detach().float().cpu().numpy()
            parts = weight.reshape(len(order), self.alone.hidden_size, -1)[order]
            return np.ascontiguousarray(parts.reshape(-1, parts.shape[2]).T)

        bias = np.concatenate([placed("bias_ih"), placed("bias_hh")]) if self.alone.bias else None
        return Gated(kind=self.alone.mode, kernel=placed("weight_ih"), recurrent=placed("weight_hh"), bias=bias)


class RecurrentModules:
    """The recurrent modules of PyTorch inside of a model, whose calls are watched."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Find them."""
        self._modules = {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.RNNBase)}

    def make_up(self, step: Callable[[NDArray[np.int32], Any], tuple[Any, Any]], numbers: int) -> bool:
        """Return whether their states are all of the model's, so many numbers, and can be computed: a call tells."""
        if any(module.bidirectional or module.proj_size for module in self._modules.values()):
            return False
        if sum(layer.alone.hidden_size * len(layer.slots) for layer in self._layers()) != numbers:
            return False
        ids = np.ones((2, 3), np.int32)
        state = step(ids, None)[1]
        with self._calls() as calls:
            step(ids, state)
        return all(self._repeats(name, calls[name]) for name in self._modules)

    def layout(self, sees: Sees) -> Layout:
        """Describe their states, and their gates where they are asked for."""
        layout = Layout()
        for layer in self._layers():
            bounded = layer.alone.mode != "RNN_RELU"
            for slot in layer.slots:
                limit = LIMITS[slot] if bounded else None
                state = LayerState(layer=layer.name, slot=slot, units=layer.alone.hidden_size, limit=limit)
                layout.states[state.key] = state
            if sees == "gates" and (gated := layer.gated) is not None:
                cell = GatedCell(prefix="", weights=gated, activation=None, slot=0, below=None)
                layout.cells[layer.name] = (cell,)
        return layout

    def _layers(self) -> list[_Layer]:
        return [layer for name, module in self._modules.items() for layer in _layers(name, module)]

    @contextmanager
    def watching(self) -> Iterator[Callable[[], Seen]]:
        """Watch the calls in a block; the function that is given returns afterwards what was seen."""
        with self._calls() as calls:
            yield partial(self._seen, calls)

    @contextmanager
    def _calls(self) -> Iterator[dict[str, list[Any]]]:
        """Record input, initial state and output of the calls of each module, while the block runs."""
        calls: dict[str, list[Any]] = {name: [] for name in self._modules}

        def keep(name: str, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            given = dict(zip(("input", "hx"), args, strict=False)) | kwargs
            calls[name].append((given["input"], given.get("hx"), output))

        handles = [
            module.register_forward_hook(partial(keep, name), with_kwargs=True)
            for name, module in self._modules.items()
        ]
        try:
            with uncompiled():  # a compiled model would be compiled again for the hooks
                yield calls
        finally:
            for handle in handles:
                handle.remove()

    def _seen(self, calls: dict[str, list[Any]]) -> Seen:
        runs = [run for name in self._modules for run in self._run(name, calls[name])]
        states = {f"{layer.name}.{slot}": each for layer, _, found in runs for slot, each in found.items()}
        return states, {layer.name: _numpy(given) for layer, given, _ in runs}

    def _run(self, name: str, calls: list[Any]) -> Iterator[tuple[_Layer, torch.Tensor, dict[str, Trajectory]]]:
        """Yield each layer of a module, its inputs `(rows, time, inputs)`, and its states by slot."""
        axis = 1 if self._modules[name].batch_first else 0
        given = torch.cat([tokens for tokens, _, _ in calls], dim=axis)
        given = given if axis == 1 else given.transpose(0, 1)
        start = calls[0][1]
        for layer in _layers(name, self._modules[name]):
            shape = (self._modules[name].num_layers, len(given), layer.alone.hidden_size)
            begin = given.new_zeros(shape) if start is None else start
            parts = begin if isinstance(begin, tuple) else (begin,) * len(layer.slots)
            first = [part[layer.number] for part in parts]
            with torch.no_grad():
                hx = tuple(part[None] for part in first)
                hidden, _ = layer.alone(given, hx if len(hx) > 1 else hx[0])
                after = [hidden, *([_cells(layer.alone, given, first, hidden)] if len(hx) > 1 else [])]
            found = (Trajectory(_numpy(states), _numpy(before)) for states, before in zip(after, first, strict=True))
            yield layer, given, dict(zip(layer.slots, found, strict=True))
            given = hidden

    def _repeats(self, name: str, calls: list[Any]) -> bool:
        """Return whether the states that are computed from calls of three tokens end where the module's own do."""
        plain = all(torch.is_tensor(given) and given.dim() == 3 for given, _, _ in calls)
        if not calls or not plain or sum(given.numel() // given.shape[-1] for given, _, _ in calls) != 2 * 3:
            return False
        last = calls[-1][2][1]
        returned = last if isinstance(last, tuple) else (last,)
        return all(
            np.allclose(trajectories[slot].states[:, -1], _numpy(returned[k][layer.number]), atol=_NEAR)
            for layer, _, trajectories in self._run(name, calls)
            for k, slot in enumerate(layer.slots)
        )


def _layers(name: str, module: torch.nn.RNNBase) -> list[_Layer]:
    """Return the layers of a module, each with a module of its own that has the same weights."""
    found = []
    settings = {"nonlinearity": module.nonlinearity} if isinstance(module, torch.nn.RNN) else {}
    for number in range(module.num_layers):
        width = getattr(module, f"weight_ih_l{number}").shape[1]
        kind: Any = getattr(torch.nn, module.mode.partition("_")[0])
        with torch.device("meta"):  # no memory, and no random numbers
            alone = kind(width, module.hidden_size, bias=module.bias, batch_first=True, **settings)
        for role in ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ())):
            weight = getattr(module, f"{role}_l{number}")  # computed at every use where a parametrization makes it
            made = weight if isinstance(weight, torch.nn.Parameter) else torch.nn.Parameter(weight.detach())
            setattr(alone, f"{role}_l0", made)
        found.append(_Layer(name if module.num_layers == 1 else f"{name}[{number}]", number, alone))
    return found


def _cells(alone: Any, given: torch.Tensor, first: list[torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
    """Return c after every token, `(rows, time, units)`: c' = σ(f) · c + σ(i) · tanh(g)."""
    before = torch.cat([first[0][:, None], hidden[:, :-1]], dim=1)
    biases = (alone.bias_ih_l0, alone.bias_hh_l0) if alone.bias else (None, None)
    linear = torch.nn.functional.linear
    parts = linear(given, alone.weight_ih_l0, biases[0]) + linear(before, alone.weight_hh_l0, biases[1])
    into, keep, new, _ = parts.chunk(4, dim=2)
    added, kept = torch.sigmoid(into) * torch.tanh(new), torch.sigmoid(keep)
    cell, cells = first[1], []
    for at in range(given.shape[1]):
        cell = kept[:, at] * cell + added[:, at]
        cells.append(cell)
    return torch.stack(cells, dim=1)


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    made: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return made
