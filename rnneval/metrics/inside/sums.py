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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SCALARS = ("positions", "norm", "square", "t", "tt", "t_norm", "sampled", "speed", "saturated")
PEAKS = ("norm", "minus_lowest", "highest")
_BLOCK = 1 << 16  # numbers that stay in a core's cache while all passes go over them


class Sums(NamedTuple):
    """Of some rows: additive `(rows, 9 + 2 units)` and peaks `(rows, 3)`."""

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


def row_sums(course: Course, where: Where, shift: Floats, limit: float | None) -> Sums:
    """Sum each row's positions.

    Args:
        course: The states.
        where: Which of them count.
        shift: `(units,)`, the same in every call of a run.
        limit: A unit is saturated where |h| is above this; None where it has no bound.
    """
    rows, time, units = course.states.shape
    offsets = -where.first % where.every
    seen = _Seen(rows, np.tile(shift, (-(-time // where.every), 1)), time)
    for block, count in _blocks(where.counts, offsets, units):
        seen.look(block, course.states[block, :count])
    for block, count in _blocks(where.counts, offsets, -(-units // where.every)):
        part = Course(states=course.states[block, :count], before=course.before[block])
        seen.look_closer(block, part, slice(int(offsets[block.start]), count, where.every), limit)
    return Sums(np.concatenate([seen.scalars(where), seen.units], axis=1), seen.peaks())


def _blocks(counts: NDArray[np.int64], offsets: NDArray[np.int64], units: int) -> Iterator[tuple[slice, int]]:
    """Neighbouring rows of one length and offset, as many as the cache holds."""
    start = 0
    while start < len(counts):
        count = int(counts[start])
        most = start + max(1, _BLOCK // max(1, count * units))
        stop = start + 1
        while stop < min(most, len(counts)) and counts[stop] == count and offsets[stop] == offsets[start]:
            stop += 1
        if count:
            yield slice(start, stop), count
        start = stop


class _Seen:
    """What was seen of some rows: all that goes over units is done block by block, the rest once."""

    def __init__(self, rows: int, shift: Floats, time: int) -> None:
        """Begin with nothing; the shift is `(places, units)`, since one long loop is faster than many short ones."""
        places, units = shift.shape
        self._shift = shift
        self._norm2 = np.zeros((rows, time), np.float32)
        self._speed2 = np.zeros((rows, places), np.float32)
        self._sampled = np.zeros(rows)
        self._saturated = np.zeros(rows)
        self._lowest = np.full(rows, np.inf)
        self._highest = np.full(rows, -np.inf)
        self.units = np.zeros((rows, 2 * units))
        self._work = np.empty(max(_BLOCK, places * units), np.float32)
        self._beyond = np.empty(self._work.shape, np.bool_)

    def look(self, block: slice, x: Floats) -> None:
        """Go over all states `(rows, count, units)` of one block."""
        self._norm2[block, : x.shape[1]] = _dot(x, x)
        self._lowest[block] = x.min(axis=(1, 2))
        self._highest[block] = x.max(axis=(1, 2))

    def look_closer(self, block: slice, part: Course, places: slice, limit: float | None) -> None:
        """Go over the states of one block at some places."""
        x = part.states[:, places]
        if not x.size:
            return
        if x.size > self._work.size:
            self._work, self._beyond = np.empty(x.size, np.float32), np.empty(x.size, np.bool_)
        work = self._work[: x.size].reshape(x.shape)
        count, units = x.shape[1:]
        self._sampled[block] = count
        _differences(part, places, work)
        self._speed2[block, :count] = _dot(work, work)
        if limit is not None:
            self._count(block, np.abs(x, out=work), limit)
        np.subtract(x, self._shift[:count], out=work)
        self.units[block, :units] = work.sum(axis=1)
        np.multiply(work, work, out=work)
        self.units[block, units:] = work.sum(axis=1)

    def _count(self, block: slice, size: Floats, limit: float) -> None:
        beyond = np.greater(size, np.float32(limit), out=self._beyond[: size.size].reshape(size.shape))
        self._saturated[block] = [np.count_nonzero(row) for row in beyond]

    def scalars(self, where: Where) -> Doubles:
        """Give the additive numbers that are not by unit, `(rows, 9)`; positions that do not count are zero."""
        norm, speed = np.sqrt(self._norm2, dtype=np.float64), np.sqrt(self._speed2, dtype=np.float64)
        time = np.arange(norm.shape[1])
        t = (where.since[:, None] + time) * (time < where.counts[:, None])
        columns = [where.counts, norm.sum(1), (norm**2).sum(1)]
        columns += [t.sum(1), (t.astype(np.float64) ** 2).sum(1), (t * norm).sum(1)]
        columns += [self._sampled, speed.sum(1), self._saturated]
        return np.stack(columns, axis=1).astype(np.float64)

    def peaks(self) -> Doubles:
        """Give the largest ‖h‖, −h and h of each row, `(rows, 3)`."""
        norm = np.sqrt(self._norm2.max(axis=1, initial=0.0), dtype=np.float64)
        return np.stack([norm, -self._lowest, self._highest], axis=1)


def _differences(part: Course, places: slice, out: Floats) -> None:
    """What each state at the places is more than the one before it, into `out` `(rows, places, units)`."""
    x, first = part.states, places.start
    if first:
        np.subtract(x[:, places], x[:, first - 1 : places.stop - 1 : places.step], out=out)
        return
    np.subtract(x[:, 0], part.before, out=out[:, 0])
    following = x[:, places.step :: places.step]
    np.subtract(following, x[:, places.step - 1 :: places.step][:, : following.shape[1]], out=out[:, 1:])


def _dot(a: Floats, b: Floats) -> Floats:
    """Σ a·b over the last axis."""
    dot = getattr(np, "vecdot", None)  # since NumPy 2.0; twice as fast
    product: Floats = dot(a, b) if dot is not None else np.einsum("rtu,rtu->rt", a, b)
    return product
