"""The summary of states in every run record: collected over the exact carried stream.

The sums of a segment are small (a few numbers a unit). They are kept by groups of segments until the stream is exact: a
row's overlap is re-evaluated, and the new sums replace the first ones. Covariances are made of samples.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rnneval.evaluate.losses import long_array
from rnneval.evaluate.rows import Boundary, Watch
from rnneval.metrics.diagnostics import sums
from rnneval.metrics.diagnostics.summary import Collected, Covariance, summary
from rnneval.models.protocol import LayerState, Layout, Seen, Sees, Trajectory
from rnneval.records.run import StateSummary
from rnneval.text import EncodedText

EVERY = 16
MOST = 1 << 16
ENOUGH = 1 << 12
"""The most samples of a covariance: the products and the memory of more are much of a summary's cost."""
LARGEST = 1 << 12
"""The most units of a state whose units are compared with one another: a covariance of more fills the memory."""
_FEWEST_SUMS = 1 << 12  # positions of the slowest sums that a text keeps at least, where it has as many
_CHUNK = 2048
_SQUARES_FIT = 1e15  # the squares of 10⁸ such numbers add up to less than the largest float32
_ONCE = (-1, -1)  # the group of all segments that are read only once
_REST = -1  # the group of all rows of a chunk but the first

Floats = NDArray[np.float32]


def _exact(*arrays: NDArray[np.floating[Any]]) -> list[NDArray[np.floating[Any]]]:
    """Return states in float64 if squares of any overflow float32, as those of the −1e30 with which RWKV begins do."""
    large = any(each.size and (each.max() > _SQUARES_FIT or each.min() < -_SQUARES_FIT) for each in arrays)
    return [each.astype(np.float64) if large else each for each in arrays]


def sampling(tokens: int, most: int = MOST) -> int:
    """Return the distance of samples: 16 tokens, doubled until there are at most `most` samples.

    Example:
        >>> sampling(111_540), sampling(10_000_000)
        (16, 256)
        >>> sampling(65_536, ENOUGH), sampling(111_540, ENOUGH), sampling(10_000_000, ENOUGH)
        (16, 32, 4096)
    """
    every = EVERY
    while tokens > every * most:
        every *= 2
    return every


class Samples:
    """Vectors `(D,)` at the positions 0, every, 2 · every, … of a text; there is room for all from the first on."""

    def __init__(self, every: int, tokens: int, *, holds: str) -> None:
        """Take the distance and the length of the text; `holds` names the content in messages."""
        self._every, self._tokens, self._holds = every, tokens, holds
        self.held: Floats = np.zeros((0, 0), np.float32)
        self._from, self._to = -(-tokens // every), 0  # the samples that were written, first and one past the last

    def empty(self) -> "Samples":
        """Return the same without samples."""
        return Samples(self._every, self._tokens, holds=self._holds)

    def put(self, first: int, vectors: Floats) -> None:
        """Write vectors `(n, D)` of consecutive samples, the first of them that of position `first`."""
        if not vectors.size:
            return
        if not self.held.size:
            self.held = long_array((-(-self._tokens // self._every), vectors.shape[1]), np.float32, self._holds)
        place = first // self._every
        self._from, self._to = min(self._from, place), max(self._to, place + len(vectors))
        self.held[place : place + len(vectors)] = vectors

    def written(self) -> tuple[int, Floats]:
        """Return the position of the first sample that was written, and the samples from there on to the last."""
        return self._from * self._every, self.held[self._from : self._to]


class SegmentSums(NamedTuple):
    """The sums and samples of one row's segment: all states end to end."""

    additive: NDArray[np.float64]
    peaks: NDArray[np.float64]
    first: int  # the position of the first sample
    samples: NDArray[np.float32]  # sampled states whose units are compared, end to end, `(n, D)`


@dataclass(frozen=True, kw_only=True)
class States:
    """The summaries of all states of a run."""

    summaries: Mapping[str, StateSummary]  # summaries by `LAYER.SLOT`
    missing: Mapping[str, str]  # reasons why there is no summary, by layer or state


def places(first: Sequence[int], counts: Sequence[int], every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, time) of all positions of some rows that are multiples of `every`, row by row.

    Example:
        >>> [part.tolist() for part in places([0, 5], [4, 4], 3)]
        [[0, 0, 1], [0, 3, 1]]
    """
    time = np.arange(max(counts, default=0))
    wanted = ((np.asarray(first)[:, None] + time) % every == 0) & (time < np.asarray(counts)[:, None])
    row, at = np.nonzero(wanted)
    return row, at


def summing(tokens: int) -> int:
    """Return the distance of positions for the slowest sums: 1 to 16 tokens, so that at least 4,096 positions are left.

    Example:
        >>> summing(8_191), summing(50_000), summing(10_000_000)
        (1, 8, 16)
    """
    every = 1
    while every < EVERY and tokens >= 2 * every * _FEWEST_SUMS:
        every *= 2
    return every


class StateWatch(Watch):
    """A watch over the states of every layer."""

    weight = 4
    sees: Sees = "states"

    def __init__(self, text: EncodedText, every: int | None = None) -> None:
        """Take a text; `every` is the distance of positions for the slowest sums."""
        self._closer = summing(text.tokens) if every is None else every
        self._starts, self._stops, self._tokens = text.document_starts, text.document_stops, text.tokens
        self._layout = Layout()
        self._every = sampling(text.tokens, ENOUGH)
        self._shifts: dict[str, sums.Floats] = {}
        self._kept: dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._samples = Samples(self._every, text.tokens, holds="sampled states (--no-states)")

    def for_chunk(self) -> Self:
        """Return a watch over a chunk of the same text, which has seen nothing yet."""
        other = copy(self)
        other._layout, other._kept, other._samples = Layout(states=self.slots), {}, self._samples.empty()
        return other

    def part(self) -> Any:
        """Return the sums of each group of the first row, those of all other rows, and the samples."""
        first = {group: sums for (span, group), sums in self._kept.items() if span == 0}
        self._kept = {key: sums for key, sums in self._kept.items() if key[0] != 0}
        return first, self._totals(), self._samples.written()

    def include(self, chunk: int, part: Any) -> None:
        """Take the sums and samples of a chunk, in place of its earlier ones."""
        first, rest, samples = part
        self._kept = {key: sums for key, sums in self._kept.items() if key[0] != chunk}
        self._kept |= {(chunk, group): sums for group, sums in first.items()}
        if rest[0].size:
            self._kept[chunk, _REST] = rest
        self._samples.put(*samples)

    @property
    def slots(self) -> dict[str, LayerState]:
        """The states that were seen, by their names in a record."""
        return self._layout.states

    @property
    def _compared(self) -> list[LayerState]:
        """The states whose units are compared with one another."""
        return [slot for slot in self.slots.values() if slot.units <= LARGEST]

    def rows(self, seen: Seen, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Sum each state over each row's segment, and take the samples."""
        self._layout = seen.layout
        at = np.asarray(first, np.int64)
        since = at - self._starts[np.searchsorted(self._starts, at, side="right") - 1]
        where = sums.Where(first=at, counts=np.asarray(counts, np.int64), since=since, every=self._closer)
        found = [self._sums(key, seen.states[key], where) for key in self.slots]
        empty = [np.zeros((len(counts), 0))]
        additive = np.concatenate([part.additive for part in found] or empty, axis=1)
        peaks = np.concatenate([part.peaks for part in found] or empty, axis=1)
        row, time = places(first, counts, self._every)
        parts = [np.asarray(seen.states[slot.key].states[row, time], np.float32) for slot in self._compared]
        sampled = np.concatenate(parts or [np.zeros((len(row), 0), np.float32)], axis=1)
        bounds = np.searchsorted(row, np.arange(len(counts) + 1)).tolist()
        return [
            SegmentSums(additive[k], peaks[k], at + -at % self._every, sampled[bounds[k] : bounds[k + 1]])
            for k, at in enumerate(first)
        ]

    def _sums(self, key: str, seen: Trajectory, where: sums.Where) -> sums.Sums:
        states, before = _exact(*(np.asarray(each[: len(where.counts)], np.float32) for each in seen))
        if key not in self._shifts:
            self._shifts[key] = sums.shift_of(states)
        return sums.row_sums(states, before, where, self._shifts[key], self.slots[key].limit)

    def put(self, row: Boundary, group: int | None) -> None:
        """Add a segment to its group; the first segment of a group replaces what was kept of the group."""
        seen: SegmentSums = row.inside
        key = _ONCE if group is None else (row.job.span, group)
        begins = group is not None and row.job.boundary == group + 1
        if begins or key not in self._kept:
            self._kept[key] = (seen.additive.copy(), seen.peaks.copy())
        else:
            additive, peaks = self._kept[key]
            additive += seen.additive
            np.maximum(peaks, seen.peaks, out=peaks)
        self._samples.put(seen.first, seen.samples)

    def are_read(self, every: int) -> NDArray[np.bool_]:
        """Return whether each of these positions is an input token, which the last of a document is not."""
        return ~np.isin(np.arange(0, self._tokens, every), self._stops - 1)

    def finish(self) -> States:
        """Add everything up."""
        found, missing = {}, self._layout.missing
        for collected, slot in zip(self._collected(self._covariances()), self.slots.values(), strict=True):
            made = summary(collected)
            if made is None:
                missing[slot.key] = "a state is not a finite number"
                continue
            found[slot.key] = made
            if slot.units > LARGEST:
                figures = f"the twins and the participation ratio of {slot.key}"
                missing[figures] = f"of its {slot.units:,} units, at most {LARGEST:,} could be compared"
        return States(summaries=found, missing=missing)

    def _collected(self, covariances: Mapping[str, Covariance]) -> Iterator[Collected]:
        widths = [sums.width(slot.units) for slot in self.slots.values()]
        additive, peaks = self._totals()
        parts = np.split(additive[: sum(widths)], np.cumsum(widths)[:-1]) if widths else []
        for k, (part, slot) in enumerate(zip(parts, self.slots.values(), strict=True)):
            yield Collected(
                additive=part,
                peaks=peaks[len(sums.PEAKS) * k : len(sums.PEAKS) * (k + 1)],
                shift=self._shifts[slot.key],
                covariance=covariances.get(slot.key),
                longest=int((self._stops - self._starts).max()) - 1,
                bounded=slot.limit is not None,
                every=self._closer,
            )

    def _totals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Add up all groups; a subclass's own sums stand behind those of the states."""
        kept = list(self._kept.values())
        if not kept:
            return np.zeros(0), np.zeros(0)
        return np.sum([part for part, _ in kept], axis=0), np.stack([part for _, part in kept]).max(axis=0)

    def _covariances(self) -> dict[str, Covariance]:
        """Return the covariance of each state whose units are compared, from the samples of input tokens."""
        found = {slot.key: Covariance(slot.units) for slot in self._compared}
        if not self._samples.held.size:
            return found
        bounds = np.cumsum([slot.units for slot in self._compared])[:-1]
        wanted = self.are_read(self._every)
        for start in range(0, len(wanted), _CHUNK):
            some = slice(start, start + _CHUNK)
            (read,) = _exact(self._samples.held[some][wanted[some]])
            for covariance, part in zip(found.values(), np.split(read, bounds, axis=1), strict=True):
                covariance.add(part)
        return found
