"""The first module at which two readings of a text part that should agree.

Hooks keep a fingerprint of every module's inputs and outputs at each position of the text. The module at fault is the
first to finish whose inputs agree and whose outputs do not. What lies around it shows the same difference, and so does
all that comes after; what lies inside of it agrees. Of two readings of 29 tokens, in one call and in three:

```text
                 one reading             the other reading           compared at each of the 29 positions
calls            (29,)                   (7, 5, 17)                  inputs    outputs
model            ids → logits            ids → logits                equal     differ
  model.embed      ids → x                 ids → x                   equal     equal
  model.mixer      x → y                   x → y                     equal     differ      ← the first to finish
    mixer.conv       x → z                   x → z                   equal     equal
  model.head       y → logits              y → logits                differ    differ
```

A second look, at the calls of PyTorch within the `forward` of that module, finds the line in the same way. A model that
returns another number of rows or tokens has no positions to compare: there the first module counts whose inputs have
the right shape and whose outputs have not.
"""

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from rnneval.errors import failure_of
from rnneval.models.torch.module import TorchStep
from rnneval.wiring.behaviour import Ids, ordinary_ids, other_ids
from rnneval.wiring.cases import Case
from rnneval.wiring.difference import EPSILON
from rnneval.wiring.facts import Spot
from rnneval.wiring.readings import Reading
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, Phase, is_of_pytorch, listening, spot_of, tensors_in
from rnneval.wiring.torch.readings import CacheReader, ShapeError

_TIMES = 20.0  # outputs must differ by so many times as much as inputs
_AROUND = 4.0  # what differs by fewer times around a module has no effect
_ROUNDING = 4.0  # units in the last place: a smaller difference of inputs counts as this one
_NUMBERS = 16  # numbers of a fingerprint
_PROJECTIONS = 16  # random projections that are kept, one for each width of tensors
_PER_HEAD = 4  # axes of an attention mask: rows, heads, queries, keys
_MASKED = -1e3  # numbers of an attention mask below this one rule a position out

_BEFORE, _AFTER = 5, 66  # tokens of the text that calls of several lengths read
_ROWS = 3  # rows of a batch; with as many tokens or layers they would look alike
_LENGTHS = ((29,), (7, 22))  # calls in which one row, or a later token, is altered
_ALTERED = 20  # the position of this token

Differences = NDArray[np.float64]  # (positions,), relative


@dataclass(frozen=True, kw_only=True)
class WatchedReading:
    """One way to read a text, in calls."""

    calls: Callable[[], Iterator[object]]  # an iterator that makes the next call for each item taken
    tokens: tuple[int, ...]  # the number of tokens of each call, with those that pad it
    rows: int = 1
    row: int = 0  # the row that is watched
    start: int = 0  # the first position that is compared: those before it are padding
    end: int | None = None  # the position after the last one


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first module whose inputs are right in a reading and whose outputs are not."""

    module: str  # its name, empty for the whole model
    kind: str
    at: Spot  # file and line of its `forward`, or of the line in it at which the readings part

    @property
    def name(self) -> str:
        """The module and its class, as messages name it."""
        return f"{self.module} ({self.kind})" if self.module else self.kind


@dataclass(frozen=True, kw_only=True)
class ShapeDivergence(Divergence):
    """A module whose outputs have another number of rows or tokens than its inputs."""

    shape: tuple[int, ...]  # of its outputs

    def __str__(self) -> str:
        """Say which shape is wrong."""
        return f"the inputs of {self.name} have the right number of rows and tokens, its outputs {self.shape}"


@dataclass(frozen=True, kw_only=True)
class NumberDivergence(Divergence):
    """A module whose inputs agree in two readings and whose outputs do not."""

    position: int  # the first position at which its outputs differ, counted from the first that is compared
    difference: float  # how far its outputs differ there, relative to their size
    of_inputs: float  # the same of its inputs, at all positions up to there
    in_line: bool = False  # whether the line in its `forward` is known

    def __str__(self) -> str:
        """Say where the readings part."""
        agree = f"the inputs of {self.name} agree to {self.of_inputs:.0e}"
        where = f"they part in line {self.at.line}" if self.in_line else "the line is where its forward begins"
        return f"at position {self.position} {agree} and its outputs differ by {self.difference:.0e} ({where})"


def in_calls(
    step: TorchStep, ids: Ids, lengths: Sequence[int], state: Any = None, *, end: int | None = None
) -> WatchedReading:
    """Return the reading of ids `(rows, time)` in calls of these lengths, from a state; the first row is watched."""

    def calls() -> Iterator[object]:
        after = state
        for piece in np.split(ids[:, : sum(lengths)], np.cumsum(lengths)[:-1], axis=1):
            _, after = step(piece, after)
            yield None

    return WatchedReading(calls=calls, tokens=tuple(lengths), rows=len(ids), end=end)


def module_of_test(test: str, step: TorchStep, width: int, *, seed: int = 0) -> NumberDivergence | None:
    """Return the first module at which the readings of a test of behaviour part, for a model with so many logits."""
    with torch.no_grad(), awake(step.module):
        try:
            pairs = _readings_of(test, step, width, seed)
            return next(filter(None, (first_diverging(step.module, one, other) for one, other in pairs)), None)
        except Exception as error:  # a model may raise any in calls that it does not take, such as those of one row
            failure_of(error)
            return None


def _readings_of(test: str, step: TorchStep, width: int, seed: int) -> Iterator[tuple[WatchedReading, WatchedReading]]:
    """Yield pairs of readings that a right model does not tell apart: those of calls, of later tokens, or of rows."""
    rows = ordinary_ids(width, (_ROWS, _BEFORE + _AFTER), [seed, 2])
    ids, others = rows[:1], other_ids(rows, width)
    if test == "chunk":
        _, state = step(ids[:, :_BEFORE], None)
        after = ids[:, _BEFORE:]
        yield in_calls(step, after, (13,), state), in_calls(step, after, (1,) * 13, state)
        yield in_calls(step, ids, (29,)), in_calls(step, ids, (7, 5, 1, 11, 5))
        yield in_calls(step, ids, (_BEFORE + _AFTER,)), in_calls(step, ids, (1, 15, 16, 17, 18, 4))
        return
    one, other, end = {
        "causal": (ids, np.concatenate([ids[:, :_ALTERED], others[:1, _ALTERED:]], axis=1), _ALTERED),
        "batch": (rows, np.concatenate([ids, others[1:]]), None),
        "alone": (ids, rows, None),
        "repeat": (ids, ids, None),
    }[test]
    for lengths in _LENGTHS:
        yield in_calls(step, one, lengths, end=end), in_calls(step, other, lengths, end=end)


def module_of_case(reader: CacheReader, case: Case) -> NumberDivergence | None:
    """Return the first module at which the two readings of a test of calls part."""
    pairs = [*zip((case.wanted, case.reading), case.begins, strict=True)]
    tokens = min(reading.tokens - begin for reading, begin in pairs)
    watched = [
        WatchedReading(
            calls=partial(reader.calls, reading),
            tokens=tuple(end - first for first, end in reading.calls),
            rows=len(reading.ids),
            row=case.row if len(reading.ids) > 1 else 0,
            start=begin,
            end=begin + min(tokens, case.tokens or tokens),
        )
        for reading, begin in pairs
    ]
    return first_diverging(reader.step.module, *sorted(watched, key=lambda each: len(each.tokens)))


class _Shape(NamedTuple):
    """Shapes of a module in one call, held against the rows and tokens of the call."""

    inputs_fit: bool  # whether its inputs have the rows and tokens of the call
    outputs_fit: bool
    outputs: tuple[int, ...]


def module_of_shape(reader: CacheReader, case: Case) -> ShapeDivergence | None:
    """Return the first module whose outputs lack rows or tokens of its inputs, and do not where a row is read alone."""
    model, alone, beside = reader.step.module, _shapes(reader, case.wanted), _shapes(reader, case.reading)
    for (chain, call), shape in beside.items():
        of_one = alone.get((chain, call))
        if shape.inputs_fit and not shape.outputs_fit and of_one and of_one.inputs_fit and of_one.outputs_fit:
            kind = type(model.get_submodule(chain[-1])).__name__
            return ShapeDivergence(module=chain[-1], kind=kind, at=spot_of(model, chain), shape=shape.outputs)
    return None


def _shapes(reader: CacheReader, reading: Reading) -> dict[tuple[Chain, int], _Shape]:
    """Return the shapes of each module in each call, those of its first run there."""
    shapes: dict[tuple[Chain, int], _Shape] = {}
    call = -1

    def hear(chain: Chain, phase: Phase, arguments: Any, result: Any) -> None:
        nonlocal call
        if phase is Phase.BEGIN:
            call += len(chain) == 1
            return
        first, end = reading.calls[min(call, len(reading.calls) - 1)]
        wanted = len(reading.ids), end - first
        inputs, outputs = (
            next((tuple(each.shape) for _, each in tensors_in(nest)), ()) for nest in (arguments, result)
        )
        shapes.setdefault((chain, call), _Shape(inputs[:2] == wanted, outputs[:2] == wanted, outputs))

    with suppress(ShapeError), listening(reader.step.module, hear):
        list(reader.calls(reading))
    return shapes


def first_diverging(model: torch.nn.Module, one: WatchedReading, other: WatchedReading) -> NumberDivergence | None:
    """Return the first module at which two readings part, the one with fewer calls first; None if there is none.

    The number of its tokens should be no other size in the model: positions are told from other axes by their number.
    """
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    # The coarsest type of the model; some compute in float32 always.
    floor = _ROUNDING * max([EPSILON, *(float(torch.finfo(each).eps) for each in types)])
    compared = _compared_runs(model, one, other)
    for run, sides in compared.items():
        chain, position = run.chain, sides.parting(floor)
        # Where the module around it gives the same, what is inside of it does not matter.
        outer = (_Run(chain[:depth], 0) for depth in range(len(chain) - 1, 0, -1))
        around = next((compared[each] for each in outer if each in compared), None)
        if position is None or (around and around.outputs[position] <= _AROUND * max(around.inputs[position], floor)):
            continue
        part = model.get_submodule(chain[-1])
        divergence = NumberDivergence(
            module=chain[-1],
            kind=type(part).__name__,
            at=spot_of(model, chain),
            position=position,
            difference=float(sides.outputs[position]),
            of_inputs=float(sides.inputs[position]),
        )
        lines = _compared_runs(model, one, other, within=chain)
        line = next((each.line for each, of_line in lines.items() if of_line.parting(floor) is not None), None)
        if line is None or is_of_pytorch(part):
            return divergence
        return replace(divergence, at=replace(divergence.at, line=line), in_line=True)
    return None


class _RunDifferences(NamedTuple):
    """Differences of the inputs and outputs of a run between two readings, at each position."""

    inputs: Differences  # the largest one up to there
    outputs: Differences

    def parting(self, floor: float) -> int | None:
        """Return the first position at which outputs differ far more than inputs up to there; None if there is none."""
        parts = self.outputs > _TIMES * np.maximum(self.inputs, floor)
        return int(parts.argmax()) if parts.any() else None


def _compared_runs(
    model: torch.nn.Module, one: WatchedReading, other: WatchedReading, within: Chain | None = None
) -> "dict[_Run, _RunDifferences]":
    """Return how far the readings differ in each run, in the order of their ends: of modules, or of lines in one."""
    with torch.no_grad():
        (inputs, outputs), (other_inputs, other_outputs) = (_recorded(each, model, within) for each in (one, other))
    compared = {}
    for run in (run for run in outputs if run in other_outputs):
        into, out = _compared(inputs[run], other_inputs[run]), _compared(outputs[run], other_outputs[run])
        if into and out and len({len(each) for each in (*into, *out)}) == 1:
            compared[run] = _RunDifferences(np.maximum.accumulate(np.max(into, axis=0)), np.max(out, axis=0))
    return compared


class _Run(NamedTuple):
    """A run of a module, or of a line of its `forward`, in each call of a reading."""

    chain: Chain  # the modules that are running
    before: int  # how often the same module, or line, ran before in this call
    line: int | None = None  # None for the run of the module


class _Key(NamedTuple):
    """A tensor of a run, and an axis that may be that of positions: what two must share to be compared."""

    path: str
    axis: int
    others: tuple[int, ...]  # the sizes of the other axes; none of a mask, whose keys grow with the text
    exact: bool  # whether any difference counts as an infinite one: ids, positions, masks


_Side = dict[_Key, Differences]  # the inputs or outputs of a run in all calls: numbers `(positions, …)`


def _recorded(
    reading: WatchedReading, model: torch.nn.Module, within: Chain | None
) -> tuple[dict[_Run, _Side], dict[_Run, _Side]]:
    """Make all calls of a reading; return fingerprints of the inputs and the outputs of each run, in its order.

    Runs are those of modules, or if `within` is given, the calls of PyTorch in the `forward` of this one, by line.
    """
    sides_of_phase: dict[Phase, dict[_Run, dict[_Key, list[Differences]]]] = {Phase.BEGIN: {}, Phase.END: {}}
    running: list[_Run] = []
    ran: Counter[Chain | int] = Counter()  # runs of this call, by modules or by line
    tokens = 0

    def keep(phase: Phase, run: _Run, nest: Any) -> None:
        side = sides_of_phase[phase].setdefault(run, {})
        for path, tensor in tensors_in(nest):
            for key, numbers in _prints(reading, tokens, path, tensor.detach()):
                side.setdefault(key, []).append(numbers)

    def hear(chain: Chain, phase: Phase, arguments: Any, result: Any) -> None:
        if phase is Phase.BEGIN:
            running.append(_Run(chain, ran[chain]))
            ran[chain] += 1
        run = running[-1] if phase is Phase.BEGIN else running.pop()
        if within is None:
            keep(phase, run, arguments if phase is Phase.BEGIN else result)

    def hear_line(line: int, arguments: Any, result: Any) -> None:
        if within is not None and running and running[-1].chain == within:
            run = _Run(within, ran[line], line)
            ran[line] += 1
            keep(Phase.BEGIN, run, arguments)
            keep(Phase.END, run, result)

    forward = None if within is None else getattr(type(model.get_submodule(within[-1])), "forward", None)
    code = getattr(inspect.unwrap(forward), "__code__", None) if forward else None
    lines = _LineRecorder(code, hear_line) if code else nullcontext()
    with listening(model, hear), lines:
        calls = reading.calls()
        for length in (*reading.tokens, 0):  # at last no call: the iterator ends
            tokens = length
            ran.clear()
            next(calls, None)
    # A tensor of every call stays, at the positions that are compared.
    positions, count = slice(reading.start, reading.end), len(reading.tokens)
    inputs, outputs = (
        {
            run: {key: np.concatenate(each)[positions] for key, each in side.items() if len(each) == count}
            for run, side in sides.items()
        }
        for sides in sides_of_phase.values()
    )
    return inputs, outputs


class _LineRecorder(TorchFunctionMode):
    """Reports each call of PyTorch that a function makes: its line, its arguments and its result."""

    def __init__(self, code: CodeType, listener: Callable[[int, Any, Any], None]) -> None:
        super().__init__()
        self._code, self._listener = code, listener

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._code and frame.f_code.co_filename != __file__:
            frame = frame.f_back
        if frame is not None and frame.f_code is self._code:
            self._listener(frame.f_lineno, (args, kwargs or {}), result)
        return result


def _prints(
    reading: WatchedReading, tokens: int, path: str, tensor: torch.Tensor
) -> Iterator[tuple[_Key, Differences]]:
    """Yield the fingerprint of the watched row of a tensor along each axis that may be that of positions."""
    if reading.rows > 1:
        axis = next((axis for axis, size in enumerate(tensor.shape[:2]) if size == reading.rows), None)
        if axis is None:
            return
        tensor = tensor.narrow(axis, reading.row, 1)
    if (allowed := _allowed(tensor, tokens)) is not None:
        yield _Key(path, tensor.dim() - 2, (), exact=True), allowed
    elif tensor.dtype != torch.bool and tensor.numel():
        exact = not (tensor.is_floating_point() or tensor.is_complex())
        numbers = None
        for axis in (axis for axis, size in enumerate(tensor.shape) if size == tokens):
            if numbers is None or tokens > 1:  # of one token all axes of length one give the same
                numbers = _numbers(tensor, axis)
            yield _Key(path, axis, (*tensor.shape[:axis], *tensor.shape[axis + 1 :]), exact), numbers


def _compared(one: _Side, other: _Side) -> list[Differences]:
    """Return how far the tensors of two runs differ by position, each along the first axis that both have."""
    # Of the axes of one tensor the first comes last, and stays.
    keys = {key.path: key for key in sorted(one.keys() & other.keys(), reverse=True)}
    return [_difference(one[key], other[key], exact=key.exact) for key in keys.values()]


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
        tensor = torch.view_as_real(tensor.resolve_conj())
    flat = torch.nan_to_num(tensor.movedim(axis, 0).flatten(1) if tensor.dim() > 1 else tensor[:, None]).double().cpu()
    numbers: Differences = (flat @ _projection(flat.shape[1])).numpy()
    return numbers


@lru_cache(maxsize=_PROJECTIONS)
def _projection(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(size, _NUMBERS, generator=generator, dtype=torch.float64) / max(size, 1) ** 0.5


def _allowed(tensor: torch.Tensor, tokens: int) -> Differences | None:
    """Return for each query of an attention mask `(…, queries, keys)` how many keys it may see, and how far back.

    Of other tensors nothing. Keys count from the query, so that a mask is the same with padding before it as without.
    """
    if tensor.dim() != _PER_HEAD or tensor.shape[-2] != tokens or tensor.shape[-1] < tokens:
        return None
    allowed = tensor if tensor.dtype == torch.bool else tensor == 0
    is_additive = tensor.is_floating_point() and (allowed | (tensor < _MASKED)).all() and allowed.any()
    if tensor.dtype != torch.bool and not is_additive:
        return None
    weights = allowed.flatten(0, 1)[0].double().cpu().numpy()  # of the first head: 1 for a key that may be seen
    queries, keys = weights.shape
    back = np.arange(queries)[:, None] + (keys - queries) - np.arange(keys)[None]
    return np.stack([(weights * back**power).sum(axis=1) for power in range(3)], axis=1)
