"""One call of a PyTorch model from a given state, watched: what its modules see, and which of them makes each array.

States are told from other tensors by their content: a step function gives the model copies of the arrays that it was
given, in containers of its own, in attributes of modules or as they are.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.models.state import filled, leaves_of
from rnneval.models.torch.module import TorchStep
from rnneval.wiring.torch.hooks import content, listening, tensors_in

Chain = tuple[str, ...]
"""The modules that are running, the outermost first."""


class Event(NamedTuple):
    """The begin or end of a module, and the content of what it got or gave, states left out."""

    chain: Chain
    phase: str
    seen: tuple[tuple[str, bytes], ...]


class Birth(NamedTuple):
    """The first appearance of some content in an array of the state, or as an output of a module."""

    chain: Chain
    at: str
    """The array's path; for an output, its place in what the module returned."""
    is_output: bool


class Watched(NamedTuple):
    """Observations of one call."""

    events: list[Event]
    logits: bytes
    after: Any
    """The state after the call."""
    births: dict[bytes, list[Birth]]
    entries: dict[str, set[tuple[Chain, str]]]
    """The modules that were given an array of the state itself, and its place among their arguments, by its path."""


def arrays_of(state: Any) -> dict[str, torch.Tensor]:
    """Return the arrays of real or complex numbers of a state by path; a tensor that stands twice comes once."""
    found: dict[str, torch.Tensor] = {}
    known = set()
    for path, leaf in leaves_of(state).items():
        if (
            not isinstance(leaf, torch.Tensor)
            or not leaf.numel()
            or not (leaf.is_floating_point() or leaf.is_complex())
        ):
            continue
        if (place := (leaf.data_ptr(), leaf.shape, leaf.stride())) not in known:
            found[path] = leaf
        known.add(place)
    return found


def replaced(state: Any, arrays: Mapping[str, torch.Tensor]) -> Any:
    """Return a state with other arrays; one that stands twice is replaced at both places."""
    own = leaves_of(state)
    by_place = {own[path].data_ptr(): array for path, array in arrays.items()}
    leaves = (
        by_place.get(leaf.data_ptr(), leaf) if isinstance(leaf, torch.Tensor) and leaf.numel() else leaf
        for leaf in own.values()
    )
    return filled(state, iter(list(leaves)))


def part_name(path: str, axis: int, index: int) -> str:
    """Return the path of one layer's part of an array.

    Example:
        >>> part_name("state[1]", 2, 0)
        'state[1][:, :, 0]'
    """
    return f"{path}[{':, ' * axis}{index}]"


def watch(step: TorchStep, ids: NDArray[np.int32], state: Any, *, axes: Mapping[str, int] | None = None) -> Watched:
    """Make one call from a state, and record what modules see.

    With `axes`, also where each array was made; it has the axis along which an array holds several layers' states.
    """
    state = replaced(state, {path: array.detach().clone() for path, array in arrays_of(state).items()})
    listener = _Listener(step.module, arrays_of(state), axes)
    with listening(step.module, listener):
        logits, after = step(ids, state)
    return Watched(listener.events, content(logits), after, listener.births, listener.entries)


class _Listener:
    """Records events, and tells the arrays of the state from other tensors."""

    def __init__(
        self, module: torch.nn.Module, given: Mapping[str, torch.Tensor], axes: Mapping[str, int] | None
    ) -> None:
        self.events: list[Event] = []
        self.births: dict[bytes, list[Birth]] = {}
        self.entries: dict[str, set[tuple[Chain, str]]] = {}
        self._axes, self._module = axes, module
        self._given = {path: _stored(array) for path, array in given.items()}
        self._sizes = {array.untyped_storage().nbytes() for array in given.values()}
        self._states: dict[int, tuple[str, torch.Tensor]] = {}  # by address; the tensors are kept, so none is reused
        self._places: dict[str, Callable[[], Any]] = {}  # what reads each place that may hold an array
        self._versions: dict[str, tuple[int, int]] = {}
        self._names: dict[str, str] = {}  # where the model has an array → its path in the state

    def __call__(self, chain: Chain, phase: str, given: Any, result: Any) -> None:
        """Record one event."""
        if len(chain) == 1 and phase == "in":
            self._look_around(given)
        seen = []
        for path, tensor in tensors_in(given if phase == "in" else result):
            array = self._path_of(tensor)
            if array is None:
                seen.append((path, content(tensor)))
            elif phase == "in":
                self.entries.setdefault(array, set()).add((chain, path))
        self.events.append(Event(chain, phase, tuple(seen)))
        if self._axes is not None:
            self._look_for_births(chain, phase, result)

    def _look_for_births(self, chain: Chain, phase: str, result: Any) -> None:
        """Record new content of arrays; what changed before a module began was made by the one around it."""
        maker = chain if phase == "out" else chain[:-1]
        for path, tensor in self._live():
            if self._is_new(path, tensor):
                self._made(self._names.get(path, path), tensor, maker)
        for path, tensor in tensors_in(result):
            self._born(tensor, Birth(chain, path, is_output=True))

    def _made(self, path: str, array: torch.Tensor, maker: Chain) -> None:
        """Record an array as made by a module; in parts if it holds the states of several layers."""
        axis = (self._axes or {}).get(path)
        if axis is None or axis >= array.dim():
            self._born(array, Birth(maker, path, is_output=False))
            return
        for index, part in enumerate(array.unbind(axis)):
            self._born(part, Birth(maker, part_name(path, axis, index), is_output=False))

    def _born(self, tensor: torch.Tensor, birth: Birth) -> None:
        self.births.setdefault(content(tensor), []).append(birth)

    def _is_new(self, path: str, tensor: torch.Tensor) -> bool:
        """Return whether an array was replaced or changed in place since the last look."""
        version = (tensor.data_ptr(), tensor._version)
        new = self._versions.get(path) != version
        self._versions[path] = version
        return new

    def _live(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the arrays of the state that the running model has, where it has them."""
        for path, read in self._places.items():
            if isinstance(value := read(), torch.Tensor):
                yield path, value

    def _look_around(self, given: Any) -> None:
        """Find the places that hold arrays: in what the model was given, and in attributes of its modules."""
        number = len(self._places)
        found = dict(_places_in(given, str(number)))
        for name, module in self._module.named_modules() if not number else ():
            held = {**vars(module), **dict(module.named_buffers(recurse=False))}
            for key in (key for key, value in held.items() if isinstance(value, torch.Tensor)):
                if self._path_of(held[key]) is not None:
                    found[f"{name}.{key}"] = partial(getattr, module, key, None)
        self._places |= found
        for path, tensor in self._live():
            self._names.setdefault(path, self._path_of(tensor) or path)
            self._is_new(path, tensor)

    def _path_of(self, tensor: torch.Tensor) -> str | None:
        """Return the path of the array of the state that a tensor is, or is a view or copy of; None for others."""
        storage = tensor.untyped_storage()
        known = self._states.get(storage.data_ptr())
        if known is not None:
            return known[0]
        if not tensor.numel() or storage.nbytes() not in self._sizes:
            return None
        stored = _stored(tensor)
        taken = {path for path, _ in self._states.values()}
        same = [path for path, given in self._given.items() if given == stored]
        if not same:
            return None
        path = next((path for path in same if path not in taken), same[0])
        self._states[storage.data_ptr()] = (path, tensor)
        return path


def _places_in(value: Any, path: str, above: frozenset[int] = frozenset()) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the places of a nest that hold tensors, each with a function that reads it again: arrays are replaced."""
    steps: dict[str, Callable[[], Any]] = {}
    if isinstance(value, Mapping):
        steps = {f"[{key!r}]": partial(value.get, key) for key in value}
    elif isinstance(value, tuple | list):
        steps = {f"[{index}]": partial(value.__getitem__, index) for index in range(len(value))}
    elif hasattr(value, "__dict__") and not callable(value):
        steps = {f".{name}": partial(getattr, value, name, None) for name in vars(value)}
    for step, read in steps.items():
        child = read()
        if isinstance(child, torch.Tensor):
            yield path + step, read
        elif id(child) not in above:
            yield from _places_in(child, path + step, above | {id(value)})


def _stored(tensor: torch.Tensor) -> bytes:
    """Return a digest of all that a tensor's memory holds, so that a view is known as its whole."""
    memory = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage().cpu())
    return content(memory)
