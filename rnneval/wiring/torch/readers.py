"""Which module reads each array of the state, and which module wrote it.

No tolerance is needed. One array is changed by itself, the model is called once with one token and once with three, and
the first module whose inputs or outputs differ in a single bit is the reader. The writer is the module in which the
content of an array first appeared.

States are told from other tensors by their content: a step function gives the model copies of the arrays that it was
given, in containers of its own, in attributes of modules or as they are.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from rnneval.models.state import filled, leaves_of
from rnneval.models.torch.module import TorchStep
from rnneval.wiring.behaviour import Ids, ordinary_ids
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, content, listening, tensors_in

BEFORE = (4, 1)  # tokens of the calls that make the state
CALLS = (1, 3)  # tokens of the call in which reactions are watched
_TIMES = 1000  # a change as large as this must have an effect before an array is said to have none
_LATER = 16  # tokens in which an array must stay the same before it is said to be stale
_STACKED = {"in": r"(?:\[0\]\[1\]|\[1\]\['hx'\])(\[[01]\])?", "out": r"\[1\](\[[01]\])?"}
"""Where a recurrent module of PyTorch takes and returns its states."""
_SLOTS = ("h", "c")  # other places among arguments and outputs begin with a bracket, or are empty


class _Event(NamedTuple):
    """The begin or end of a module, and the content of what it got or gave, states left out."""

    chain: Chain
    phase: str
    seen: tuple[tuple[str, bytes], ...]


class _Birth(NamedTuple):
    """The first appearance of some content in an array of the state, or as an output of a module."""

    chain: Chain
    at: str  # the array's path; for an output, its place in what the module returned, or `h[0]` for a layer's state
    is_output: bool


def _arrays_of(state: Any) -> dict[str, torch.Tensor]:
    """Return the arrays of real or complex numbers of a state by path; a tensor that stands twice comes once."""
    found: dict[Any, tuple[str, torch.Tensor]] = {}
    for path, leaf in leaves_of(state).items():
        if isinstance(leaf, torch.Tensor) and leaf.numel() and (leaf.is_floating_point() or leaf.is_complex()):
            found.setdefault((leaf.data_ptr(), leaf.shape, leaf.stride()), (path, leaf))
    return dict(found.values())


def _replaced(state: Any, arrays: Mapping[str, torch.Tensor]) -> Any:
    """Return a state with other arrays; one that stands twice is replaced at both places."""
    own = leaves_of(state)
    by_place = {own[path].data_ptr(): array for path, array in arrays.items()}
    return filled(
        state,
        (
            by_place.get(leaf.data_ptr(), leaf) if isinstance(leaf, torch.Tensor) and leaf.numel() else leaf
            for leaf in own.values()
        ),
    )


def _part(path: str, axis: int, index: int) -> str:
    """Return the path of one layer's part of an array, such as `state[1][:, :, 0]`."""
    return f"{path}[{':, ' * axis}{index}]"


def _stack_size(module: torch.nn.Module) -> int:
    """Return the number of layers and directions whose states a recurrent module of PyTorch keeps in one array."""
    return module.num_layers * (2 if module.bidirectional else 1) if isinstance(module, torch.nn.RNNBase) else 1


class _Watched:
    """One call from a state: what modules saw, and which arrays of the state they were given and made."""

    def __init__(self, step: TorchStep, ids: Ids, state: Any, axes: Mapping[str, int] | None = None) -> None:
        """Make the call; with `axes`, those along which arrays hold several layers' states, also record all births."""
        self.events: list[_Event] = []
        self.births: dict[bytes, list[_Birth]] = {}
        self.entries: dict[str, set[tuple[Chain, str]]] = {}
        """By the path of an array: the modules that were given it, and its place among their arguments."""
        state = _replaced(state, {path: array.detach().clone() for path, array in _arrays_of(state).items()})
        given = _arrays_of(state)
        self._axes, self._module = axes, step.module
        self._given = {path: _stored(array) for path, array in given.items()}
        self.stacks = {*map(_stack_size, step.module.modules())} - {1}
        self._parts = dict(self._parts_of(given))
        self._sizes = {array.untyped_storage().nbytes() for array in given.values()}
        self._states: dict[int, tuple[str, torch.Tensor]] = {}  # by address; the tensors are kept, so none is reused
        self._places: dict[str, Callable[[], Any]] = {}  # what reads each place that may hold an array
        self._versions: dict[str, tuple[int, int]] = {}
        self._names: dict[str, str] = {}  # where the model has an array → its path in the state
        with listening(step.module, self._hear):
            logits, self.after = step(ids, state)
        self.logits = content(logits)

    def _hear(self, chain: Chain, phase: str, given: Any, result: Any) -> None:
        """Record one event, and tell the arrays of the state from other tensors."""
        if len(chain) == 1 and phase == "in":
            self._look_around(given)
        seen = []
        for path, tensor in self._tensors(chain, phase, given if phase == "in" else result):
            array = (self._parts.get(content(tensor)) if path[:1] in _SLOTS else None) or self._path_of(tensor)
            if array is None:
                seen.append((path, content(tensor)))
            elif phase == "in":
                self.entries.setdefault(array, set()).add((chain, path))
        self.events.append(_Event(chain, phase, tuple(seen)))
        if self._axes is None:
            return
        # What changed before a module began was made by the one around it.
        for path, tensor in self._changed():
            self._made(self._names.get(path, path), tensor, chain if phase == "out" else chain[:-1])
        for path, tensor in (*tensors_in(result), *self._tensors(chain, phase, result)):
            self.births.setdefault(content(tensor), []).append(_Birth(chain, path, is_output=True))

    def _tensors(self, chain: Chain, phase: str, nest: Any) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the tensors of an event; the states of stacked layers come one by one, as `h[0]` and `c[0]`."""
        size = _stack_size(self._module.get_submodule(chain[-1]))
        for path, tensor in tensors_in(nest):
            state = re.fullmatch(_STACKED[phase], path) if size > 1 and len(tensor) == size else None
            if state is None:
                yield path, tensor
            else:
                slot = "c" if state[1] == "[1]" else "h"
                yield from ((f"{slot}[{index}]", part) for index, part in enumerate(tensor))

    def _parts_of(self, given: Mapping[str, torch.Tensor]) -> Iterator[tuple[bytes, str]]:
        """Yield what may be the state of one of several stacked layers: its content, and its path."""
        for path, array in given.items() if self.stacks else ():
            yield content(array), path
            for axis in (axis for axis, size in enumerate(array.shape) if size in self.stacks):
                yield from ((content(part), _part(path, axis, at)) for at, part in enumerate(array.unbind(axis)))

    def _made(self, path: str, array: torch.Tensor, maker: Chain) -> None:
        """Record an array as made by a module; in parts if it holds the states of several layers."""
        axis = (self._axes or {}).get(path, array.dim())
        parts = {path: array}
        if axis < array.dim():
            parts = {_part(path, axis, index): part for index, part in enumerate(array.unbind(axis))}
        for name, part in parts.items():
            self.births.setdefault(content(part), []).append(_Birth(maker, name, is_output=False))

    def _changed(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the arrays that were replaced or changed in place since the last look, where the model has them."""
        for path, read in self._places.items():
            if isinstance(value := read(), torch.Tensor):
                version = (value.data_ptr(), value._version)
                if self._versions.get(path) != version:
                    self._versions[path] = version
                    yield path, value

    def _look_around(self, given: Any) -> None:
        """Find the places that hold arrays: in what the model was given, and in attributes of its modules."""
        number = len(self._places)
        found = dict(_places_in(given, str(number)))
        for name, module in self._module.named_modules() if not number else ():
            held = {**vars(module), **dict(module.named_buffers(recurse=False))}
            for key, value in held.items():
                if isinstance(value, torch.Tensor) and self._path_of(value) is not None:
                    found[f"{name}.{key}"] = partial(getattr, module, key, None)
        self._places |= found
        for path, tensor in self._changed():
            self._names.setdefault(path, self._path_of(tensor) or path)

    def _path_of(self, tensor: torch.Tensor) -> str | None:
        """Return the path of the array of the state that a tensor is, or is a view or copy of; None for others."""
        storage = tensor.untyped_storage()
        known = self._states.get(storage.data_ptr())
        if known is not None:
            return known[0]
        if not tensor.numel() or storage.nbytes() not in self._sizes:
            return None
        stored = _stored(tensor)
        same = [path for path, given in self._given.items() if given == stored]
        if not same:
            return None
        taken = {path for path, _ in self._states.values()}
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
    return content(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage().cpu()))


@dataclass(frozen=True, kw_only=True)
class ArrayFlow:
    """One array of the state, or one layer's part of it: who reads it, and who wrote it."""

    path: str
    slot: str  # its name in a reader that stacks layers, such as `h[0]`; empty for others
    readers: Mapping[int, Chain | None]
    """The first module that reacts, by the number of tokens of the call; () is the step function itself."""
    writer: Chain | None  # the module that made what the array holds after a call; None if no module was seen to
    made_at: str  # the path of the array in which the content first appeared: another one where states were exchanged
    unchanged: tuple[int, ...]  # the calls that leave it as it is, by their numbers of tokens
    late: bool = False  # whether modules react to it one call later only
    blank: bool = False  # whether it is all zero, as at the beginning
    given: tuple[str, ...] = ()
    """Arrays of other modules whose new content the writer got in the same call, where this one is never read."""
    giver: Chain | None = None  # the module that gave the writer an output beside its first one in the same call

    @property
    def reader(self) -> Chain | None:
        """The first reader of any call."""
        return next((reader for reader in self.readers.values() if reader is not None), None)


def array_flows(step: TorchStep, width: int, seed: int) -> tuple[ArrayFlow, ...] | None:
    """Return what reads and what wrote each array; None for a model that gives different numbers for equal calls."""
    with torch.no_grad(), awake(step.module, seed):
        trial = _Interventions(step, width, seed)
        return tuple(trial.arrays()) if trial.repeats() else None


@dataclass(frozen=True)
class _Place:
    """An array of the state, or one layer's part of it."""

    path: str
    axis: int | None = None  # the axis along which the array holds the states of several layers
    index: int = 0

    @property
    def name(self) -> str:
        """The path, with the index of the layer if there are several."""
        return self.path if self.axis is None else _part(self.path, self.axis, self.index)

    def among(self, state: Any) -> torch.Tensor | None:
        """Return the numbers at this place of a state; None if it is not there."""
        array = _arrays_of(state).get(self.path)
        return array if array is None or self.axis is None else array.select(self.axis, self.index)


class _Interventions:
    """Calls of a model from one state, each with one array changed."""

    def __init__(self, step: TorchStep, width: int, seed: int) -> None:
        self._step, self._module = step, step.module
        lengths = (*BEFORE, *CALLS, max(CALLS), _LATER)
        ids = ordinary_ids(width, (1, sum(lengths)), [seed, 1])
        *before, one, several, self._next, self._later = np.split(ids, np.cumsum(lengths)[:-1], axis=1)
        self._ids = dict(zip(CALLS, (one, several), strict=True))
        self._state: Any = None
        for piece in before:
            _, self._state = step(piece, self._state)
        self._noise = torch.Generator().manual_seed(seed)
        self._plain = {tokens: self._watch(tokens, self._state, {}) for tokens in CALLS}

    def _watch(self, tokens: int, state: Any, axes: Mapping[str, int] | None = None) -> _Watched:
        return _Watched(self._step, self._ids[tokens], state, axes)

    def repeats(self) -> bool:
        """Return whether the same call gives the same, bit by bit."""
        return all(_reaction(plain, self._watch(tokens, self._state)) is None for tokens, plain in self._plain.items())

    def arrays(self) -> Iterator[ArrayFlow]:
        """Yield all arrays; one that holds the states of several layers comes in parts."""
        arrays = _arrays_of(self._state)
        axes = {path: axis for path, array in arrays.items() if (axis := self._layer_axis(path, array)) is not None}
        made = {tokens: self._watch(tokens, self._state, axes) for tokens in CALLS} if axes else self._plain
        places = [
            _Place(path, axes.get(path), index)
            for path, array in arrays.items()
            for index in range(array.shape[axes[path]] if path in axes else 1)
        ]
        for place in places:
            yield self._flow(place, made, places)

    def _layer_axis(self, path: str, array: torch.Tensor) -> int | None:
        """Return the axis of an array along which its readers differ, or one module stacks the states of its layers."""
        plain = self._plain[max(CALLS)]
        after = _arrays_of(plain.after).get(path, array)
        counts = {len(each) for each in self._module.modules() if isinstance(each, torch.nn.ModuleList)} - {0, 1}
        for axis, size in enumerate(array.shape):
            born = [plain.births.get(content(part), []) for part in after.unbind(axis)] if size in plain.stacks else []
            if any(birth.is_output and birth.at[:1] in _SLOTS for births in born for birth in births):
                return axis
            if size in counts:
                parts = (self._readers(_Place(path, axis, index))[1] for index in (0, size - 1))
                first, last = (next(filter(None, part.values()), None) for part in parts)
                if first and last and first != last:
                    return axis
        return None

    def _flow(self, place: _Place, made: Mapping[int, _Watched], places: Sequence[_Place]) -> ArrayFlow:
        """Return what reads an array, and what wrote it in calls from the state that it belongs to."""
        altered, readers = self._readers(place)
        silent = [tokens for tokens in CALLS if readers[tokens] is None]
        before, after = place.among(self._state), {tokens: place.among(each.after) for tokens, each in made.items()}
        changed = [tokens for tokens in CALLS if not _same(before, after[tokens])]
        makers = (_maker(made[tokens], place.name, after[tokens]) for tokens in reversed(changed))
        writer, made_at = next(filter(None, makers), (None, place.name))
        read = next((reader for reader in readers.values() if reader), None)
        longest = made[max(CALLS)]
        slots = [at for chain, at in longest.entries.get(place.name, ()) if chain == read and at[:1] in _SLOTS]
        own = {_Birth(read or (), slot, is_output=True) for slot in slots}
        same = [t for t in CALLS if t not in changed and self._stays(place, t, made[t], own)]
        return ArrayFlow(
            path=place.name,
            slot=slots[0] if len(slots) == 1 else "",
            readers=readers,
            writer=writer,
            made_at=made_at,
            unchanged=tuple(same),
            late=any(self._is_late(altered, tokens) for tokens in silent),
            blank=before is None or not before.any(),
            given=tuple(_given(longest, writer, places)) if len(silent) == len(CALLS) else (),
            giver=_giver(longest, writer),
        )

    def _readers(self, place: _Place) -> tuple[Any, dict[int, Chain | None]]:
        """Return a state with an array changed, by a thousand times at last, and the first to react in each call."""
        found: dict[int, Chain | None] = dict.fromkeys(CALLS)
        for times in (1, _TIMES):
            state = _replaced(self._state, {place.path: self._altered(place, times)})
            for tokens in (tokens for tokens in CALLS if found[tokens] is None):
                found[tokens] = _reaction(self._plain[tokens], self._watch(tokens, state))
        return state, found

    def _altered(self, place: _Place, times: float) -> torch.Tensor:
        """Return an array moved at a place by random numbers as large as its own."""
        array = _arrays_of(self._state)[place.path]
        size = torch.nan_to_num(array.abs().float(), posinf=0.0).mean().item() or 1.0
        altered = array.clone()
        part = altered if place.axis is None else altered.select(place.axis, place.index)
        part += (times * size * torch.randn(part.shape, generator=self._noise)).to(part)
        return altered

    def _is_late(self, altered: Any, tokens: int) -> bool:
        """Return whether modules react to a changed array in the call after one in which none did."""
        states = [self._step(self._ids[tokens], state)[1] for state in (self._state, altered)]
        return _reaction(*(_Watched(self._step, self._next, state) for state in states)) is not None

    def _stays(self, place: _Place, tokens: int, made: _Watched, own: set[_Birth]) -> bool:
        """Return whether an array is still the same after more calls of one token, or of several.

        It is not, where one of several stacked layers returned these very numbers, as one whose units are all off does.
        """
        state, after = made.after, place.among(made.after)
        if after is not None and not own.isdisjoint(made.births.get(content(after), ())):
            return False
        for piece in [self._later] if tokens > 1 else np.split(self._later, _LATER, axis=1):
            _, state = self._step(piece, state)
        return _same(place.among(self._state), place.among(state))


def _reaction(base: _Watched, other: _Watched) -> Chain | None:
    """Return the modules that are running where two calls first differ; () outside of all modules, None nowhere."""
    for plain, event in zip(base.events, other.events, strict=False):
        if plain != event:
            return event.chain if event.phase == "out" else event.chain[:-1]
    return None if base.logits == other.logits else ()


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and content(a) == content(b)


def _maker(made: _Watched, path: str, after: torch.Tensor | None) -> tuple[Chain, str] | None:
    """Return the module in which an array's new content first appeared, and the array that it was made as.

    Content that another module made later for this very array is that module's, and no exchange. An array of equal
    numbers is not followed: it looks like many others.
    """
    if after is None or not bool((after != after.reshape(-1)[0]).any()):
        return None
    # One layer's part of a stack may have been returned with an axis of length one.
    births = [birth for shape in (after, after[None]) for birth in made.births.get(content(shape), [])]
    if not births:
        return None
    own = next((birth for birth in births if birth.at == path and not birth.is_output), None)
    first = births[0] if own is None or own.chain == births[0].chain[: len(own.chain)] else own
    return first.chain, _made_as(first, made, path) if first.is_output else first.at


def _made_as(birth: _Birth, made: _Watched, path: str) -> str:
    """Return the array whose place among a module's arguments is that of an output among what it returned."""
    takes = {at: array for array, entries in made.entries.items() for chain, at in entries if chain == birth.chain}
    own = next((at for at, array in takes.items() if array == path), None)
    if own is None:
        return path
    same_place = birth.at if birth.at[:1] in _SLOTS else f"{own.rpartition('[')[0]}[{birth.at.rpartition('[')[2]}"
    return takes.get(same_place, path)


def _got(made: _Watched, writer: Chain | None) -> Iterator[bytes]:
    """Yield the content of what a module got beside its input."""
    for event in made.events:
        if event.phase == "in" and event.chain == writer:
            yield from (numbers for _, numbers in event.seen[1:])


def _giver(made: _Watched, writer: Chain | None) -> Chain | None:
    """Return the module that gave a writer something beside its input that is not the first of what it returned."""
    births = (birth for numbers in _got(made, writer) for birth in made.births.get(numbers, []))
    outputs = (birth for birth in births if birth.is_output and birth.at not in ("", "[0]"))
    return next((birth.chain for birth in outputs if birth.chain != writer), None)


def _given(made: _Watched, writer: Chain | None, places: Sequence[_Place]) -> Iterator[str]:
    """Yield the arrays that other modules made in this call and whose new content a writer got, beside its input.

    The call is of several tokens: the output of one token may have the numbers and the shape of a state.
    """
    got = set(_got(made, writer))
    for place in places:
        array = place.among(made.after)
        if array is not None and not got.isdisjoint((content(array), content(array[None]))):
            maker = _maker(made, place.name, array)
            if maker is not None and maker[0] != writer:
                yield place.name
