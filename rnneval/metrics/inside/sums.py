"""Sums over a segment of a state's course, a row each: what every summary of states is made of.

Additive are, for each row: how many positions, Σ‖h‖, Σ‖h‖², and Σt, Σt², Σt‖h‖ for the drift (t: tokens since the
document began). Peaks are merged by their maximum: ‖h‖, −h, h. These see every position.

What costs more passes over the units sees every k-th position of the text: how many these are, Σ‖h_t − h_{t−1}‖, how
many units were saturated, and for each unit Σ(h − s) and Σ(h − s)², where the shift s is one number a unit for the
whole run, so that the variance of a unit that hardly moves is not lost in rounding (T. F. Chan, G. H. Golub, R. J.
LeVeque: Algorithms for computing the sample variance. The American Statistician 37, 1983).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SCALARS = ("positions", "norm", "square", "t", "tt", "t_norm", "sampled", "speed", "saturated")
PEAKS = ("norm", "minus_lowest", "highest")
_BLOCK = 1 << 16  # numbers that stay in a core's own cache while all passes go over them
_CACHED = 1 << 20  # numbers that stay in the cache of all cores


class Sums(NamedTuple):
    """Of some rows: additive `(rows, 9 + 2 units)` and peaks `(rows, 3)`."""

    additive: Doubles
    peaks: Doubles


@dataclass(frozen=True, kw_only=True)
class Course:
    """One slot's states over a segment."""

    states: Floats
    """After each token, `(rows, time, units)`, in whatever order they lie in memory."""
    before: Floats
    """Before the first one, `(rows, units)`."""


def width(units: int) -> int:
    """How many additive numbers a row of so many units has."""
    return len(SCALARS) + 2 * units


def shift_of(course: Course) -> Floats:
    """Choose the shift, `(units,)`: each unit's mean over the first segment seen; any numbers near it would do."""
    mean: Floats = course.states[0].mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.where(np.isfinite(mean), mean, np.float32(0))


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the rows of a segment are in the text; arrays of shape `(rows,)`."""

    first: NDArray[np.int64]
    """The position in the text of each row's first state."""
    counts: NDArray[np.int64]
    """How many of its positions count."""
    since: NDArray[np.int64]
    """Tokens since the document began at its first position."""
    every: int = 1
    """What is not summed over every position is summed over the multiples of this."""

    @cached_property
    def longest(self) -> int:
        """The most positions of a row."""
        return int(self.counts.max(initial=0))

    @cached_property
    def t(self) -> Doubles:
        """Tokens since the document began, `(rows, longest)`; zero at positions that do not count."""
        time = np.arange(self.longest)
        return np.where(time < self.counts[:, None], self.since[:, None] + time, 0).astype(np.float64)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where the multiples of `every` are in each row, `(rows, n)`; −1 behind the last one of a row with fewer."""
        offsets = -self.first % self.every
        most = -(-int((self.counts - offsets).max(initial=0)) // self.every)
        at = offsets[:, None] + self.every * np.arange(most)
        return np.where(at < self.counts[:, None], at, -1)


def row_sums(course: Course, where: Where, shift: Floats, limit: float | None) -> Sums:
    """Sum each row's positions.

    Args:
        course: The states.
        where: Which of them count.
        shift: `(units,)`, the same in every call of a run.
        limit: A unit is saturated where |h| is above this; None where it has no bound.
    """
    rows, _, units = course.states.shape
    seen = _Seen(rows, where.longest, units)
    for alike, count in _of_one_length(where.counts):
        for stretch in _stretches(count, (alike.stop - alike.start) * units):
            seen.look(alike, stretch, course.states[alike, stretch])
    places = where.places
    most = max(1, _BLOCK // max(1, places.shape[1] * units))
    for start in range(0, rows if places.size else 0, most):
        seen.look_closer(slice(start, start + most), course, places[start : start + most], shift, limit)
    return Sums(np.concatenate([seen.scalars(where), seen.units], axis=1), seen.peaks())


def _of_one_length(counts: NDArray[np.int64]) -> Iterator[tuple[slice, int]]:
    """Neighbouring rows of one length: all of them, but where a document or a span ends."""
    ends = np.flatnonzero(np.diff(counts)) + 1
    for start, stop in pairwise([0, *ends.tolist(), len(counts)]):
        if start < stop and counts[start]:
            yield slice(start, stop), int(counts[start])


def _stretches(count: int, numbers: int) -> Iterator[slice]:
    """Times in stretches of about as many numbers as the cache holds; each begins with passes that pay from 16 on."""
    most = max(16, _CACHED // max(1, numbers))
    for start in range(0, count, most):
        yield slice(start, min(count, start + most))


class _Seen:
    """What was seen of some rows: all that goes over units is done block by block, the rest once."""

    def __init__(self, rows: int, time: int, units: int) -> None:
        self._norm2 = np.zeros((rows, time), np.float32)
        self._speed = np.zeros(rows)
        self._sampled = np.zeros(rows)
        self._saturated = np.zeros(rows)
        self._lowest = np.full((rows, units), np.inf, np.float32)
        self._highest = np.full((rows, units), -np.inf, np.float32)
        self.units = np.zeros((rows, 2 * units))

    def look(self, rows: slice, stretch: slice, x: Floats) -> None:
        """Go over all states `(rows, times, units)` of a stretch; extremes by unit, which is one long loop a step."""
        self._norm2[rows, stretch] = _dot(x, x)
        low, high = self._lowest[rows], self._highest[rows]
        np.minimum(low, x.min(axis=1), out=low)
        np.maximum(high, x.max(axis=1), out=high)

    def look_closer(
        self, block: slice, course: Course, places: NDArray[np.int64], shift: Floats, limit: float | None
    ) -> None:
        """Go over the states of one block at some places `(rows, n)`."""
        row = np.arange(block.start, block.start + len(places))[:, None]
        missing = places < 0 if (places < 0).any() else None
        self._sampled[block] = np.count_nonzero(places >= 0, axis=1)
        x, work = course.states[row, places], course.states[row, places - 1]
        begins, at = np.nonzero(places == 0)
        work[begins, at] = course.before[row[begins, 0]]
        np.subtract(x, work, out=work)
        _clear(work, missing)
        self._speed[block] = np.sqrt(_dot(work, work), dtype=np.float64).sum(axis=1)
        if limit is not None:
            beyond = np.abs(x, out=work) > np.float32(limit)
            _clear(beyond, missing)
            self._saturated[block] = [np.count_nonzero(one) for one in beyond]
        np.subtract(x, np.broadcast_to(shift, x.shape[1:]), out=x)
        _clear(x, missing)
        units = x.shape[2]
        one = np.ones((1, x.shape[1]), np.float32)
        self.units[block, :units] = (one @ x)[:, 0]  # as a product: half the time of a sum over a middle axis
        self.units[block, units:] = (one @ np.multiply(x, x, out=x))[:, 0]

    def scalars(self, where: Where) -> Doubles:
        """Give the additive numbers that are not by unit, `(rows, 9)`; positions that do not count are zero."""
        norm = np.sqrt(self._norm2, dtype=np.float64)
        columns = [where.counts, norm.sum(1), (norm**2).sum(1)]
        columns += [where.t.sum(1), (where.t**2).sum(1), (where.t * norm).sum(1)]
        columns += [self._sampled, self._speed, self._saturated]
        return np.stack(columns, axis=1).astype(np.float64)

    def peaks(self) -> Doubles:
        """Give the largest ‖h‖, −h and h of each row, `(rows, 3)`."""
        norm = np.sqrt(self._norm2.max(axis=1, initial=0.0), dtype=np.float64)
        low, high = self._lowest.min(axis=1), self._highest.max(axis=1)
        return np.stack([norm, -low.astype(np.float64), high.astype(np.float64)], axis=1)


def _clear(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> None:
    """Let what is at places that are none count for nothing."""
    if missing is not None:
        values[missing] = 0


def _dot(a: Floats, b: Floats) -> Floats:
    """Σ a·b over the last axis."""
    dot = getattr(np, "vecdot", None)  # since NumPy 2.0; twice as fast
    product: Floats = dot(a, b) if dot is not None else np.einsum("rtu,rtu->rt", a, b)
    return product
