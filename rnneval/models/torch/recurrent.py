"""States and gates of `torch.nn.GRU`, `LSTM` and `RNN` after every token, seen in calls of many tokens.

A hook keeps what such a module is given and returns. The layers below the last are then run once more, one after the
other: PyTorch returns h of the last layer after every token, and c, of which it returns the last alone, follows from
the equations of the cell.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.metrics.diagnostics.gates import Gated
from rnneval.metrics.diagnostics.summary import LIMITS
from rnneval.models.protocol import GatedCell, LayerState, Layout, Sees, Trajectory
from rnneval.models.state import leaves_of

_ORDERS = {"GRU": [1, 0, 2], "LSTM": [0, 1, 2, 3]}  # PyTorch has r, z, n and i, f, g, o
_NEAR = 1e-4  # largest difference between the states that a module returned and those that are computed

Step = Callable[[NDArray[np.int32], Any], tuple[Any, Any]]
WatchedStates = tuple[dict[str, Trajectory], dict[str, NDArray[Any]]]


def uncompiled() -> AbstractContextManager[None]:
    """Run models that `torch.compile` made uncompiled while a block runs."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and its import ends a process that has TensorFlow
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


class RecurrentModules:
    """The recurrent modules of PyTorch inside of a model, whose calls are watched."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._modules = {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.RNNBase)}
        self._cells = {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.RNNCellBase)}

    def make_up(self, step: Step, numbers: int) -> bool:
        """Return whether their states are all of the model's, so many numbers, and can be computed: a call tells."""
        if any(module.bidirectional or module.proj_size for module in self._modules.values()):
            return False
        if sum(each.num_layers * each.hidden_size * len(_slots(each)) for each in self._modules.values()) != numbers:
            return False
        ids = np.ones((2, 3), np.int32)
        state = step(ids, None)[1]
        with _calls(self._modules) as calls:
            step(ids, state)
        return all(self._repeats(name, calls[name], ids.size) for name in self._modules)

    def names(self, step: Step, ids: NDArray[np.int32]) -> dict[str, tuple[str, ...]]:
        """Return the names of the arrays that these modules returned, by path: `gru.h`, or `gru.h[0]`, … of layers."""
        names_of: dict[str, tuple[str, ...]] = {}
        state = step(ids, None)[1]
        with _calls(self._modules | self._cells) as calls:
            leaves = leaves_of(step(ids, state)[1])
        for name, (_, _, output) in ((name, made[-1]) for name, made in calls.items() if made):
            returned = output if name in self._cells else output[1]
            for slot, array in zip(("h", "c"), returned if isinstance(returned, tuple) else (returned,), strict=False):
                layers = 1 if name in self._cells else len(array)
                keys = tuple(f"{name}.{slot}{_number(index, layers)}" for index in range(layers))
                same = (path for path, leaf in leaves.items() if torch.is_tensor(leaf) and torch.equal(leaf, array))
                names_of |= dict.fromkeys(same, keys)
        return names_of

    def layout(self, sees: Sees, segment: int) -> Layout:
        """Describe their states, and their gates where they are asked for.

        After every token, modules of one layer show h at no cost. Else the states at the ends of calls are shown.
        """
        shown = all(module.num_layers == 1 and module.mode != "LSTM" for module in self._modules.values())
        layout = Layout(call=1 if shown or sees != "shown" else segment)
        for name, module in self._modules.items():
            cells: list[GatedCell] = []
            for number, layer in enumerate(_layers(module)):
                slots, ending = _slots(layer), _number(number, module.num_layers)
                for slot in slots:
                    limit = None if layer.mode == "RNN_RELU" else LIMITS[slot]
                    state = LayerState(layer=name, slot=slot + ending, units=layer.hidden_size, limit=limit)
                    layout.states[state.key] = state
                at, below = number * len(slots), (number - 1) * len(slots) if number else None
                if sees == "gates" and layer.mode in _ORDERS:
                    weights = _gated(layer)
                    cells.append(GatedCell(suffix=ending, weights=weights, activation=None, slot=at, below=below))
            if cells:
                layout.cells[name] = tuple(cells)
        return layout

    @contextmanager
    def watching(self, *, every_token: bool) -> Iterator[Callable[[], WatchedStates]]:
        """Watch the calls in a block; the function that is given returns afterwards what was seen."""
        with _calls(self._modules) as calls:
            yield partial(self._watched if every_token else self._at_the_end, calls)

    def _watched(self, calls: dict[str, list[Any]]) -> WatchedStates:
        states: dict[str, Trajectory] = {}
        inputs: dict[str, NDArray[Any]] = {}
        for name, module in self._modules.items():
            for number, (given, found) in enumerate(self._run(name, calls[name])):
                ending = _number(number, module.num_layers)
                states |= {f"{name}.{slot}{ending}": trajectory for slot, trajectory in found.items()}
                inputs.setdefault(name, _numpy(given))
        return states, inputs

    def _at_the_end(self, calls: dict[str, list[Any]]) -> WatchedStates:
        """Return the states before the first call and after the last, and no inputs."""
        states: dict[str, Trajectory] = {}
        for name, module in self._modules.items():
            end = calls[name][-1][2][1]
            ends = end if isinstance(end, tuple) else (end,)
            for slot, before, after in zip(_slots(module), self._start(name, calls[name]), ends, strict=True):
                for number in range(module.num_layers):
                    key = f"{name}.{slot}{_number(number, module.num_layers)}"
                    states[key] = Trajectory(_numpy(after[number])[:, None], _numpy(before[number]))
        return states, {}

    def _start(self, name: str, calls: list[Any]) -> tuple[torch.Tensor, ...]:
        """Return the parts of the state before the first call of a module, each `(layers, rows, units)`."""
        module, (given, start, _) = self._modules[name], calls[0]
        if start is None:
            rows = given.shape[0 if module.batch_first else 1]
            start = given.new_zeros(module.num_layers, rows, module.hidden_size)
        return start if isinstance(start, tuple) else (start,) * len(_slots(module))

    def _run(self, name: str, calls: list[Any]) -> Iterator[tuple[torch.Tensor, dict[str, Trajectory]]]:
        """Yield the inputs `(rows, time, inputs)` of each layer of a module, and its states by slot."""
        module, start = self._modules[name], self._start(name, calls)
        axis = 1 if module.batch_first else 0
        given, returned = (
            torch.cat(tensors, dim=axis).movedim(axis, 1)
            for tensors in zip(*((tokens, output) for tokens, _, (output, _) in calls), strict=True)
        )
        for number, layer in enumerate(_layers(module)):
            slots, first = _slots(layer), [part[number] for part in start]
            with torch.no_grad():
                hx = tuple(part[None] for part in first)
                top = number == module.num_layers - 1
                hidden = returned if top else layer(given, hx if len(hx) > 1 else hx[0])[0]
                after = [hidden, *([_cells(layer, given, first, hidden)] if len(hx) > 1 else [])]
            found = (Trajectory(_numpy(states), _numpy(before)) for states, before in zip(after, first, strict=True))
            yield given, dict(zip(slots, found, strict=True))
            given = hidden

    def _repeats(self, name: str, calls: list[Any], tokens: int) -> bool:
        """Return whether the states that are computed from calls of so many tokens end where the module's own do."""
        plain = all(torch.is_tensor(given) and given.dim() == 3 for given, _, _ in calls)
        if not calls or not plain or sum(given.numel() // given.shape[-1] for given, _, _ in calls) != tokens:
            return False
        last = calls[-1][2][1]
        returned = last if isinstance(last, tuple) else (last,)
        return all(
            np.allclose(trajectory.states[:, -1], _numpy(own[number]), atol=_NEAR)
            for number, (_, found) in enumerate(self._run(name, calls))
            for own, trajectory in zip(returned, found.values(), strict=True)
        )


@contextmanager
def _calls(modules: Mapping[str, torch.nn.Module]) -> Iterator[dict[str, list[Any]]]:
    """Record input, initial state and output of the calls of each module, while the block runs."""
    calls: dict[str, list[Any]] = {name: [] for name in modules}

    def keep(name: str, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = dict(zip(("input", "hx"), args, strict=False)) | kwargs
        calls[name].append((given["input"], given.get("hx"), output))

    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(partial(keep, name), with_kwargs=True).remove)
        hooks.enter_context(uncompiled())  # a compiled model would be compiled again for the hooks
        yield calls


def _number(index: int, count: int) -> str:
    """Return what follows the name of a state of one of several layers."""
    return f"[{index}]" if count > 1 else ""


def _slots(layer: torch.nn.RNNBase) -> tuple[str, ...]:
    return ("h", "c") if layer.mode == "LSTM" else ("h",)


def _gated(layer: torch.nn.RNNBase) -> Gated:
    """Return the weights of a layer with gates, in the order of `Gated`."""
    order = _ORDERS[layer.mode]

    def placed(name: str) -> NDArray[np.float32]:
        parts = _numpy(getattr(layer, f"{name}_l0")).reshape(len(order), layer.hidden_size, -1)[order]
        return np.ascontiguousarray(parts.reshape(-1, parts.shape[2]).T)

    bias = np.concatenate([placed("bias_ih"), placed("bias_hh")]) if layer.bias else None
    return Gated(kind=layer.mode, kernel=placed("weight_ih"), recurrent=placed("weight_hh"), bias=bias)


def _layers(module: torch.nn.RNNBase) -> list[torch.nn.RNNBase]:
    """Return modules of one layer of a module each, with the same weights."""
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
        found.append(alone)
    return found


def _cells(layer: Any, inputs: torch.Tensor, first: list[torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
    """Return c after every token, `(rows, time, units)`: c' = σ(f) · c + σ(i) · tanh(g)."""
    before = torch.cat([first[0][:, None], hidden[:, :-1]], dim=1)
    biases = (layer.bias_ih_l0, layer.bias_hh_l0) if layer.bias else (None, None)
    linear = torch.nn.functional.linear
    parts = linear(inputs, layer.weight_ih_l0, biases[0]) + linear(before, layer.weight_hh_l0, biases[1])
    into, keep, new, _ = parts.chunk(4, dim=2)
    added, kept = torch.sigmoid(into) * torch.tanh(new), torch.sigmoid(keep)
    cells = [first[1]]
    for at in range(inputs.shape[1]):
        cells.append(kept[:, at] * cells[-1] + added[:, at])
    return torch.stack(cells[1:], dim=1)


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
