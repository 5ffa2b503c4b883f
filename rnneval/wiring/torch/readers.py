"""Which module reads each array of the state, and which module wrote it.

No tolerance is needed. One array is changed by itself, the model is called once with one token and once with three, and
the first module whose inputs or outputs differ in a single bit is the reader. The writer is the module in which the
content of an array first appeared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.models.torch.module import TorchStep
from rnneval.wiring.behaviour import special_ids
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import content
from rnneval.wiring.torch.watching import Birth, Chain, Watched, arrays_of, part_name, replaced, watch

BEFORE = (4, 1)
"""Tokens of the calls that make the state."""
CALLS = (1, 3)
"""Tokens of the call in which reactions are watched."""
_TIMES = 1000  # a change as large as this must have an effect before an array is said to have none
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
    given: tuple[str, ...] = ()
    """Arrays of other modules whose new content the writer got in the same call, where this one is never read."""
    giver: Chain | None = None
    """The module that gave the writer an output beside its first one in the same call."""

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
    axis: int | None = None
    """The axis along which the array holds the states of several layers."""
    index: int = 0

    @property
    def name(self) -> str:
        """The path, with the index of the layer if there are several."""
        return self.path if self.axis is None else part_name(self.path, self.axis, self.index)

    def among(self, state: Any) -> torch.Tensor | None:
        """Return the numbers at this place of a state; None if it is not there."""
        array = arrays_of(state).get(self.path)
        return array if array is None or self.axis is None else array.select(self.axis, self.index)


class _Interventions:
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
        self._next, self._later = ids(max(CALLS)), ids(_LATER)
        self._noise = torch.Generator().manual_seed(seed)
        self._plain = {tokens: self._watch(tokens, self._state, {}) for tokens in CALLS}

    def _watch(self, tokens: int, state: Any, axes: Mapping[str, int] | None = None) -> Watched:
        return watch(self._step, self._ids[tokens], state, axes=axes)

    def repeats(self) -> bool:
        """Return whether the same call gives the same, bit by bit."""
        return all(_reaction(plain, self._watch(tokens, self._state)) is None for tokens, plain in self._plain.items())

    def arrays(self) -> Iterator[ArrayFlow]:
        """Yield all arrays; one that holds the states of several layers comes in parts."""
        arrays = arrays_of(self._state)
        axes = {path: axis for path, array in arrays.items() if (axis := self._layer_axis(path, array)) is not None}
        made = {tokens: self._watch(tokens, self._state, axes) for tokens in CALLS} if axes else self._plain
        places = [
            _Place(path, axis, index)
            for path, array in arrays.items()
            for axis in [axes.get(path)]
            for index in range(1 if axis is None else array.shape[axis])
        ]
        for place in places:
            yield self._flow(place, made, places)

    def _layer_axis(self, path: str, array: torch.Tensor) -> int | None:
        """Return the axis along which an array holds states of several layers, which different modules read."""
        counts = {len(each) for each in self._module.modules() if isinstance(each, torch.nn.ModuleList)} - {0, 1}
        for axis in (axis for axis, size in enumerate(array.shape) if size in counts):
            parts = (self._readers(_Place(path, axis, index))[1] for index in (0, array.shape[axis] - 1))
            first, last = (next((reader for reader in part.values() if reader), None) for part in parts)
            if first and last and first != last:
                return axis
        return None

    def _flow(self, place: _Place, made: Mapping[int, Watched], places: Sequence[_Place]) -> ArrayFlow:
        """Return what reads an array, and what wrote it in calls from the state that it belongs to."""
        altered, readers = self._readers(place)
        silent = [tokens for tokens in CALLS if readers[tokens] is None]
        before, after = place.among(self._state), {tokens: place.among(each.after) for tokens, each in made.items()}
        changed = [tokens for tokens in CALLS if not _same(before, after[tokens])]
        makers = (_maker(made[tokens], place.name, after[tokens]) for tokens in reversed(changed))
        writer, made_at = next((maker for maker in makers if maker), (None, place.name))
        same = [tokens for tokens in CALLS if tokens not in changed and self._stays(place, tokens, made[tokens].after)]
        return ArrayFlow(
            path=place.name,
            readers=readers,
            writer=writer,
            made_at=made_at,
            unchanged=tuple(same),
            late=bool(silent) and self._is_late(altered, silent),
            blank=before is None or not before.any(),
            given=tuple(_given(made[max(CALLS)], writer, places)) if len(silent) == len(CALLS) else (),
            giver=_giver(made[max(CALLS)], writer),
        )

    def _readers(self, place: _Place) -> tuple[Any, dict[int, Chain | None]]:
        """Return a state with an array changed, by a thousand times at last, and the first to react in each call."""
        found: dict[int, Chain | None] = dict.fromkeys(CALLS)
        for times in (1, _TIMES):
            state = replaced(self._state, {place.path: self._changed(place, times)})
            for tokens in (tokens for tokens in CALLS if found[tokens] is None):
                found[tokens] = _reaction(self._plain[tokens], self._watch(tokens, state))
        return state, found

    def _changed(self, place: _Place, times: float) -> torch.Tensor:
        """Return an array moved at a place by random numbers as large as its own."""
        array = arrays_of(self._state)[place.path]
        size = torch.nan_to_num(array.abs().float(), posinf=0.0).mean().item() or 1.0
        moved = (array + times * size * torch.randn(array.shape, generator=self._noise).to(array.device)).to(
            array.dtype
        )
        if place.axis is None:
            return moved
        changed = array.clone()
        changed.select(place.axis, place.index).copy_(moved.select(place.axis, place.index))
        return changed

    def _is_late(self, altered: Any, silent: list[int]) -> bool:
        """Return whether modules react to a changed array in the call after one in which none did."""
        for tokens in silent:
            states = [self._step(self._ids[tokens], state)[1] for state in (self._state, altered)]
            plain, other = (watch(self._step, self._next, state) for state in states)
            if _reaction(plain, other) is not None:
                return True
        return False

    def _stays(self, place: _Place, tokens: int, state: Any) -> bool:
        """Return whether an array is still the same after more calls of one token, or of several."""
        for piece in [self._later] if tokens > 1 else np.split(self._later, _LATER, axis=1):
            _, state = self._step(piece, state)
        return _same(place.among(self._state), place.among(state))


def _reaction(base: Watched, other: Watched) -> Chain | None:
    """Return the modules that are running where two calls first differ; () outside of all modules, None nowhere."""
    for plain, event in zip(base.events, other.events, strict=False):
        if plain != event:
            return event.chain if event.phase == "out" else event.chain[:-1]
    return None if base.logits == other.logits else ()


def _same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and content(a) == content(b)


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


def _got(made: Watched, writer: Chain | None) -> Iterator[bytes]:
    """Yield the content of what a module got beside its input."""
    for event in made.events:
        if event.phase == "in" and event.chain == writer:
            yield from (numbers for _, numbers in event.seen[1:])


def _giver(made: Watched, writer: Chain | None) -> Chain | None:
    """Return the module that gave a writer something beside its input that is not the first of what it returned."""
    births = (birth for numbers in _got(made, writer) for birth in made.births.get(numbers, []))
    outputs = (birth for birth in births if birth.is_output and birth.at not in ("", "[0]"))
    return next((birth.chain for birth in outputs if birth.chain != writer), None)


def _given(made: Watched, writer: Chain | None, places: Sequence[_Place]) -> Iterator[str]:
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


def _made_as(birth: Birth, made: Watched, path: str) -> str:
    """Return the array whose place among a module's arguments is that of an output among what it returned."""
    takes = {at: array for array, entries in made.entries.items() for chain, at in entries if chain == birth.chain}
    own = next((at for at, array in takes.items() if array == path), None)
    if own is None:
        return path
    return takes.get(f"{own.rpartition('[')[0]}[{birth.at.rpartition('[')[2]}", path)
