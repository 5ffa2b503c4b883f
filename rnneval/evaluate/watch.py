"""Probes of an exact stream: what is observed of it beside its losses.

A span may be read several times (`rnneval.evaluate.stitch`): again from a better state, until it agrees with the
reading before. What a watch observed at a position is that of the last reading. Sums over segments cannot be taken
apart, so they are kept by *groups*: the segments of a span between two boundaries whose states are kept. A span is read
again from its start, and agrees at a kept boundary: it replaces whole groups, and leaves those behind it as they are.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.evaluate.span import SpanReading
from rnneval.models.protocol import Place, Sees, Trajectories

NONE: Ints = np.zeros(0, np.int64)


class SegmentGroup(NamedTuple):
    """Segments of a span from one kept boundary to the next."""

    span: int
    start: int  # the boundary at which it begins


class Segment(NamedTuple):
    """One row of a step: a reading at the end of a segment."""

    reading: SpanReading
    first: int  # position of the first input token; the token after it is the first that is predicted
    records: NDArray[Any]  # predictions of the segment's tokens, `(n,)`, as `Predicted.packed` makes them
    group: SegmentGroup | None  # None where the span is read only once, so that nothing is replaced

    @property
    def begins_group(self) -> bool:
        """True of the first segment of its group, from which on an earlier reading of the group is replaced."""
        return self.group is not None and self.reading.boundary == self.group.start + 1


@dataclass(kw_only=True)
class GroupSums:
    """Sums and largest numbers over some segments, `(n,)` each."""

    sums: Doubles
    peaks: Doubles

    def add(self, sums: Doubles, peaks: Doubles) -> None:
        """Add those of another segment."""
        self.sums += sums
        np.maximum(self.peaks, peaks, out=self.peaks)


def total(groups: Iterable[GroupSums]) -> GroupSums | None:
    """Return the sums over several groups; None without one."""
    several = [*groups]
    if not several:
        return None
    return GroupSums(
        sums=np.sum([each.sums for each in several], axis=0), peaks=np.max([each.peaks for each in several], axis=0)
    )


class ChunkObservations(NamedTuple):
    """Observations of a watch over a chunk."""

    first_row: dict[int, GroupSums]  # groups of the chunk's first span by their starts: it may be read again
    rest: GroupSums | None  # of all other spans, which are final
    by_position: dict[str, dict[int, Any]]


class Watch:
    """A probe that keeps the state at the first boundary from each target on, and the losses of some tokens.

    Subclasses observe more.
    """

    weight = 0  # numbers kept for a group of segments, for each number of the state
    sees: Sees = "losses"  # what is observed for it

    def __init__(self, targets: Ints = NONE, tokens: Ints = NONE) -> None:
        """Take positions, both ascending."""
        self.targets, self.tokens = targets, tokens
        self.by_position: dict[str, dict[int, Any]] = {"places": {}, "nats": {}}
        """By name and position: the `Place` of each target, the loss of each token."""
        self._groups: dict[SegmentGroup | None, GroupSums] = {}  # None: all segments that are read only once
        self._rests: dict[int, GroupSums] = {}  # by chunk, of all its spans but the first

    def see(self, segments: Sequence[Segment], trajectories: Trajectories | None) -> None:
        """Take rows of a step, and what was observed of them: None where only losses are."""
        for reading, first, records, _ in segments:
            # A target that is itself a boundary belongs to the segment that ends there.
            low, high = np.searchsorted(self.targets, [first + 1, reading.at + 1])
            for target in self.targets[low:high].tolist():
                self.by_position["places"][target] = Place(at=reading.at, state=np.array(reading.state))
            low, high = np.searchsorted(self.tokens, [first + 1, reading.at + 1])
            for token in self.tokens[low:high].tolist():
                self.by_position["nats"][token] = float(records["nats"][token - first - 1])

    def add(self, segment: Segment, sums: Doubles, peaks: Doubles) -> None:
        """Add the sums of a segment to those of its group."""
        before = self._groups.get(segment.group)
        if before is None or segment.begins_group:
            self._groups[segment.group] = GroupSums(sums=sums.copy(), peaks=peaks.copy())
        else:
            before.add(sums, peaks)

    def totals(self) -> tuple[Doubles, Doubles]:
        """Return the sums and the peaks over the whole text; arrays of no number where nothing was added."""
        whole = total([*self._groups.values(), *self._rests.values()])
        return (NONE.astype(np.float64),) * 2 if whole is None else (whole.sums, whole.peaks)

    def for_chunk(self) -> Self:
        """Return a watch over a chunk of the same text, which has observed nothing yet: another process can have it."""
        other = copy(self)
        other.by_position = {name: {} for name in self.by_position}
        other._groups, other._rests = {}, {}
        return other

    def of_chunk(self) -> ChunkObservations:
        """Return what a watch over a chunk has observed; its first span has the number 0."""
        first = {group.start: sums for group, sums in self._groups.items() if group is not None and group.span == 0}
        rest = total(sums for group, sums in self._groups.items() if group is None or group.span != 0)
        return ChunkObservations(first, rest, self.by_position)

    def include(self, chunk: int, observations: ChunkObservations) -> None:
        """Take what a watch over a chunk has observed; the chunk's number becomes that of its first span."""
        self._groups = {group: sums for group, sums in self._groups.items() if group is None or group.span != chunk}
        self._groups |= {SegmentGroup(chunk, start): sums for start, sums in observations.first_row.items()}
        self._rests.pop(chunk, None)
        if observations.rest is not None:
            self._rests[chunk] = observations.rest
        for name, values in observations.by_position.items():
            self.by_position[name] |= values
