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

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from rnneval.errors import failure_of
from rnneval.models.torch.module import TorchStep
from rnneval.wiring.cases import Case
from rnneval.wiring.difference import EPSILON
from rnneval.wiring.facts import Spot
from rnneval.wiring.readings import Reading
from rnneval.wiring.subject import Ids, ordinary_ids, other_ids
from rnneval.wiring.torch.fingerprints import ModuleRun, WatchedReading, compared_runs
from rnneval.wiring.torch.fresh import awake
from rnneval.wiring.torch.hooks import Chain, Phase, is_of_pytorch, listening, spot_of, tensors_in
from rnneval.wiring.torch.readings import CacheReader, ShapeError

_AROUND = 4.0  # what differs by fewer times around a module has no effect
_ROUNDING = 4.0  # units in the last place: a smaller difference of inputs counts as this one

_BEFORE, _AFTER = 5, 66  # tokens of the text that calls of several lengths read
_ROWS = 3  # rows of a batch; with as many tokens or layers they would look alike
_LENGTHS = ((29,), (7, 22))  # calls in which one row, or a later token, is altered
_ALTERED = 20  # the position of this token


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
    compared = compared_runs(model, one, other)
    for run, sides in compared.items():
        chain, position = run.chain, sides.parting(floor)
        # Where the module around it gives the same, what is inside of it does not matter.
        outer = (ModuleRun(chain[:depth], 0) for depth in range(len(chain) - 1, 0, -1))
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
        lines = compared_runs(model, one, other, within=chain)
        line = next((each.line for each, of_line in lines.items() if of_line.parting(floor) is not None), None)
        if line is None or is_of_pytorch(part):
            return divergence
        return replace(divergence, at=replace(divergence.at, line=line), in_line=True)
    return None
