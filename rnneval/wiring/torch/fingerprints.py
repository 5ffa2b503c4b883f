"""Fingerprints of what the modules of a model were given and gave, at each position of a text, in two readings of it.

A reading is made of calls. Of every tensor in the arguments and results of a run of a module, a few numbers are kept
for each position: a random projection. Of two readings of 8 tokens, in one call and in two:

```text
calls                (8,)                            (3, 5)
model.mixer, inputs  (1, 8, units) → (8, 16)         (1, 3, units), (1, 5, units) → (3, 16), (5, 16) → (8, 16)
```

The axis of positions is known by its length alone, that of the call: each axis of this length is tried, and the first
that both readings have is compared. A tensor without such an axis in every call is left out.
"""

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from rnneval.wiring.torch.hooks import Chain, Phase, listening, tensors_in

_TIMES = 20.0  # outputs must differ by so many times as much as inputs
_NUMBERS = 16  # numbers of a fingerprint
_PROJECTIONS = 16  # random projections that are kept, one for each width of tensors
_PER_HEAD = 4  # axes of an attention mask: rows, heads, queries, keys
_MASKED = -1e3  # numbers of an attention mask below this one rule a position out

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


class RunDifferences(NamedTuple):
    """Differences of the inputs and outputs of a run between two readings, at each position."""

    inputs: Differences  # the largest one up to there
    outputs: Differences

    def parting(self, floor: float) -> int | None:
        """Return the first position at which outputs differ far more than inputs up to there; None if there is none."""
        parts = self.outputs > _TIMES * np.maximum(self.inputs, floor)
        return int(parts.argmax()) if parts.any() else None


def compared_runs(
    model: torch.nn.Module, one: WatchedReading, other: WatchedReading, within: Chain | None = None
) -> "dict[ModuleRun, RunDifferences]":
    """Return how far the readings differ in each run, in the order of their ends: of modules, or of lines in one."""
    with torch.no_grad():
        (inputs, outputs), (other_inputs, other_outputs) = (_recorded(each, model, within) for each in (one, other))
    compared = {}
    for run in (run for run in outputs if run in other_outputs):
        into, out = _compared(inputs[run], other_inputs[run]), _compared(outputs[run], other_outputs[run])
        if into and out and len({len(each) for each in (*into, *out)}) == 1:
            compared[run] = RunDifferences(np.maximum.accumulate(np.max(into, axis=0)), np.max(out, axis=0))
    return compared


class ModuleRun(NamedTuple):
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
) -> tuple[dict[ModuleRun, _Side], dict[ModuleRun, _Side]]:
    """Make all calls of a reading; return fingerprints of the inputs and the outputs of each run, in its order.

    Runs are those of modules, or if `within` is given, the calls of PyTorch in the `forward` of this one, by line.
    """
    sides_of_phase: dict[Phase, dict[ModuleRun, dict[_Key, list[Differences]]]] = {Phase.BEGIN: {}, Phase.END: {}}
    running: list[ModuleRun] = []
    ran: Counter[Chain | int] = Counter()  # runs of this call, by modules or by line
    tokens = 0

    def keep(phase: Phase, run: ModuleRun, nest: Any) -> None:
        side = sides_of_phase[phase].setdefault(run, {})
        for path, tensor in tensors_in(nest):
            for key, numbers in _prints(reading, tokens, path, tensor.detach()):
                side.setdefault(key, []).append(numbers)

    def hear(chain: Chain, phase: Phase, arguments: Any, result: Any) -> None:
        if phase is Phase.BEGIN:
            running.append(ModuleRun(chain, ran[chain]))
            ran[chain] += 1
        run = running[-1] if phase is Phase.BEGIN else running.pop()
        if within is None:
            keep(phase, run, arguments if phase is Phase.BEGIN else result)

    def hear_line(line: int, arguments: Any, result: Any) -> None:
        if within is not None and running and running[-1].chain == within:
            run = ModuleRun(within, ran[line], line)
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
