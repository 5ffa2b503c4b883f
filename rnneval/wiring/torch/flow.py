"""Which module reads each array of the state, and which module wrote it: the flow matrix of a PyTorch model.

No tolerance is needed. One array is changed by itself, the model is called once with one token and once with three, and
the first module whose inputs or outputs differ in a single bit is the reader. The writer is the module in which the
content of an array first appeared. Fresh weights hide faults, so parameters that are zero are filled for the while.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.models.torch import TorchStep
from rnneval.records.wiring import Finding, Flow, Slot, WiredLayer
from rnneval.wiring.behaviour import special_ids
from rnneval.wiring.evidence import Detection
from rnneval.wiring.faults import crossed_state, ignored_state, stale_state, swapped_slots
from rnneval.wiring.judging import finding_of
from rnneval.wiring.torch.hooks import content, kind_of, spot_of
from rnneval.wiring.torch.watching import Birth, Chain, Watched, arrays_of, parts_of, replaced, watch

BEFORE = (4, 1)
"""Tokens of the calls that make the state."""
CALLS = (1, 3)
"""Tokens of the call in which reactions are watched."""
_TIMES = 1000  # a change as large as this must have an effect before an array is said to have none
_SMALL = 0.1  # standard deviation of the numbers that fill parameters
_NAMED = 3  # layers that err alike and are named
_LATER = 16  # tokens in which an array must stay the same before it is said to be stale


@dataclass(frozen=True, kw_only=True)
class ArrayFlow:
    """One array of the state, or one layer's part of it: who reads it, and who wrote it."""

    path: str
    readers: Mapping[int, Chain | None]
    """The first module that reacts, by the number of tokens of the call; () is the step function itself."""
    writer: Chain | None
    """The module that made what the array holds after a call; None if no module was seen to."""
    made_at: str
    """The path of the array in which the content first appeared: another one where states were exchanged."""
    unchanged: tuple[int, ...]
    """The calls that leave it as it is, by their numbers of tokens."""
    late: bool = False
    """Whether modules react to it one call later only."""
    blank: bool = False
    """Whether it is all zero, as at the beginning."""

    @property
    def reader(self) -> Chain | None:
        """The first reader of any call."""
        return next((reader for reader in self.readers.values() if reader is not None), None)


@dataclass(frozen=True, kw_only=True)
class StateFlow:
    """The flow matrix, as it goes into the record."""

    layers: tuple[WiredLayer, ...]
    flow: tuple[Flow, ...]
    findings: tuple[Finding, ...]
    untested: tuple[str, ...]
    """A sentence for each array about which nothing can be said."""
    arrays: tuple[ArrayFlow, ...]
    calls: int = len(BEFORE) + len(CALLS)

    def arrays_of(self, module: str) -> tuple[str, ...]:
        """Return the paths of the arrays that a module, or one inside of it, reads or writes."""
        return tuple(
            array.path for array in self.arrays if any(module in chain for chain in (array.reader, array.writer) if chain)
        )


def flow_of(step: TorchStep, width: int, *, seed: int = 0) -> StateFlow:
    """Return which module reads and which wrote each array of the state, and what is wrong with it.

    Args:
        step: The step of a PyTorch model, as `lm.function.step` of one that rnneval opened.
        width: V, the number of logits.
        seed: Seed of the ids and of the numbers that arrays are changed by.
    """
    with torch.no_grad(), awake(step.module, seed):
        trial = _Trial(step, width, seed)
        if not trial.repeats():
            return _nothing("the model gives different numbers for the same calls, so no reaction can be told")
        arrays = tuple(trial.arrays())
    return _Judge(step.module, arrays).result()


def _nothing(why: str) -> StateFlow:
    return StateFlow(layers=(), flow=(), findings=(), untested=(why,), arrays=())


@contextmanager
def awake(module: torch.nn.Module, seed: int = 0) -> Iterator[None]:
    """Fill parameters that are all zero, and padding rows of embeddings, with small random numbers for the while.

    Fresh weights hide faults: what is multiplied by zero has no effect. The zeros are put back, bit by bit, so that no
    second copy of a large model is needed.
    """
    generator = torch.Generator().manual_seed(seed)
    zeros = [p.data for p in module.parameters() if p.is_floating_point() and p.numel() and not p.any()]
    for each in module.modules():
        if isinstance(each, torch.nn.Embedding) and each.padding_idx is not None:
            row = each.weight.data[each.padding_idx]
            zeros += [row] if each.weight.any() and not row.any() else []
    before = [zero.clone() for zero in zeros]
    try:
        for zero in zeros:
            zero.copy_(_SMALL * torch.randn(zero.shape, generator=generator))
        yield
    finally:
        for zero, old in zip(zeros, before, strict=True):
            zero.copy_(old)


class _Trial:
    """Calls of a model from one state, each with one array changed."""

    def __init__(self, step: TorchStep, width: int, seed: int) -> None:
        self._step, self._module = step, step.module
        _, ordinary = special_ids(width)
        generator = np.random.default_rng([seed, 1])

        def ids(tokens: int) -> NDArray[np.int32]:
            return generator.choice(np.array(ordinary, np.int32), (1, tokens))

        self._state: Any = None
        for tokens in BEFORE:
            _, self._state = step(ids(tokens), self._state)
        self._ids = {tokens: ids(tokens) for tokens in CALLS}
        self._next = ids(max(CALLS))
        self._later = ids(_LATER)
        self._noise = torch.Generator().manual_seed(seed)
        self._base = {tokens: self._watch(tokens, self._state) for tokens in CALLS}

    def _watch(self, tokens: int, state: Any, axes: Mapping[str, int] | None = None) -> Watched:
        return watch(self._step, self._ids[tokens], state, axes=axes)

    def repeats(self) -> bool:
        """Return whether the same call gives the same, bit by bit."""
        return all(_reaction(base, self._watch(tokens, self._state)) is None for tokens, base in self._base.items())

    def arrays(self) -> Iterator[ArrayFlow]:
        """Yield all arrays; one that holds the states of several layers comes in parts."""
        arrays = arrays_of(self._state)
        axes = {path: axis for path, array in arrays.items() if (axis := self._layer_axis(path, array)) is not None}
        made = {tokens: self._watch(tokens, self._state, axes) for tokens in CALLS}
        for path, array in arrays.items():
            axis = axes.get(path)
            for index, (part, values) in enumerate(parts_of(path, array, axis)):
                altered, readers = self._readers(path, array, axis, index)
                silent = [tokens for tokens in CALLS if readers[tokens] is None]
                after = {tokens: self._part(each.after, path, axis, index) for tokens, each in made.items()}
                changed = [tokens for tokens in CALLS if not _same(values, after[tokens])]
                makers = (_maker(made[tokens], part, after[tokens]) for tokens in reversed(changed))
                writer, made_at = next((maker for maker in makers if maker), (None, part))
                yield ArrayFlow(
                    path=part,
                    readers=readers,
                    writer=writer,
                    made_at=made_at,
                    unchanged=tuple(
                        tokens
                        for tokens in CALLS
                        if tokens not in changed and self._stays(tokens, made[tokens].after, values, (path, axis, index))
                    ),
                    late=bool(silent) and self._is_late(altered, silent),
                    blank=not values.any(),
                )

    def _layer_axis(self, path: str, array: torch.Tensor) -> int | None:
        """Return the axis along which an array holds states of several layers, which different modules read."""
        counts = {len(each) for each in self._module.modules() if isinstance(each, torch.nn.ModuleList)} - {0, 1}
        for axis in (axis for axis, size in enumerate(array.shape) if size in counts):
            parts = (self._readers(path, array, axis, index)[1] for index in (0, array.shape[axis] - 1))
            first, last = (next((reader for reader in part.values() if reader), None) for part in parts)
            if first and last and first != last:
                return axis
        return None

    def _readers(
        self, path: str, array: torch.Tensor, axis: int | None, index: int
    ) -> tuple[Any, dict[int, Chain | None]]:
        """Return a state with the array changed, and the first module that reacts in each call."""
        found: dict[int, Chain | None] = dict.fromkeys(CALLS)
        state = self._state
        for times in (1, _TIMES):
            state = replaced(self._state, {path: self._changed(array, axis, index, times)})
            for tokens in (tokens for tokens in CALLS if found[tokens] is None):
                found[tokens] = _reaction(self._base[tokens], self._watch(tokens, state))
        return state, found

    def _changed(self, array: torch.Tensor, axis: int | None, index: int, times: float) -> torch.Tensor:
        """Return an array, or the part at one index, moved by random numbers as large as its own."""
        size = torch.nan_to_num(array.abs().float(), posinf=0.0).mean().item() or 1.0
        moved = array + times * size * torch.randn(array.shape, generator=self._noise).to(array.device)
        if axis is None:
            return moved.to(array.dtype)
        changed = array.clone()
        changed.select(axis, index).copy_(moved.select(axis, index))
        return changed

    def _is_late(self, altered: Any, silent: list[int]) -> bool:
        """Return whether modules react to a changed array in the call after one in which none did."""
        for tokens in silent:
            states = [self._step(self._ids[tokens], state)[1] for state in (self._state, altered)]
            plain, other = (watch(self._step, self._next, state) for state in states)
            if _reaction(plain, other) is not None:
                return True
        return False

    def _stays(self, tokens: int, state: Any, values: torch.Tensor, place: tuple[str, int | None, int]) -> bool:
        """Return whether an array is still the same after more calls of one token, or of several."""
        for piece in [self._later] if tokens > 1 else np.split(self._later, _LATER, axis=1):
            _, state = self._step(piece, state)
        return _same(values, self._part(state, *place))

    def _part(self, state: Any, path: str, axis: int | None, index: int) -> torch.Tensor | None:
        """Return an array of a state, or one layer's part of it; None if it is not there."""
        array = arrays_of(state).get(path)
        return array if array is None or axis is None else array.select(axis, index)


def _reaction(base: Watched, other: Watched) -> Chain | None:
    """Return the modules that are running where two calls first differ; () outside of all modules, None nowhere."""
    for plain, event in zip(base.events, other.events, strict=False):
        if plain != event:
            return event.chain if event.phase == "out" else event.chain[:-1]
    return None if base.logits == other.logits else ()


def _same(a: torch.Tensor, b: torch.Tensor | None) -> bool:
    return b is not None and a.shape == b.shape and content(a) == content(b)


def _maker(made: Watched, path: str, after: torch.Tensor | None) -> tuple[Chain, str] | None:
    """Return the module in which an array's new content first appeared, and the array that it was made as.

    Content that another module made later for this very array is that module's, and no exchange. An array of equal
    numbers is not followed: it looks like many others.
    """
    if after is None or not bool((after != after.reshape(-1)[0]).any()):
        return None
    # One layer's part of a stack may have been returned with an axis of length one.
    births = [birth for shape in (after, after[None]) for birth in made.births.get(content(shape), [])]
    own = next((birth for birth in births if birth.at == path and not birth.is_output), None)
    if not births:
        return None
    first = births[0] if own is None or own.chain == births[0].chain[: len(own.chain)] else own
    return first.chain, _made_as(first, made, path) if first.is_output else first.at


def _made_as(birth: Birth, made: Watched, path: str) -> str:
    """Return the array whose place among a module's arguments is that of an output among what it returned."""
    takes = {at: array for array, entries in made.entries.items() for chain, at in entries if chain == birth.chain}
    own = next((at for at, array in takes.items() if array == path), None)
    if own is None:
        return path
    return takes.get(f"{own.rpartition('[')[0]}[{birth.at.rpartition('[')[2]}", path)


class _Judge:
    """Makes layers, rows of the flow matrix and findings of what was seen."""

    def __init__(self, module: torch.nn.Module, arrays: tuple[ArrayFlow, ...]) -> None:
        self._modules, self._arrays = dict(module.named_modules()), arrays
        self._branches = {name for array in arrays for name in array.reader or ()}
        self._moving = {_pattern(array.path) for array in arrays if array.unchanged != CALLS}

    def result(self) -> StateFlow:
        """Judge every array."""
        judged = [(array, self._seen(array)) for array in self._arrays]
        slots: dict[str, list[str]] = {}
        for array in self._arrays:
            slots.setdefault(self._layer(array), []).append(_slot(array.path))
        return StateFlow(
            layers=tuple(
                WiredLayer(name=name, path=name, kind=self._kind(name), slots=tuple(dict.fromkeys(own)))
                for name, own in slots.items()
            ),
            flow=tuple(row for array, seen in judged for row in self._rows(array, seen)),
            findings=tuple(self._findings(judged)),
            untested=tuple(f"{array.path} never changes and has no effect" for array, s in judged if s.kind == "unknown"),
            arrays=self._arrays,
        )

    def _seen(self, array: ArrayFlow) -> "_Seen":
        """Return what is to be said of one array."""
        path, reader, writer = array.path, array.reader, array.writer
        silent = tuple(tokens for tokens in CALLS if array.readers[tokens] is None)
        if silent == CALLS == array.unchanged:
            return _Seen("unknown", None, "", ())
        if silent:
            how = "of " + " and of ".join("1 token" if tokens == 1 else f"{tokens} tokens" for tokens in silent)
            if array.late:
                return _Seen("stale", stale_state, f"{path} has an effect one call late only, in calls {how}", silent)
            return _Seen("fresh", ignored_state, f"{path}: no module reacts in calls {how}", silent)
        if self._apart(reader, writer):
            made = f", which {_name(writer)} wrote"
            return _Seen("crossed", crossed_state, f"{_name(reader)} reads {path}{made}", CALLS)
        if array.made_at != path:
            return _Seen("swapped", swapped_slots, f"{path} holds what was written as {array.made_at}", CALLS)
        if array.unchanged and (array.unchanged != CALLS or array.blank or _pattern(path) in self._moving):
            how = " and of ".join("1 token" if tokens == 1 else "several tokens" for tokens in array.unchanged)
            seen = f"{_name(reader)} reads {path}, which stays as it is in calls of {how}"
            return _Seen("stale", stale_state, seen, array.unchanged)
        return _Seen("carried", None, "", ())

    def _apart(self, reader: Chain | None, writer: Chain | None) -> bool:
        """Return whether two modules are in different layers, of which the writing one reads a state of its own."""
        if reader is None or writer is None:
            return False
        for one, other in zip(reader, writer, strict=False):
            if one != other:
                return other in self._branches
        return False

    def _rows(self, array: ArrayFlow, seen: "_Seen") -> Iterator[Flow]:
        """Yield the row of the calls in which an array was right, and that of those in which it was not."""
        into = Slot(layer=self._layer(array), slot=_slot(array.path))
        numbers = {tokens: len(BEFORE) + at for at, tokens in enumerate(CALLS)}
        right = tuple(numbers[tokens] for tokens in CALLS if tokens not in seen.calls)
        if right:
            unseen = seen.kind == "unknown"
            kind, source = ("unknown", "unknown") if unseen else ("carried", into)
            yield Flow(into=into, source=source, kind=kind, calls=right)
        if seen.calls:
            source = "initial"
            if seen.kind in ("crossed", "swapped"):
                layer = _name(array.writer) if seen.kind == "crossed" else into.layer
                source = Slot(layer=layer, slot=_slot(array.made_at))
            yield Flow(into=into, source=source, kind=seen.kind, calls=tuple(numbers[tokens] for tokens in seen.calls))

    def _findings(self, judged: list[tuple[ArrayFlow, "_Seen"]]) -> Iterator[Finding]:
        """Yield one finding for each fault, class and slot: a stack of equal layers errs in all of them alike."""
        groups: dict[tuple[Any, ...], list[tuple[ArrayFlow, _Seen]]] = {}
        for array, seen in judged:
            if seen.fault is not None:
                key = (seen.kind, seen.calls, self._kind(self._layer(array)), _pattern(array.path))
                groups.setdefault(key, []).append((array, seen))
        for (array, seen), *others in groups.values():
            layer = self._layer(array)
            words = seen.words
            if array.reader is None or seen.kind == "fresh":
                words = f"{words}, although {layer} {'reads' if array.reader else 'writes'} it{' in others' * bool(array.reader)}"
            if others:
                layers = [*dict.fromkeys(self._layer(other) for other, _ in others)]
                more = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
                words = f"{words}; so in {', '.join(layers[:_NAMED])}{more}"
            module = self._modules.get(layer)
            spot = spot_of(module, layer) if module is not None else None
            yield finding_of(seen.fault, Detection(seen=words, **({"at": spot} if spot else {})))

    def _layer(self, array: ArrayFlow) -> str:
        return _name(array.reader or array.writer)

    def _kind(self, name: str) -> str:
        return kind_of(self._modules[name]) if name in self._modules else "function"


@dataclass(frozen=True)
class _Seen:
    """The kind of a flow, the fault that it is, and the calls, by their numbers of tokens, that show it."""

    kind: str
    fault: Any
    words: str
    calls: tuple[int, ...]


def _name(chain: Chain | None) -> str:
    """Return the name of the innermost module; the whole model has none."""
    return (chain[-1] or "model") if chain else "step"


def _pattern(path: str) -> str:
    """Return a path with its numbers left out: arrays of different layers are then alike."""
    return re.sub(r"\d+", "#", path)


def _slot(path: str) -> str:
    """Return the end of a path that begins with a name, such as `conv_states[0]`.

    Example:
        >>> _slot("state.cache.layers[0].conv_states[0]"), _slot("state[1]"), _slot("state['h']")
        ('conv_states[0]', 'state[1]', "state['h']")
    """
    return path.rpartition(".")[2]
