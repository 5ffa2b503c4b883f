"""Spans of a text read as rows of one process, segment by segment: a row that ends is free for the next span.

Losses and states are kept, and compared with those of an earlier reading. *Row*: one of the spans that a step reads at
the same time. *Segment*: the tokens that a row reads in one step.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import groupby
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.evaluate.losses import Observations
from rnneval.evaluate.plan import Streaming
from rnneval.evaluate.stitch import KeptStates, SpanReading, Stitched
from rnneval.models.protocol import IdSource, LanguageModel, Place, Predicted, Scorer, Seen, Sees, Shape
from rnneval.text import EncodedText

_WIDTHS = (1, 4, 16, 64)
"""Numbers of rows of narrower steps, which are compiled too: a run takes the first that holds its first readings."""
_FEW, _WORTH = 4, 16
"""Once so few rows are left, and are for so many steps, steps become that narrow: compiling costs as much as some."""
_ONCE = (-1, -1)  # the group of all segments that are read only once
_REST = -1  # the group of all rows of a chunk but the first
NONE: Ints = np.zeros(0, np.int64)


class Segment(NamedTuple):
    """One row of a step: a reading at the end of a segment."""

    reading: SpanReading
    first: int  # position of the first input token; the token after it is the first that is predicted
    records: NDArray[Any]  # predictions of the segment's tokens, `(n,)`, as `Predicted.packed` makes them
    group: int | None  # the boundary at which the group of the segment begins; None if the span is read only once


class Watch:
    """A probe of the exact stream: it keeps the state at the first boundary from each target on, and some losses.

    Subclasses see more. A span is re-evaluated from its start, and the last observation of a position or group is the
    valid one.
    """

    weight = 0  # numbers kept for a group of segments, for each number of the state
    sees: Sees = "losses"  # what is observed for it

    def __init__(self, targets: Ints = NONE, tokens: Ints = NONE) -> None:
        """Take positions, both ascending."""
        self.targets, self.tokens = targets, tokens
        self.found: dict[str, dict[int, Any]] = {"places": {}, "nats": {}}
        """What was seen, by name and position: the `Place` of each target, the loss of each token."""
        self._kept: dict[tuple[int, int], tuple[Doubles, Doubles]] = {}  # sums and peaks by span and group

    def see(self, segments: Sequence[Segment], seen: Seen | None) -> None:
        """Take rows of a step, and what was observed of them: None where only losses are."""
        for reading, first, records, _ in segments:
            # A target that is itself a boundary belongs to the segment that ends there.
            low, high = np.searchsorted(self.targets, [first + 1, reading.at + 1])
            for target in self.targets[low:high].tolist():
                self.found["places"][target] = Place(at=reading.at, state=np.array(reading.state))
            low, high = np.searchsorted(self.tokens, [first + 1, reading.at + 1])
            for token in self.tokens[low:high].tolist():
                self.found["nats"][token] = float(records["nats"][token - first - 1])

    def add(self, segment: Segment, sums: Doubles, peaks: Doubles) -> None:
        """Add a segment to its group; the first segment of a group replaces what was kept of the group."""
        group = segment.group
        key = _ONCE if group is None else (segment.reading.span, group)
        if key not in self._kept or (group is not None and segment.reading.boundary == group + 1):
            self._kept[key] = (sums.copy(), peaks.copy())
        else:
            kept, highest = self._kept[key]
            kept += sums
            np.maximum(highest, peaks, out=highest)

    def totals(self) -> tuple[Doubles, Doubles]:
        """Return the sums and the peaks of all groups."""
        return _totals([*self._kept.values()])

    def for_chunk(self) -> Self:
        """Return a watch over a chunk of the same text, which has seen nothing yet: another process can have it."""
        other = copy(self)
        other.found, other._kept = {name: {} for name in self.found}, {}
        return other

    def part(self) -> Any:
        """Return what a watch over a chunk has seen: groups of its first row, span 0, stay apart."""
        first = {group: sums for (span, group), sums in self._kept.items() if span == 0}
        return first, _totals([sums for (span, _), sums in self._kept.items() if span != 0]), self.found

    def include(self, chunk: int, part: Any) -> None:
        """Take what a watch over a chunk has seen: later, its first row has the chunk's number as its span."""
        first, rest, found = part
        self._kept = {key: sums for key, sums in self._kept.items() if key[0] != chunk}
        self._kept |= {(chunk, group): sums for group, sums in first.items()}
        if rest[0].size:
            self._kept[chunk, _REST] = rest
        for name, seen in found.items():
            self.found[name] |= seen


def _totals(groups: Sequence[tuple[Doubles, Doubles]]) -> tuple[Doubles, Doubles]:
    """Return the sums and the peaks of groups; without one, arrays of no number."""
    if not groups:
        return NONE.astype(np.float64), NONE.astype(np.float64)
    sums, peaks = zip(*groups, strict=True)
    return np.sum(sums, axis=0), np.max(peaks, axis=0)


TextReader = Callable[[LanguageModel, EncodedText, Streaming, Observations, Watch | None], Stitched]
"""Reads a text with a model, and writes its predictions into the observations."""


class RowReader:
    """Reads spans of a text side by side, with steps of at most one shape."""

    def __init__(
        self,
        text: IdSource,
        shape: Shape,
        scorer: Scorer,
        *,
        seen: Observations,
        kept: KeptStates,
        watch: Watch | None = None,
        padded: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Take what scores a model's predictions, and what keeps predictions and states.

        Rows of a step are filled up to the longest, or, if not `padded`, are a step for each length. `progress` is told
        how many predictions were made for the first time.
        """
        self._text, self._shape, self._scorer = text, shape, scorer
        self._seen, self._kept, self._watch = seen, kept, watch
        self._padded, self._progress, self._scored = padded, progress, 0

    def read(self, waiting: deque[SpanReading]) -> Iterator[SpanReading]:
        """Make all readings that wait, as far as each is wanted; one that is added meanwhile gets the next free row."""
        width = min(self._shape.rows, next((width for width in _WIDTHS if width >= len(waiting)), self._shape.rows))
        active: list[SpanReading] = []
        few = 0  # steps with few rows, up to now
        while waiting or active:
            while waiting and len(active) < width:
                active.append(waiting.popleft())
            few = few + 1 if len(active) <= _FEW else 0
            narrowed = min(_FEW, width) if few > _WORTH else width
            before, together = self._scored, [active]
            if not self._padded:
                together = [[*alike] for _, alike in groupby(sorted(active, key=self._count), self._count)]
            segments = [segment for readings in together for segment in self._step(readings, narrowed)]
            active = []
            for segment in segments:
                reading = segment.reading
                if self._goes_on(segment) and reading.at < reading.stop:
                    active.append(reading)
                else:
                    reading.state = reading.state.copy()  # of one row: that of all rows is not kept
                    yield reading
            if self._progress is not None and self._scored > before:
                self._progress(self._scored)

    def _count(self, reading: SpanReading) -> int:
        """Return the number of tokens of a reading's next step."""
        return min(self._shape.segment, reading.stop - reading.at)

    def _step(self, readings: list[SpanReading], width: int) -> list[Segment]:
        counts = list(map(self._count, readings))
        both = np.zeros((len(readings), max(counts) + 1), np.int32)  # inputs and targets
        for row, (reading, count) in enumerate(zip(readings, counts, strict=True)):
            both[row, : count + 1] = self._text.ids(reading.at, reading.at + count + 1)
            both[row, count + 1 :] = both[row, count]  # a short row repeats its last id
        stepped = self._scorer.score(both[:, :-1], both[:, 1:], np.stack([each.state for each in readings]), width)
        records, segments = stepped.predicted.packed(), []
        for row, (reading, count) in enumerate(zip(readings, counts, strict=True)):
            at, reading.at = reading.at, reading.at + count
            reading.boundary += 1
            reading.tokens += count
            reading.state = stepped.states[row]
            group = self._kept.group_of(reading.span, reading.boundary)
            segments.append(Segment(reading, at, records[row, :count], group))
        if self._watch is not None and readings[0].kind != "aside":
            self._watch.see(segments, stepped.seen)
        return segments

    def _goes_on(self, segment: Segment) -> bool:
        """Keep a segment, compared with the earlier reading if there is one; True while the span has to be read on."""
        reading, first, count = segment.reading, segment.first + 1, len(segment.records)
        if reading.kind == "aside":
            return True
        if reading.kind == "first":
            self._scored += count
        else:
            kept = self._kept.get(reading.span, reading.boundary)
            reading.compare(kept, Predicted.of(segment.records), self._seen.get(first, first + count))
        self._seen.write(first, segment.records)
        if not reading.settled and (reading.kind != "audit" or reading.at == reading.stop):
            self._kept.put(reading.span, reading.boundary, reading.state)
        return reading.kind != "again" or not reading.settled
