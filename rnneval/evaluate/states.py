"""The summary of states in every run record: collected over the exact carried stream.

The sums of a segment are small (a few numbers a unit). They are kept by groups of segments until the stream is exact: a
row's overlap is re-evaluated, and the new sums replace the first ones. Covariances are made of samples.

A step function shows its states at the ends of calls alone: then these are the positions, and each has its sums.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints, Singles
from rnneval.evaluate.watch import Segment, Watch
from rnneval.gates.carrying import growth
from rnneval.metrics.diagnostics import sums
from rnneval.metrics.diagnostics.summary import Collected, Covariance, summary
from rnneval.metrics.state_norms import state_norms
from rnneval.models.protocol import LayerState, Layout, Sees, Trajectories, Trajectory
from rnneval.records.run import StateSummary
from rnneval.text import EncodedText

EVERY = 16
MOST = 1 << 16
ENOUGH = 1 << 12  # the most samples of a covariance: the products and the memory of more are much of a summary's cost
LARGEST = 1 << 12
"""The most units of a state whose units are compared with one another: a covariance of more fills the memory."""
_FEWEST_SUMS = 1 << 12  # positions of the slowest sums that a text keeps at least, where it has as many
_CHUNK = 2048
_PARTS = 16  # of the longest document, each with its mean norm
_SQUARES_FIT = 1e15  # the squares of 10⁸ such numbers add up to less than the largest float32


def sampling(tokens: int, most: int = MOST) -> int:
    """Return the distance of samples: 16 tokens, doubled until there are at most `most` samples.

    >>> sampling(111_540), sampling(10_000_000), sampling(111_540, ENOUGH)
    (16, 256, 32)
    """
    every = EVERY
    while tokens > every * most:
        every *= 2
    return every


def summing(tokens: int) -> int:
    """Return the distance of positions for the slowest sums: 1 to 16 tokens, so that at least 4,096 positions are left.

    >>> summing(8_191), summing(50_000), summing(10_000_000)
    (1, 8, 16)
    """
    every = 1
    while every < EVERY and tokens >= 2 * every * _FEWEST_SUMS:
        every *= 2
    return every


def places(first: Ints, counts: Ints, every: int, call: int = 1) -> tuple[Ints, Ints]:
    """Return (row, time) of all positions of some rows that are multiples of `every`, row by row.

    Of positions that are ends of calls, the `call` tokens up to one hold such a multiple.

    >>> [part.tolist() for part in places(np.array([0, 5]), np.array([4, 4]), 3)]
    [[0, 0, 1], [0, 3, 1]]
    >>> [part.tolist() for part in places(np.array([4, 9, 14]), np.array([1, 1, 1]), 8, call=5)]
    [[0, 1], [0, 0]]
    """
    time = np.arange(counts.max(initial=0))
    return np.nonzero(((first[:, None] + time) % every < call) & (time < counts[:, None]))  # type: ignore[return-value]


class StateWatch(Watch):
    """A watch over the states of every layer."""

    weight = 4
    sees: Sees = "shown"

    def __init__(self, text: EncodedText, every: int | None = None, **anchors: Any) -> None:
        """Take a text; `every` is the distance of positions for the slowest sums."""
        super().__init__(**anchors)
        self.by_position["samples"] = {}  # sampled states end to end, `(n, D)` of a segment by its first position
        # Document, distance from its start, S norms, bytes of M memories, at the same positions: `(n, 2 + S + M)`.
        self.by_position["norms"] = {}
        self._closer = summing(text.tokens) if every is None else every
        self._every = sampling(text.tokens, ENOUGH)
        self._starts = text.document_starts
        self._longest = int((text.document_stops - text.document_starts).max()) - 1
        self._layout = Layout()
        self._shifts: dict[str, Singles] = {}

    def for_chunk(self) -> Self:
        """Return a watch over a chunk of the same text, which has seen nothing yet: another process can have it."""
        other = super().for_chunk()
        other._layout = Layout(states=self.slots, call=self._layout.call)
        return other

    @property
    def slots(self) -> dict[str, LayerState]:
        """The states that were seen, by their names in a record."""
        return self._layout.states

    @property
    def _summed(self) -> int:
        """The distance of positions for the slowest sums: each, where the ends of calls alone are positions."""
        return self._closer if self._layout.call == 1 else 1

    @property
    def _memories(self) -> list[str]:
        """The states that are last entries of memories, by their names in a record."""
        return [key for key, slot in self.slots.items() if slot.is_memory]

    @property
    def _compared(self) -> list[LayerState]:
        """The states whose units are compared with one another."""
        return [slot for slot in self.slots.values() if slot.units <= LARGEST]

    def see(self, segments: Sequence[Segment], trajectories: Trajectories | None) -> None:
        """Add the sums of each row's segment to its group, and take the samples."""
        super().see(segments, trajectories)
        assert trajectories is not None  # noqa: S101 - states are observed
        self._layout = trajectories.layout
        first = np.array([each.first for each in segments], np.int64)
        counts = np.array([len(each.records) for each in segments], np.int64)
        since = first - self._starts[np.searchsorted(self._starts, first, side="right") - 1]
        if (call := self._layout.call) > 1:  # shorter rows were filled up, and show no state of their own end
            first, since, counts = first + call - 1, since + call - 1, (counts == call).astype(np.int64)
        where = sums.Where(first=first, counts=counts, since=since, every=self._summed)
        parts_of_states = [self._sums(key, trajectories.states[key], where) for key in self.slots]
        more = self._also(segments, trajectories, first, counts)
        additive = np.concatenate([*(part.additive for part in parts_of_states), more], axis=1)
        peaks = np.concatenate([*(part.peaks for part in parts_of_states), np.zeros((len(segments), 0))], axis=1)
        for each in zip(segments, additive, peaks, strict=True):
            self.add(*each)
        row, time = places(first, counts, self._every, self._layout.call)
        if not (self.slots and row.size):
            return
        position, document = first[row] + time, np.searchsorted(self._starts, first, side="right")
        parts = {key: np.asarray(trajectories.states[key].states[row, time], np.float32) for key in self.slots}
        norms = [state_norms(*_exact(each)) for each in parts.values()]
        sizes = [trajectories.bytes[key][row, time] for key in self._memories]
        self._sample("norms", position, row, np.stack([document[row], since[row] + time, *norms, *sizes], axis=1))
        if self._compared:
            compared = [parts[slot.key] for slot in self._compared]
            self._sample("samples", position, row, np.concatenate(compared, axis=1))

    def _sample(self, name: str, positions: Ints, row: Ints, vectors: Singles) -> None:
        """Keep vectors `(n, D)` of rows `(n,)`, those of a row by the first of their positions `(n,)`."""
        for part in np.split(np.arange(len(row)), np.flatnonzero(np.diff(row)) + 1):
            if len(part):
                self.by_position[name][int(positions[part[0]])] = vectors[part[0] : part[-1] + 1]

    def _also(self, segments: Sequence[Segment], trajectories: Trajectories, first: Ints, counts: Ints) -> Doubles:
        """Return a subclass's own sums of each row, `(rows, n)`, which stand behind those of the states."""
        return np.zeros((len(segments), 0))

    def _sums(self, key: str, trajectory: Trajectory, where: sums.Where) -> sums.Sums:
        states, before = _exact(*(np.asarray(each[: len(where.counts)], np.float32) for each in trajectory))
        if key not in self._shifts:
            self._shifts[key] = sums.shift_of(states)
        return sums.row_sums(states, before, where, self._shifts[key], self.slots[key].limit)

    def finish(self) -> tuple[dict[str, StateSummary], dict[str, str]]:
        """Return the summaries by `LAYER.SLOT`, and the reasons why there is none, by layer or state."""
        summaries, missing = {}, self._layout.missing
        memories = self._memories
        document, distance, *numbers = self._sampled("norms", 2 + len(self.slots) + len(memories)).T
        norms, sizes = numbers[: len(self.slots)], dict(zip(memories, numbers[len(self.slots) :], strict=True))
        part = np.minimum(distance * _PARTS // max(1, self._longest), _PARTS - 1).astype(np.intp)
        several = zip(self.collected(self._covariances()), self.slots.values(), norms, strict=True)
        for collected, slot, along in several:
            summary_of_state = summary(collected)
            if summary_of_state is None:
                missing[slot.key] = "a state is not a finite number"
                continue
            summaries[slot.key] = msgspec.structs.replace(
                summary_of_state,
                growth=growth(document.astype(np.int64), distance, along),
                norms=_means(along, part),
                bytes=_means(sizes[slot.key], part) if slot.is_memory else None,
            )
            if slot.units > LARGEST:
                figures = f"the twins and the participation ratio of {slot.key}"
                missing[figures] = f"of its {slot.units:,} units, at most {LARGEST:,} could be compared"
        return summaries, missing

    def collected(self, covariances: Mapping[str, Covariance]) -> Iterator[Collected]:
        """Yield what was collected of each state."""
        additive, peaks = self.totals()
        at = 0
        for k, slot in enumerate(self.slots.values()):
            yield Collected(
                additive=additive[at : (at := at + sums.size_of(slot.units))],
                peaks=peaks[len(sums.PEAKS) * k : len(sums.PEAKS) * (k + 1)],
                shift=self._shifts[slot.key],
                covariance=covariances.get(slot.key),
                longest=self._longest,
                bounded=slot.limit is not None,
                every=self._summed,
                call=self._layout.call,
            )

    def _sampled(self, name: str, numbers: int) -> NDArray[np.floating[Any]]:
        """Return what was kept at the sampled positions, in their order, `(n, numbers)`."""
        vectors = self.by_position[name]
        return np.concatenate([vectors[at] for at in sorted(vectors)] or [np.zeros((0, numbers), np.float32)])

    def _covariances(self) -> dict[str, Covariance]:
        """Return the covariance of each state whose units are compared, from the samples."""
        covariances = {slot.key: Covariance(slot.units) for slot in self._compared}
        samples = self._sampled("samples", sum(slot.units for slot in self._compared))
        bounds = np.cumsum([slot.units for slot in self._compared])[:-1]
        for start in range(0, len(samples), _CHUNK):
            (some,) = _exact(samples[start : start + _CHUNK])
            for covariance, part in zip(covariances.values(), np.split(some, bounds, axis=1), strict=True):
                covariance.add(part)
        return covariances


def _means(numbers: NDArray[np.floating[Any]], part: NDArray[np.intp]) -> tuple[float | None, ...]:
    """Return the mean of the numbers of each part, None for a part without any."""
    return tuple(float(numbers[part == k].mean()) if (part == k).any() else None for k in range(_PARTS))


def _exact(*arrays: NDArray[np.floating[Any]]) -> list[NDArray[np.floating[Any]]]:
    """Return states in float64 if squares of any overflow float32, as those of the −1e30 with which RWKV begins do."""
    large = any(each.size and (each.max() > _SQUARES_FIT or each.min() < -_SQUARES_FIT) for each in arrays)
    return [each.astype(np.float64) if large else each for each in arrays]
