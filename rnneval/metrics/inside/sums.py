"""Sums over a segment of a state's course, a row each: what every summary of states is made of.

Additive are, for each row: how many positions, Σ‖h‖, Σ‖h‖², Σ‖h_t − h_{t−1}‖, how many units were saturated, and Σt,
Σt², Σt‖h‖ for the drift (t: tokens since the document began); then for each unit Σ(h − s) and Σ(h − s)², where the
shift s is one number a unit for the whole run, so that the variance of a unit that hardly moves is not lost in
rounding (T. F. Chan, G. H. Golub, R. J. LeVeque: Algorithms for computing the sample variance. The American
Statistician 37, 1983). Peaks are merged by their maximum: ‖h‖, −h, h.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SCALARS = ("positions", "norm", "square", "speed", "saturated", "t", "tt", "t_norm")
PEAKS = ("norm", "minus_lowest", "highest")
_BLOCK = 1 << 16  # numbers that stay in a core's cache while all passes go over them


class Sums(NamedTuple):
    """Of some rows: additive `(rows, 8 + 2 units)` and peaks `(rows, 3)`."""

    additive: Doubles
    peaks: Doubles


@dataclass(frozen=True, kw_only=True)
class Course:
    """One slot's states over a segment."""

    states: Floats
    """After each token, `(rows, time, units)`."""
    before: Floats
    """Before the first one, `(rows, units)`."""


def width(units: int) -> int:
    """How many additive numbers a row of so many units has."""
    return len(SCALARS) + 2 * units


def shift_of(course: Course) -> Floats:
    """Choose the shift, `(units,)`: each unit's mean over the first segment seen; any numbers near it would do."""
    mean: Floats = course.states[0].mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.where(np.isfinite(mean), mean, np.float32(0))


def row_sums(
    course: Course, counts: NDArray[np.int64], since: NDArray[np.int64], shift: Floats, limit: float | None
) -> Sums:
    """Sum each row's first `counts[row]` positions.

    Args:
        course: The states.
        counts: Of the positions of each row that count, `(rows,)`.
        since: Tokens since the document began at each row's first position, `(rows,)`.
        shift: `(units,)`, the same in every call of a run.
        limit: A unit is saturated where |h| is above this; None where it has no bound.
    """
    rows, time, units = course.states.shape
    seen = _Seen(rows, time, units)
    for block, count in _blocks(counts, units):
        seen.look(block, Course(states=course.states[block, :count], before=course.before[block]), shift, limit)
    return Sums(np.concatenate([seen.scalars(counts, since), seen.units], axis=1), seen.peaks())


def _blocks(counts: NDArray[np.int64], units: int) -> Iterator[tuple[slice, int]]:
    """Neighbouring rows of one length, as many as the cache holds."""
    start = 0
    while start < len(counts):
        count = int(counts[start])
        most = start + max(1, _BLOCK // max(1, count * units))
        stop = start + 1
        while stop < min(most, len(counts)) and counts[stop] == count:
            stop += 1
        if count:
            yield slice(start, stop), count
        start = stop


class _Seen:
    """What was seen of some rows: all that goes over units is done block by block, the rest once."""

    def __init__(self, rows: int, time: int, units: int) -> None:
        self._norm2 = np.zeros((rows, time), np.float32)
        self._speed2 = np.zeros((rows, time), np.float32)
        self._saturated = np.zeros(rows)
        self._lowest = np.full(rows, np.inf)
        self._highest = np.full(rows, -np.inf)
        self.units = np.zeros((rows, 2 * units))
        self._work = np.empty(max(_BLOCK, time * units), np.float32)
        self._beyond = np.empty(self._work.shape, np.bool_)
        self._copy = np.empty(self._work.shape, np.float32)

    def look(self, block: slice, part: Course, shift: Floats, limit: float | None) -> None:
        """Go over the states `(rows, count, units)` of one block."""
        x = self._together(part.states)
        count, units = x.shape[1:]
        work = self._work[: x.size].reshape(x.shape)
        self._norm2[block, :count] = _dot(x, x)
        np.subtract(x[:, 1:], x[:, :-1], out=work[:, 1:])
        np.subtract(x[:, 0], part.before, out=work[:, 0])
        self._speed2[block, :count] = _dot(work, work)
        self._extremes(block, x, work, limit)
        np.subtract(x, shift, out=work)
        self.units[block, :units] = work.sum(axis=1)
        np.multiply(work, work, out=work)
        self.units[block, units:] = work.sum(axis=1)

    def _together(self, states: Floats) -> Floats:
        """One slot of several side by side is copied once: a dozen passes over numbers that lie together are faster."""
        if states.flags.c_contiguous:
            return states
        copy = self._copy[: states.size].reshape(states.shape)
        np.copyto(copy, states)
        return copy

    def _extremes(self, block: slice, x: Floats, work: Floats, limit: float | None) -> None:
        self._lowest[block] = x.min(axis=(1, 2))
        self._highest[block] = x.max(axis=(1, 2))
        if limit is None:
            return
        np.abs(x, out=work)
        beyond = np.greater(work, np.float32(limit), out=self._beyond[: x.size].reshape(x.shape))
        self._saturated[block] = [np.count_nonzero(row) for row in beyond]

    def scalars(self, counts: NDArray[np.int64], since: NDArray[np.int64]) -> Doubles:
        """Give the additive numbers that are not by unit, `(rows, 8)`; positions that do not count are zero."""
        norm, speed = np.sqrt(self._norm2, dtype=np.float64), np.sqrt(self._speed2, dtype=np.float64)
        t = (since[:, None] + np.arange(norm.shape[1])) * (np.arange(norm.shape[1]) < counts[:, None])
        columns = [counts, norm.sum(1), (norm**2).sum(1), speed.sum(1), self._saturated]
        columns += [t.sum(1), (t.astype(np.float64) ** 2).sum(1), (t * norm).sum(1)]
        return np.stack(columns, axis=1).astype(np.float64)

    def peaks(self) -> Doubles:
        """Give the largest ‖h‖, −h and h of each row, `(rows, 3)`."""
        norm = np.sqrt(self._norm2.max(axis=1, initial=0.0), dtype=np.float64)
        return np.stack([norm, -self._lowest, self._highest], axis=1)


def _dot(a: Floats, b: Floats) -> Floats:
    """Σ a·b over the last axis."""
    dot = getattr(np, "vecdot", None)  # since NumPy 2.0; twice as fast
    product: Floats = dot(a, b) if dot is not None else np.einsum("rtu,rtu->rt", a, b)
    return product
