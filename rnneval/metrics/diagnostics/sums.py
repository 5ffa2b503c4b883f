"""Sums over a segment of a state's trajectory, one for each row, from which every summary of states is computed.

Additive are, for each row: the number of positions, Σ‖h‖, Σ‖h‖², and Σt, Σt², Σt‖h‖ for the drift (t: tokens since the
document began). Peaks are merged by their maximum: ‖h‖, −h, h. These take every position.

Sums that cost more passes over the units take every k-th position of the text: the number of these positions,
Σ‖h_t − h_{t−1}‖, the number of saturated units, and for each unit Σ(h − s) and Σ(h − s)². The shift s is one number
per unit for the whole run, so that the variance of a unit that hardly moves is not lost in rounding (T. F. Chan, G. H.
Golub, R. J. LeVeque: Algorithms for computing the sample variance. The American Statistician 37, 1983).
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Singles
from rnneval.metrics.state_norms import dot, state_norms

SCALARS = ("positions", "norm", "square", "t", "tt", "t_norm", "sampled", "speed", "saturated")
PEAKS = ("norm", "minus_lowest", "highest")
_BLOCK = 1 << 16  # numbers that stay in a core's own cache while all passes go over them
_CACHED = 1 << 20


class Sums(NamedTuple):
    """Sums of some rows: additive `(rows, 9 + 2 units)` and peaks `(rows, 3)`."""

    additive: Doubles
    peaks: Doubles


def size_of(units: int) -> int:
    """Return how many additive numbers a row has for a state of `units` units."""
    return len(SCALARS) + 2 * units


def shift_of(states: Singles) -> Singles:
    """Return the shift, `(units,)`: each unit's mean over the first segment; any numbers near it would do."""
    mean: Singles = states[0].mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.where(np.isfinite(mean), mean, np.float32(0))


@dataclass(frozen=True, kw_only=True)
class Where:
    """Positions of the rows of a segment in the text; arrays of shape `(rows,)`."""

    first: NDArray[np.int64]  # position in the text of each row's first state
    counts: NDArray[np.int64]  # number of its positions that count
    since: NDArray[np.int64]  # tokens since the document began at its first position
    every: int = 1  # sums that do not cover every position cover the multiples of this

    @cached_property
    def longest(self) -> int:
        """Largest number of positions of a row."""
        return int(self.counts.max(initial=0))

    @cached_property
    def t(self) -> Doubles:
        """Tokens since the document began, `(rows, longest)`; zero at positions that do not count."""
        time = np.arange(self.longest)
        return np.where(time < self.counts[:, None], self.since[:, None] + time, 0).astype(np.float64)

    @cached_property
    def of_positions(self) -> Doubles:
        """Sums that need no state, `(rows, 4)`: positions, Σt, Σt², and the number of multiples of `every`."""
        t, near = self.t, np.count_nonzero(self.places >= 0, axis=1)
        return np.stack([self.counts, t.sum(1), (t**2).sum(1), near], axis=1).astype(np.float64)

    @cached_property
    def alike(self) -> list[tuple[slice, int]]:
        """Neighbouring rows of one length, and that length: all rows, unless a document or a span ends."""
        ends = np.flatnonzero(np.diff(self.counts)) + 1
        bounds = pairwise([0, *ends.tolist(), len(self.counts)])
        return [(slice(*both), int(self.counts[both[0]])) for both in bounds if both[0] < both[1]]

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Times of the multiples of `every` in each row, `(rows, n)`; −1 behind the last one of a row with fewer."""
        offsets = -self.first % self.every
        most = -(-int((self.counts - offsets).max(initial=0)) // self.every)
        at = offsets[:, None] + self.every * np.arange(most)
        return np.where(at < self.counts[:, None], at, -1)


def row_sums(states: Singles, before: Singles, where: Where, shift: Singles, limit: float | None) -> Sums:
    """Return the sums over each row's positions.

    `states` are those after each token, `(rows, time, units)`, `before` those before the first, `(rows, units)`;
    `shift` is the same in every call of a run. A unit is saturated where |h| is above the limit.
    """
    norm2, peaks = _everywhere(states, where)
    norm = np.sqrt(norm2, dtype=np.float64)
    near = _near(states, before, where, shift, limit)
    positions, t, tt, sampled = where.of_positions.T
    scalars = (positions, norm.sum(1), norm2.sum(1, dtype=np.float64), t, tt, dot(where.t, norm), sampled)
    additive = np.concatenate([np.stack(scalars, axis=1), near], axis=1)
    return Sums(additive, np.concatenate([norm.max(axis=1, initial=0.0)[:, None], peaks], axis=1))


def _everywhere(states: Singles, where: Where) -> tuple[Singles, Doubles]:
    """Return ‖h‖² of all states, `(rows, longest)`, zero if they do not count, and the largest −h and h, `(rows, 2)`.

    Times are taken in groups that stay in the cache for all passes; extremes by unit first, one long loop a step.
    """
    rows, _, units = states.shape
    norm2 = np.zeros((rows, where.longest), states.dtype)
    peaks = np.full((rows, 2), -np.inf)
    for alike, count in where.alike:
        times = max(16, _CACHED // max(1, (alike.stop - alike.start) * units))  # each group pays from 16 on
        for start in range(0, count, times):
            group = slice(start, min(count, start + times))
            x, some = states[alike, group], peaks[alike]
            norm2[alike, group] = dot(x, x)
            np.maximum(some[:, 0], -x.min(axis=1).min(axis=1), out=some[:, 0])
            np.maximum(some[:, 1], x.max(axis=1).max(axis=1), out=some[:, 1])
    return norm2, peaks


def _near(states: Singles, before: Singles, where: Where, shift: Singles, limit: float | None) -> Doubles:
    """Return the sums at the multiples of `every` of each row: speed, saturated, and by unit Σ(h − s) and Σ(h − s)²."""
    places, (rows, _, units) = where.places, states.shape
    most = max(1, _BLOCK // max(1, places.shape[1] * units))
    found = np.zeros((rows, 2 + 2 * units))
    for start in range(0, rows if places.size else 0, most):
        block = slice(start, start + most)
        found[block] = _near_block(states[block], before[block], places[block], shift, limit)
    return found


def _near_block(
    states: Singles, before: Singles, places: NDArray[np.int64], shift: Singles, limit: float | None
) -> Doubles:
    """Return the same of one block of rows, at its places `(rows, n)`."""
    row, missing = np.arange(len(places))[:, None], places < 0
    x, work = states[row, places], states[row, np.maximum(places - 1, -1)]
    begins, at = np.nonzero(places == 0)
    work[begins, at] = before[begins]
    np.subtract(x, work, out=work)
    work[missing] = 0
    units, one = x.shape[2], np.ones((1, x.shape[1]), np.float32)
    found = np.zeros((len(x), 2 + 2 * units))
    found[:, 0] = state_norms(work).sum(axis=1)
    if limit is not None:
        beyond = np.abs(x, out=work) > np.float32(limit)
        beyond[missing] = False
        found[:, 1] = beyond.reshape(len(x), -1).view(np.uint8).sum(axis=1, dtype=np.uint32)
    np.subtract(x, shift, out=x)
    x[missing] = 0
    found[:, 2 : 2 + units] = (one @ x)[:, 0]  # as a product: half the time of a sum over a middle axis
    found[:, 2 + units :] = (one @ np.multiply(x, x, out=x))[:, 0]
    return found
