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
from rnneval.wiring.torch.watching import Birth, Chain, Watched, arrays_of, replaced, watch

BEFORE = (4, 1)
"""Tokens of the calls that make the state."""
CALLS = (1, 3)
"""Tokens of the call in which reactions are watched."""
_TIMES = 1000  # a change as large as this must have an effect before an array is said to have none
_SMALL = 0.1  # standard deviation of the numbers that fill parameters
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
        self._base = {tokens: self._watch(tokens, self._state, births=True) for tokens in CALLS}

    def _watch(self, tokens: int, state: Any, *, births: bool = False) -> Watched:
        return watch(self._step, self._ids[tokens], state, births=births)

    def repeats(self) -> bool:
        """Return whether the same call gives the same, bit by bit."""
        return all(_reaction(base, self._watch(tokens, self._state)) is None for tokens, base in self._base.items())

    def arrays(self) -> Iterator[ArrayFlow]:
        """Yield all arrays; one that holds the states of several layers comes in parts."""
        for path, array in arrays_of(self._state).items():
            axis = self._layer_axis(path, array)
            if axis is None:
                yield self._flow(path, path, array, None, None)
            else:
                for index in range(array.shape[axis]):
                    part = f"{path}[{', '.join([':'] * axis + [str(index)])}]"
                    yield self._flow(part, path, array, axis, index)

    def _layer_axis(self, path: str, array: torch.Tensor) -> int | None:
        """Return the axis along which an array holds states of several layers, which different modules read."""
        counts = {len(each) for each in self._module.modules() if isinstance(each, torch.nn.ModuleList)} - {0, 1}
        for axis in (axis for axis, size in enumerate(array.shape) if size in counts):
            parts = (self._readers(path, array, axis, index)[1] for index in (0, array.shape[axis] - 1))
            first, last = (next((reader for reader in part.values() if reader), None) for part in parts)
            if first and last and first != last:
                return axis
        return None

    def _flow(self, name: str, path: str, array: torch.Tensor, axis: int | None, index: int | None) -> ArrayFlow:
        altered, readers = self._readers(path, array, axis, index)
        late = None in readers.values() and self._is_late(altered, [t for t in CALLS if readers[t] is None])
        writer, made_at = self._writer(path, axis, index)
        unchanged = tuple(tokens for tokens in CALLS if self._stays(tokens, path, axis, index))
        return ArrayFlow(
            path=name,
            readers=readers,
            writer=writer,
            made_at=made_at,
            unchanged=unchanged,
            late=late,
            blank=not _part(array, axis, index).any(),
        )

    def _readers(
        self, path: str, array: torch.Tensor, axis: int | None, index: int | None
    ) -> tuple[Any, dict[int, Chain | None]]:
        """Return a state with the array changed, and the first module that reacts in each call."""
        found: dict[int, Chain | None] = dict.fromkeys(CALLS)
        state = self._state
        for times in (1, _TIMES):
            state = replaced(self._state, {path: self._changed(array, axis, index, times)})
            for tokens in (tokens for tokens in CALLS if found[tokens] is None):
                found[tokens] = _reaction(self._base[tokens], self._watch(tokens, state))
        return state, found

    def _changed(self, array: torch.Tensor, axis: int | None, index: int | None, times: float) -> torch.Tensor:
        """Return an array, or the part at one index, moved by random numbers as large as its own."""
        size = torch.nan_to_num(array.abs().float(), posinf=0.0).mean().item() or 1.0
        noise = torch.randn(array.shape, generator=self._noise, dtype=torch.float32).to(array.device)
        if axis is not None:
            chosen = torch.zeros_like(noise)
            chosen.select(axis, index or 0).fill_(1)
            noise *= chosen
        return (array + times * size * noise).to(array.dtype)

    def _is_late(self, altered: Any, silent: list[int]) -> bool:
        """Return whether modules react to a changed array in the call after one in which none did."""
        for tokens in silent:
            states = [self._step(self._ids[tokens], state)[1] for state in (self._state, altered)]
            plain, other = (watch(self._step, self._next, state) for state in states)
            if _reaction(plain, other) is not None:
                return True
        return False

    def _writer(self, path: str, axis: int | None, index: int | None) -> tuple[Chain | None, str]:
        """Return the module in which an array's new content first appeared, and the array that it appeared in."""
        for tokens in reversed(CALLS):
            base = self._base[tokens]
            before, after = (arrays_of(state).get(path) for state in (self._state, base.after))
            if before is None or after is None or _same(before, after, axis, index):
                continue
            for digest in _contents(after, axis, index):
                birth = _maker(base.births.get(digest, []), path)
                if birth is not None:
                    return birth.chain, self._array_at(birth, base, path)
        return None, path

    def _array_at(self, birth: Birth, base: Watched, path: str) -> str:
        """Return the array that some content belongs to: the one that its module takes where it returned this one."""
        if not birth.is_output:
            return birth.at
        takes = {at: other for other, entries in base.entries.items() for chain, at in entries if chain == birth.chain}
        own = next((at for at, other in takes.items() if other == path), None)
        last = birth.at.rpartition("[")[2]
        if own is None or own.rpartition("[")[2] == last:
            return path
        beside = f"{own.rpartition('[')[0]}[{last}"
        return takes.get(beside, path)

    def _stays(self, tokens: int, path: str, axis: int | None, index: int | None) -> bool:
        """Return whether an array is the same after a call of so many tokens, and after more such calls."""
        before, state = arrays_of(self._state).get(path), self._base[tokens].after
        if before is None or not _same(before, arrays_of(state).get(path), axis, index):
            return False
        for piece in [self._later] if tokens > 1 else np.split(self._later, _LATER, axis=1):
            _, state = self._step(piece, state)
        return _same(before, arrays_of(state).get(path), axis, index)


def _reaction(base: Watched, other: Watched) -> Chain | None:
    """Return the modules that are running where two calls first differ; () outside of all modules, None nowhere."""
    for plain, event in zip(base.events, other.events, strict=False):
        if plain != event:
            return event.chain if event.phase == "out" else event.chain[:-1]
    return None if base.logits == other.logits else ()


def _same(a: torch.Tensor, b: torch.Tensor | None, axis: int | None, index: int | None) -> bool:
    if b is None or a.shape != b.shape:
        return False
    return content(_part(a, axis, index)) == content(_part(b, axis, index))


def _part(array: torch.Tensor, axis: int | None, index: int | None) -> torch.Tensor:
    return array if axis is None else array.select(axis, index or 0)


def _contents(array: torch.Tensor, axis: int | None, index: int | None) -> list[bytes]:
    """Return digests by which an array, or one layer's part of it, is known: the part with its axis and without."""
    parts = [array] if axis is None else [array.select(axis, index or 0), array.narrow(axis, index or 0, 1)]
    return [content(part) for part in parts if bool((part != part.reshape(-1)[0]).any())]


def _maker(births: list[Birth], path: str) -> Birth | None:
    """Return the birth of an array's content: the earliest, unless another module made the same for this array."""
    own = next((birth for birth in births if birth.at == path and not birth.is_output), None)
    first = births[0] if births else None
    if own is None or first is None or own.chain == first.chain[: len(own.chain)]:
        return first
    return own


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
                words = f"{words}; so in {', '.join(self._layer(other) for other, _ in others)}"
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
