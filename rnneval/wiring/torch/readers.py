"""Which module reads each array of the state, and which module wrote it.

One array is changed by itself, and the model is called once with one token and once with three. The first module whose
outputs differ in a single bit is the reader, or the one that gives a module inside of it other inputs. The writer is
the module in which the content of an array first appeared.

```text
                        plain call           call with `layers.1.h` changed
state                   layers.0.h  1.h      layers.0.h  1.h*
  layers.0 begins       x                    x                    equal
  layers.0 ends         y                    y                    equal
  layers.1 begins       y                    y                    equal: states are left out of what is compared
  layers.1 ends         z                    z*                   the first event that differs: layers.1 is the reader
state after             0.h'  1.h'           0.h'  1.h'*          1.h' appeared first within layers.1: the writer
```

`WatchedCall` makes one call and keeps what its modules saw, `Interventions` makes the calls that are compared, and an
`ArrayFlow` is what they show of one array. `flow.py` judges it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from rnneval.models.state import as_array, filled, is_array, leaves_of
from rnneval.models.torch.module import ModuleState, TorchStep, copy_of
from rnneval.wiring.subject import Ids, ordinary_ids, other_ids, special_ids
from rnneval.wiring.torch.hooks import Chain, content, runs_of, same
from rnneval.wiring.torch.watched_call import (
    Birth,
    SlotPlace,
    WatchedCall,
    arrays_of,
    is_constant,
    part_path,
    with_parts,
)

BEFORE = (4, 1)  # tokens of the calls that make the state
CALLS = (1, 3)  # tokens of the call in which reactions are watched
_TIMES = 1000  # a change as large as this must have an effect before an array is said to have none
_STARTS = 7  # states later in the text from which an array must have no effect, either
_LATER = 64  # tokens in which an array must stay the same before it is said to be stale
_ALL_IDS = 256  # of a model of up to so many ids, each: a layer may move at one id alone


def _untied(state: Any) -> Any:
    """Return a copy of a state in which a tensor that stands in several places is one array for each."""
    leaves = leaves_of(state).values()
    return filled(state, (leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves))


@dataclass(frozen=True, kw_only=True)
class ArrayFlow:
    """One array of the state, or one layer's part of it: who reads it, and who wrote it."""

    path: str
    slot: str = ""  # its name in a recurrent module of PyTorch, such as `h`, or `h[0]` of a stack; empty for others
    readers: Mapping[int, Chain | None]
    """The first module that reacts, by the number of tokens of the call; () is the step function itself."""
    reader: Chain | None = None  # one of them, that which also writes it if there is one
    writer: Chain | None = None  # the module that made what the array holds after a call; None if no module was seen to
    origin: str = ""  # the array in which the content first appeared: another one where states were exchanged
    unchanged: tuple[int, ...]  # the calls that leave it as it is, also after more tokens, by their numbers of tokens
    grows: bool = False  # whether it takes up every token, as the keys of attention do
    late: bool = False  # whether modules react to it one call later only
    owner: Chain | None = None  # the module that it belongs to
    other: Chain | None = None  # the layer that wrote it and is not given it, but another state
    claimed: bool = False  # whether a layer that writes a state, and not this one, is given it
    blank: bool = False  # whether it is all zero, as at the beginning
    handed: tuple[str, ...] = ()
    """Arrays of other modules whose new content the writer got in the same call, where this one is never read."""
    giver: Chain | None = None  # the module that gave the writer an output beside its first one in the same call


class Interventions:
    """Calls of a model that is awake, from one state, each with one array, or one layer's part of it, changed."""

    def __init__(self, step: TorchStep, width: int, seed: int) -> None:
        self._step = step
        lengths = (*BEFORE, *CALLS, max(CALLS), _LATER)
        ids = ordinary_ids(width, (1, sum(lengths)), [seed, 1])
        *before, one, several, self._next, later = np.split(ids, np.cumsum(lengths)[:-1], axis=1)
        rest = np.arange(width) if width <= _ALL_IDS else np.array(special_ids(width)[0])
        self._later: Ids = np.concatenate([later, rest[None].astype(later.dtype)], axis=1)
        self._ids, self._others = dict(zip(CALLS, (one, several), strict=True)), other_ids(several, width)
        state: Any = None
        for piece in before:
            _, state = step(piece, state)
        starts = [_untied(state)]  # the state, and those after more tokens
        for piece in np.split(self._later[:, :_STARTS], _STARTS, axis=1):
            starts.append(_untied(step(piece, starts[-1])[1]))
        # An array of equal numbers looks like many others; one that moves at some tokens alone may be as it began.
        blanks = [sum(map(is_constant, arrays_of(start).values())) for start in starts]
        self._starts = starts[blanks.index(min(blanks)) :]
        self._state = state = self._starts[0]
        self._noise = torch.Generator().manual_seed(seed)
        self._plain = {tokens: WatchedCall(step, ids, state, with_births=True) for tokens, ids in self._ids.items()}
        self._later_plain: dict[tuple[int, int], WatchedCall] = {}
        self._moving: dict[int, set[str]] = {}
        self._longest = self._plain[max(CALLS)]

    def repeat(self) -> bool:
        """Return whether equal calls give the same, bit by bit."""
        return all(self._reaction(tokens, self._state) is None for tokens in CALLS)

    def arrays(self) -> Iterator[ArrayFlow]:
        """Yield all arrays; one that holds the states of several layers comes in parts."""
        paths = []
        for path, array in arrays_of(self._state).items():
            axis = self._layer_axis(path, array)
            paths += [path] if axis is None else [part_path(path, axis, index) for index in range(array.shape[axis])]
        flows = [self._flow(path, paths) for path in paths]
        # One tensor in several places may be the states of several layers, or one state that is read in one place.
        after = arrays_of(self._longest.after)
        places = {path: (array.data_ptr(), array.shape, array.stride()) for path, array in after.items()}
        read = {places[flow.path] for flow in flows if flow.path in places and flow.reader is not None}
        flows = [flow for flow in flows if flow.reader is not None or places.get(flow.path) not in read]
        for flow in flows:
            yield self._with_owner(flow, [other for other in flows if other is not flow])

    def lost_counters(self) -> Iterator[ArrayFlow]:
        """Yield the whole numbers that have an effect and never change, and those that change and have none."""
        before = leaves_of(self._state)
        for path, leaf in before.items():
            if not is_array(leaf) or as_array(leaf, path).dtype.kind not in "iu":
                continue
            changes = any(not same(leaf, leaves_of(made.after).get(path)) for made in self._plain.values())
            try:
                matters = any(self._counts(path, start, ids) for start in self._starts for ids in self._ids.values())
            except (IndexError, RuntimeError):  # an index that the model does not have
                matters = True
            if changes != matters:
                readers = dict.fromkeys(CALLS, ("",) if matters else None)
                yield ArrayFlow(path=path, readers=readers, unchanged=() if changes else CALLS, owner=("",))

    def _counts(self, path: str, start: Any, ids: Ids) -> bool:
        """Return whether one more in a number has an effect: on predictions, or on another array of the next state."""
        leaves = leaves_of(start)
        one_more = filled(start, iter((leaves | {path: leaves[path] + 1}).values()))
        plain, other = (leaves_of(self._step(ids, state)) for state in (start, one_more))
        itself = f"state[1]{path.removeprefix('state')}"
        return any(at != itself and not same(leaf, plain.get(at)) for at, leaf in other.items())

    def _with_owner(self, flow: ArrayFlow, others: Sequence[ArrayFlow]) -> ArrayFlow:
        """Return the flow with the layer whose state the array is: not one that reads it first, as a norm does."""
        writer = _first_other(flow.reader, flow.writer)
        if writer is None:  # one of them runs within the other
            return replace(flow, owner=flow.reader or flow.writer)
        if self._gets(flow.path, writer):  # the reader only comes first
            return replace(flow, owner=writer)
        if not any(writer[-1] in (other.reader or ()) or self._gets(other.path, writer) for other in others):
            return replace(flow, owner=flow.reader)  # the writer has no state of its own
        reader = _first_other(flow.writer, flow.reader)
        writers = filter(None, (_first_other(flow.writer, other.writer) for other in others))
        claimant = next((each for each in writers if each == reader or self._gets(flow.path, each)), None)
        owner = flow.reader if claimant in {reader, None} else claimant
        return replace(flow, owner=owner, other=writer, claimed=claimant is not None)

    def _gets(self, path: str, layer: Chain) -> bool:
        """Return whether a layer takes an array, or what others make of it, as it takes a state: not with the tokens.

        Its first run is made again, with those arguments altered that depend on the array and on no token.
        """
        several, module = self._ids[max(CALLS)], self._step.module.get_submodule(layer[-1])
        read = [(several, self._state), (several, self._altered(path, 1)), (self._others, self._state)]
        runs = [runs_of(self._step, layer, ids, state) for ids, state in read]
        plain, altered, elsewhere = (run[0] if run else None for run in runs)
        leaves, changed, others = leaves_of(plain), leaves_of(altered), leaves_of(elsewhere)
        if not leaves or not leaves.keys() == changed.keys() == others.keys():
            return False
        states = {at: changed[at] if same(leaf, others[at]) else leaf for at, leaf in leaves.items()}
        return self._results(module, plain) != self._results(module, filled(plain, iter(states.values())))

    def _results(self, module: nn.Module, arguments: Any) -> list[bytes]:
        """Return what a module returns, and what it changes in its arguments."""
        args, kwargs = copies = copy_of(arguments)
        attributes = self._state.attributes if isinstance(self._state, ModuleState) else None
        with self._step.evaluating(), self._step.holding(attributes):
            result = module(*args, **kwargs)
        before, after = leaves_of(arguments), leaves_of(copies)
        changed = (leaf for at, leaf in after.items() if not same(leaf, before.get(at)))
        return [content(leaf) for leaf in (*leaves_of(result).values(), *changed) if isinstance(leaf, torch.Tensor)]

    def _parts(self, state: Any) -> dict[str, torch.Tensor]:
        """Return the arrays of a state, and what may be the parts of layers, by path."""
        return dict(with_parts(arrays_of(state), self._longest.stacks | self._longest.lists))

    def _layer_axis(self, path: str, array: torch.Tensor) -> int | None:
        """Return the axis of an array along which its readers differ, or one module stacks the states of its layers."""
        after = arrays_of(self._longest.after).get(path, array)
        for axis, size in enumerate(array.shape):
            parts = after.unbind(axis) if size in self._longest.stacks else ()
            births = (birth for part in parts for birth in self._longest.births.get(content(part), []))
            if any(isinstance(birth.output, SlotPlace) for birth in births):
                return axis
            if size in self._longest.lists:
                ends = (self._readers(part_path(path, axis, index))[1] for index in (0, size - 1))
                first, last = (next(filter(None, readers.values()), None) for readers in ends)
                if first and last and first != last:
                    return axis
        return None

    def _flow(self, path: str, paths: Sequence[str]) -> ArrayFlow:
        """Return what reads an array, and what wrote it in calls from the state that it belongs to."""
        altered, readers = self._readers(path)
        silent = [tokens for tokens in CALLS if readers[tokens] is None]
        before = self._parts(self._state)[path]
        after = {tokens: self._parts(made.after).get(path) for tokens, made in self._plain.items()}
        changed = [tokens for tokens in CALLS if not same(before, after[tokens])]
        makers = (self._plain[tokens].maker(path, after[tokens]) for tokens in reversed(changed))
        writer, origin = next(filter(None, makers), (None, path))
        reading = sorted(filter(None, readers.values()), key=lambda reader: _first_other(reader, writer) is not None)
        reader = next(iter(reading), None)
        entries = self._longest.entries.get(path, ())
        slots = [place for chain, place in entries if chain == reader and isinstance(place, SlotPlace)]
        outputs = {Birth(reader or (), output=slot) for slot in slots}
        left = self._parts(self._longest.after) if len(silent) == len(CALLS) else {}
        handed, giver = self._longest.handed(writer, {each: left[each] for each in paths if each in left})
        return ArrayFlow(
            path=path,
            slot=str(slots[0]) if len(slots) == 1 else "",  # a record encodes no subclass of str
            readers=readers,
            reader=reader,
            writer=writer,
            origin=origin,
            unchanged=tuple(t for t in CALLS if t not in changed and self._stays(path, t, outputs)),
            grows=any(array is not None and array.shape != before.shape for array in after.values()),
            late=any(self._is_late(altered, tokens) for tokens in silent),
            blank=not before.any(),
            handed=tuple(handed),
            giver=giver,
        )

    def _readers(self, path: str) -> tuple[Any, dict[int, Chain | None]]:
        """Return a state with an array changed by a thousand times, and the first to react in calls of each length.

        An array may have an effect at some tokens only: where there is none, calls from later states are tried.
        """
        readers: dict[int, Chain | None] = dict.fromkeys(CALLS)
        at_last = self._altered(path, _TIMES)
        parts = (self._parts(state).get(path) for state in self._starts)
        starts = [start for start, part in enumerate(parts) if part is not None and not (start and is_constant(part))]
        for start, times in [(0, 1), *((start, _TIMES) for start in starts)]:
            if silent := [tokens for tokens in CALLS if readers[tokens] is None]:
                state = self._altered(path, times, start)
                readers |= {tokens: self._reaction(tokens, state, start) for tokens in silent}
        return at_last, readers

    def _reaction(self, tokens: int, state: Any, start: int = 0) -> Chain | None:
        """Return where a call of so many tokens from another state first differs."""
        if start and (tokens, start) not in self._later_plain:
            self._later_plain[tokens, start] = WatchedCall(self._step, self._ids[tokens], self._starts[start])
        plain = self._later_plain[tokens, start] if start else self._plain[tokens]
        return plain.first_difference(WatchedCall(self._step, self._ids[tokens], state))

    def _altered(self, path: str, times: float, start: int = 0) -> Any:
        """Return the state with an array moved by random numbers as large as its own; it may stand there twice."""
        copy = _untied(self._starts[start])
        part = self._parts(copy)[path]
        size = torch.nan_to_num(part.abs().float(), posinf=0.0).mean().item() or 1.0
        part += (times * size * torch.randn(part.shape, generator=self._noise)).to(part)
        return copy

    def _is_late(self, altered: Any, tokens: int) -> bool:
        """Return whether modules react to a changed array in the call after one in which none did."""
        states = [self._step(self._ids[tokens], state)[1] for state in (self._state, altered)]
        plain, other = (WatchedCall(self._step, self._next, state) for state in states)
        return plain.first_difference(other) is not None

    def _stays(self, path: str, tokens: int, outputs: set[Birth]) -> bool:
        """Return whether an array is still the same after more calls of one token, or of several.

        It is not, where one of several stacked layers returned these very numbers, as one whose units are all off does.
        """
        call = self._plain[tokens]
        after = self._parts(call.after).get(path)
        if after is not None and not outputs.isdisjoint(call.births.get(content(after), ())):
            return False
        if tokens not in self._moving:
            ways = [np.split(self._later, range(tokens, self._later.shape[1], tokens), axis=1)]
            ways += [[self._later]] * (tokens > 1)
            before, moving = self._parts(self._state), self._moving.setdefault(tokens, set())
            for calls in ways:
                state = call.after
                for ids in calls:
                    _, state = self._step(ids, state)
                    after = self._parts(state)
                    moving |= {path for path, array in before.items() if not same(array, after.get(path))}
        return path not in self._moving[tokens]


def _first_other(one: Chain | None, other: Chain | None) -> Chain | None:
    """Return the modules of `other` down to the first that is another one than in `one`; None on one line."""
    pairs = enumerate(zip(one or (), other or (), strict=False))
    depth = next((depth for depth, (a, b) in pairs if a != b), None)
    return None if depth is None or other is None else other[: depth + 1]
