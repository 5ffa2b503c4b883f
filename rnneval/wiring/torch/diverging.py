"""The first module at which two readings of a text part that should agree.

Hooks keep a fingerprint of every module's inputs and outputs at each position of the text. The module at fault is the
first to finish whose inputs agree and whose outputs do not. What lies around it shows the same difference, and so does
all that comes after; what lies inside of it agrees.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rnneval.models.torch.module import TorchStep
from rnneval.wiring.behaviour import Ids, ordinary_ids
from rnneval.wiring.difference import EPSILON
from rnneval.wiring.facts import Spot
from rnneval.wiring.torch.cases import Case
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, listening, spot_of, tensors_in
from rnneval.wiring.torch.readings import Reader, Reading, ShapeError

_TIMES = 20.0  # outputs must differ by so many times as much as inputs
_TIMES_AROUND = 4.0  # what differs by less around a module has no effect
_ROUNDING = 4.0  # units in the last place: a smaller difference of inputs counts as this one
_NUMBERS = 16  # numbers of a fingerprint
_MASKED = -1e3  # numbers of an attention mask below this one rule a position out

_BEFORE, _AFTER = 5, 66  # tokens of the text that calls of several lengths read

Differences = NDArray[np.float64]  # (positions,), relative


@dataclass(frozen=True, kw_only=True)
class WatchedReading:
    """One way to read a text, in calls."""

    calls: Callable[[], Iterable[object]]
    """Makes the calls: an iterator that makes the next one, or several of the whole module, for each item taken."""
    tokens: tuple[int, ...]  # the number of tokens of each call, with those that pad it
    rows: int = 1
    row: int = 0  # the row that is watched
    start: int = 0  # the first position that is compared: those before it are padding
    end: int | None = None  # the position after the last one


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first module whose inputs agree in two readings and whose outputs do not."""

    module: str  # its name, empty for the whole model
    kind: str
    position: int  # the first position at which its outputs differ, counted from the first that is compared
    difference: float  # how far its outputs differ there, relative to their size
    of_inputs: float  # the same of its inputs, at all positions up to there
    at: Spot  # file and line of its `forward`
    shape: tuple[int, ...] = ()  # the shape of its outputs, where this is what is wrong

    def __str__(self) -> str:
        """Say where the readings part."""
        name = f"{self.module} ({self.kind})" if self.module else self.kind
        if self.shape:
            return f"the inputs of {name} have the right number of rows and tokens, its outputs {self.shape}"
        agree = f"the inputs of {name} agree to {self.of_inputs:.0e}"
        return f"at position {self.position} {agree} and its outputs differ by {self.difference:.0e}"


def in_calls(step: TorchStep, ids: Ids, lengths: Sequence[int], state: Any = None) -> WatchedReading:
    """Return the reading of one row of ids `(1, time)` in calls of these lengths, from a state."""

    def calls() -> Iterator[object]:
        after = state
        for piece in np.split(ids[:, : sum(lengths)], np.cumsum(lengths)[:-1], axis=1):
            _, after = step(piece, after)
            yield None

    return WatchedReading(calls=calls, tokens=tuple(lengths))


def module_of_calls(step: TorchStep, width: int, *, seed: int = 0) -> Divergence | None:
    """Return the first module at which calls of different lengths part, for ids of a model with so many logits."""
    ids = ordinary_ids(width, (1, _BEFORE + _AFTER), [seed, 2])
    with torch.no_grad(), awake(step.module):
        _, state = step(ids[:, :_BEFORE], None)
        after = ids[:, _BEFORE:]
        pairs = [
            (in_calls(step, after, (13,), state), in_calls(step, after, (1,) * 13, state)),
            (in_calls(step, ids, (29,)), in_calls(step, ids, (7, 5, 1, 11, 5))),
            (in_calls(step, ids, (_BEFORE + _AFTER,)), in_calls(step, ids, (1, 15, 16, 17, 18, 4))),
        ]
        found = (first_diverging(step.module, one, other) for one, other in pairs)
        return next((each for each in found if each is not None), None)


def module_of_case(reader: Reader, case: Case) -> Divergence | None:
    """Return the first module at which the two readings of a test of calls part."""
    pairs = [*zip((case.wanted, case.seen), case.begins, strict=True)]
    tokens = min(reading.tokens - begin for reading, begin in pairs)
    watched = [
        WatchedReading(
            calls=partial(map, reader.read, [reading]),
            tokens=reading.lengths or (reading.tokens,),
            rows=len(reading.ids),
            row=case.row if len(reading.ids) > 1 else 0,
            start=begin,
            end=begin + min(tokens, case.tokens or tokens),
        )
        for reading, begin in pairs
    ]
    return first_diverging(reader.step.module, *sorted(watched, key=lambda each: len(each.tokens)))


def module_of_shape(reader: Reader, case: Case) -> Divergence | None:
    """Return the first module whose outputs lack rows or tokens of its inputs, and do not where a row is read alone."""
    alone, beside = _shapes(reader, case.wanted), _shapes(reader, case.seen)
    for run, (inputs_fit, outputs_fit, shape) in beside.items():
        if inputs_fit and not outputs_fit and alone.get(run, ())[:2] == (True, True):
            return _divergence(reader.step.module, run.chain, 0, difference=np.inf, of_inputs=0.0, shape=shape)
    return None


def _shapes(reader: Reader, reading: Reading) -> "dict[_Run, tuple[bool, bool, tuple[int, ...]]]":
    """Return for each run whether inputs and outputs have the rows and tokens of the call, and the outputs' shape."""
    found: dict[_Run, tuple[bool, bool, tuple[int, ...]]] = {}
    lengths, call = reading.lengths or (reading.tokens,), -1

    def hear(chain: Chain, phase: str, given: Any, result: Any) -> None:
        nonlocal call
        if phase == "in":
            call += len(chain) == 1
            return
        wanted = len(reading.ids), lengths[min(call, len(lengths) - 1)]
        inputs, outputs = (next((tuple(each.shape) for _, each in tensors_in(nest)), ()) for nest in (given, result))
        found.setdefault(_Run(chain, call), (inputs[:2] == wanted, outputs[:2] == wanted, outputs))

    with suppress(ShapeError), listening(reader.step.module, hear):
        reader.read(reading)
    return found


def _divergence(module: torch.nn.Module, chain: Chain, position: int, **known: Any) -> Divergence:
    kind, at = type(module.get_submodule(chain[-1])).__name__, spot_of(module, chain)
    return Divergence(module=chain[-1], kind=kind, position=position, at=at, **known)


def first_diverging(module: torch.nn.Module, one: WatchedReading, other: WatchedReading) -> Divergence | None:
    """Return the first module at which two readings part, the one with fewer calls first; None if there is none.

    The number of its tokens should be no other size in the model: positions are told from other axes by their number.
    """
    with torch.no_grad():
        first, second = _Recorder(one, module), _Recorder(other, module)
    compared = {run: pair for run in first.outputs if (pair := _compared(first, second, run)) is not None}
    kinds = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    # The coarsest type of the module; some compute in float32 always.
    floor = _ROUNDING * max([EPSILON, *(float(torch.finfo(kind).eps) for kind in kinds)])
    for run, (inputs, outputs) in compared.items():
        parts = outputs > _TIMES * np.maximum(np.maximum.accumulate(inputs), floor)
        position = int(parts.argmax())
        if parts.any() and not _is_cleared(compared, run, position, floor):
            before = float(inputs[: position + 1].max())
            return _divergence(module, run.chain, position, difference=float(outputs[position]), of_inputs=before)
    return None


def _is_cleared(compared: "Mapping[_Run, tuple[Differences, Differences]]", run: "_Run", at: int, floor: float) -> bool:
    """Return whether the module around one gives the same at a position: then what is inside of it does not matter."""
    for depth in range(len(run.chain) - 1, 0, -1):
        around = compared.get(_Run(run.chain[:depth], 0))
        if around is not None:
            return bool(around[1][at] <= _TIMES_AROUND * max(float(around[0][: at + 1].max()), floor))
    return False


class _Run(NamedTuple):
    """One run of a module in a call: the modules that run, and how often the same ones ran before in this call."""

    chain: Chain
    before: int


class _Print(NamedTuple):
    """A tensor of one call by the axes that may be positions: the other axes' sizes, and numbers `(positions, …)`."""

    axes: Mapping[int, tuple[tuple[int, ...], Differences]]
    exact: bool = False  # whether any difference counts as an infinite one: ids, positions, masks


_Side = dict[str, list[_Print]]  # the tensors of a run by their paths, a print for each call


class _Recorder:
    """Keeps the fingerprints of one reading."""

    def __init__(self, reading: WatchedReading, module: torch.nn.Module) -> None:
        """Make all calls of the reading."""
        self.inputs: dict[_Run, _Side] = {}
        self.outputs: dict[_Run, _Side] = {}  # in the order in which they finished
        self.reading = reading
        self._tokens = 0
        self._wholes = 0  # calls of the whole module so far
        self._counts: dict[Chain, int] = {}
        self._open: list[_Run] = []
        with listening(module, self._hear):
            self._begin(0)
            for number, _ in enumerate(reading.calls(), 1):
                self._begin(number)

    def _begin(self, number: int) -> None:
        """Begin a call, by its number."""
        if number < len(self.reading.tokens):
            self._tokens, self._counts = self.reading.tokens[number], {}

    def _hear(self, chain: Chain, phase: str, given: Any, result: Any) -> None:
        if phase == "in":
            if chain == ("",):
                self._begin(self._wholes)
                self._wholes += 1
            run = _Run(chain, self._counts.get(chain, 0))
            self._counts[chain] = run.before + 1
            self._open.append(run)
            side, nest = self.inputs.setdefault(run, {}), given
        else:
            side, nest = self.outputs.setdefault(self._open.pop(), {}), result
        for path, tensor in tensors_in(nest):
            seen = self._print(tensor.detach())
            if seen is not None:
                side.setdefault(path, []).append(seen)

    def _print(self, tensor: torch.Tensor) -> _Print | None:
        """Return the fingerprint of the watched row of a tensor; None of what has no axis of positions."""
        if self.reading.rows > 1:
            if not tensor.dim() or tensor.shape[0] != self.reading.rows:
                return None
            tensor = tensor[self.reading.row : self.reading.row + 1]
        if _is_mask(tensor, self._tokens):
            return _Print({tensor.dim() - 2: ((1, 1), _allowed(tensor))}, exact=True)
        axes = [axis for axis, size in enumerate(tensor.shape) if size == self._tokens]
        if not axes or tensor.dtype == torch.bool or not tensor.numel():
            return None
        first = _numbers(tensor, axes[0])  # of one token all axes of length one give the same
        prints = {
            axis: (
                (*tensor.shape[:axis], *tensor.shape[axis + 1 :]),
                first if self._tokens == 1 else _numbers(tensor, axis),
            )
            for axis in axes
        }
        return _Print(prints, exact=not (tensor.is_floating_point() or tensor.is_complex()))

    def together(self, side: _Side, path: str) -> dict[tuple[int, tuple[int, ...]], Differences]:
        """Return the numbers of all positions by axis and sizes of the other axes, where every call has such."""
        prints = side.get(path, [])
        if len(prints) != len(self.reading.tokens):
            return {}
        cut = slice(self.reading.start, self.reading.end)
        return {
            (axis, sizes): np.concatenate([each.axes[axis][1] for each in prints])[cut]
            for axis, (sizes, _) in prints[0].axes.items()
            if all(axis in each.axes and each.axes[axis][0] == sizes for each in prints)
        }


def _compared(first: _Recorder, second: _Recorder, run: _Run) -> tuple[Differences, Differences] | None:
    """Return how far the inputs and the outputs of a run differ by position; None where nothing can be compared."""
    if run not in second.outputs:
        return None
    sides = []
    for mine, theirs in ((first.inputs[run], second.inputs[run]), (first.outputs[run], second.outputs[run])):
        differences = []
        for path in mine:
            one, other = first.together(mine, path), second.together(theirs, path)
            alike = sorted(one.keys() & other.keys())[:1]
            differences += [_difference(one[key], other[key], exact=mine[path][0].exact) for key in alike]
        sides.append(differences)
    if not all(sides) or len({len(each) for side in sides for each in side}) != 1:
        return None
    return np.max(sides[0], axis=0), np.max(sides[1], axis=0)


def _difference(one: Differences, other: Differences, *, exact: bool) -> Differences:
    """Return the distance at each position, relative to the typical size; infinite for exact numbers that differ."""
    if one.shape != other.shape:
        return np.full(len(one), np.inf)
    distance = np.linalg.norm(one - other, axis=1)
    size = 0.0 if exact else float(np.sqrt(np.mean(np.square(np.linalg.norm(one, axis=1)))))
    return distance / size if size else np.where(distance > 0, np.inf, 0.0)


def _numbers(tensor: torch.Tensor, axis: int) -> Differences:
    """Return a fingerprint of a few numbers for each position: a random projection, which keeps distances."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    flat = torch.nan_to_num(tensor.movedim(axis, 0).flatten(1) if tensor.dim() > 1 else tensor[:, None]).double().cpu()
    numbers: Differences = (flat @ _projection(flat.shape[1])).numpy()
    return numbers


@cache
def _projection(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(size, _NUMBERS, generator=generator, dtype=torch.float64) / max(size, 1) ** 0.5


def _is_mask(tensor: torch.Tensor, tokens: int) -> bool:
    """Return whether a tensor is an attention mask, `(…, queries, keys)`."""
    if tensor.dim() != 4 or tensor.shape[-2] != tokens or tensor.shape[-1] < tokens:
        return False
    allowed = tensor == 0
    of_numbers = tensor.is_floating_point() and bool((allowed | (tensor < _MASKED)).all()) and bool(allowed.any())
    return tensor.dtype == torch.bool or of_numbers


def _allowed(mask: torch.Tensor) -> Differences:
    """Return for each query how many keys it may see, and how far back they are, from the mask of its first head.

    Keys count from the query, so that a mask is the same with padding before it as without.
    """
    rows = mask.reshape(-1, *mask.shape[-2:])[0]
    seen = (rows if rows.dtype == torch.bool else rows == 0).double().cpu().numpy()
    queries, keys = seen.shape
    back = np.arange(queries)[:, None] + (keys - queries) - np.arange(keys)[None]
    return np.stack([seen.sum(axis=1), (seen * back).sum(axis=1), (seen * back**2).sum(axis=1)], axis=1)
