"""Spans of a text read as rows of one process, segment by segment: a row that ends is free for the next span.

Three spans of 12, 7 and 8 tokens in two rows, with segments of 4; the second row takes span 2 when span 1 ends:

    step    1          2          3          4
    row 0   0 0 0 0    0 0 0 0    0 0 0 0
    row 1   1 1 1 1    1 1 1 ·    2 2 2 2    2 2 2 2

A step of fewer tokens is filled up (·), and what is predicted there is dropped. Who keeps which states, for how long:

- `SpanReading.state`, the one before the next token: until the next step; of a reading that has ended, until
  `Stitching` has taken it;
- `KeptStates`, those at boundaries of the last reading of each span that may be read again: as long as the text;
- `Stitching`, those at the ends of spans from which others go on: as long as the text.
"""

from collections.abc import Callable, Iterator
from itertools import groupby

import numpy as np

from rnneval.evaluate.losses import Observations
from rnneval.evaluate.plan import Streaming
from rnneval.evaluate.span import KeptStates, SpanReading
from rnneval.evaluate.stitch import Stitched
from rnneval.evaluate.watch import Segment, SegmentGroup, Watch
from rnneval.models.protocol import IdSource, LanguageModel, Predicted, Scorer, Shape
from rnneval.text import EncodedText

_FEWER_ROWS = (1, 4, 16, 64)
"""Rows of smaller steps, which are compiled too: a run takes the first number that holds its first readings."""
_NARROW, _STEPS_TO_NARROW = 4, 16
"""Once so few rows are left, for so many steps, steps become that narrow: to compile a step costs as much as some."""
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
        observations: Observations,
        states: KeptStates,
        watch: Watch | None = None,
        padded: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Take what scores a model's predictions, and what keeps predictions and states.

        Rows of a step are filled up to the longest, or, if not `padded`, are a step for each length. `progress` is told
        how many predictions were made for the first time.
        """
        self._text, self._shape, self._scorer = text, shape, scorer
        self._observations, self._states, self._watch = observations, states, watch
        self._padded, self._progress, self._scored = padded, progress, 0

    def read(self, readings: list[SpanReading]) -> Iterator[SpanReading]:
        """Make all readings as far as each is wanted, and yield each at its end.

        The list stays as it is; a reading that is appended to it meanwhile gets the next free row.
        """
        most = min(self._shape.rows, next((rows for rows in _FEWER_ROWS if rows >= len(readings)), self._shape.rows))
        active: list[SpanReading] = []
        begun = 0  # readings of the list that have a row, or had one
        narrow_steps = 0  # steps in a row that a narrow step would have held
        while active or begun < len(readings):
            new = readings[begun : begun + most - len(active)]
            active, begun = [*active, *new], begun + len(new)
            narrow_steps = narrow_steps + 1 if len(active) <= _NARROW else 0
            rows = min(_NARROW, most) if narrow_steps > _STEPS_TO_NARROW else most
            segments = [segment for together in self._steps(active) for segment in self._step(together, rows)]
            active = [segment.reading for segment in segments]
            for segment in segments:
                if segment.reading.kind != "aside":
                    self._keep(segment)
            for reading in (each for each in active if each.ended):
                reading.state = reading.state.copy()  # of one row: that of all rows is not kept
                yield reading
            active = [each for each in active if not each.ended]
            new_predictions = sum(len(each.records) for each in segments if each.reading.kind == "first")
            if self._progress is not None and new_predictions:
                self._scored += new_predictions
                self._progress(self._scored)

    def _steps(self, active: list[SpanReading]) -> list[list[SpanReading]]:
        """Divide readings into those of each step: all in one where short rows are filled up, else one for a length."""
        if self._padded:
            return [active]
        return [[*alike] for _, alike in groupby(sorted(active, key=self._next_tokens), self._next_tokens)]

    def _next_tokens(self, reading: SpanReading) -> int:
        return min(self._shape.segment, reading.stop - reading.at)

    def _step(self, readings: list[SpanReading], rows: int) -> list[Segment]:
        """Read the next segment of each reading, which moves on to its end."""
        counts = list(map(self._next_tokens, readings))
        ids = np.zeros((len(readings), max(counts) + 1), np.int32)  # inputs and targets
        for row, (reading, count) in enumerate(zip(readings, counts, strict=True)):
            ids[row, : count + 1] = self._text.ids(reading.at, reading.at + count + 1)
            ids[row, count + 1 :] = ids[row, count]  # a short row repeats its last id
        stepped = self._scorer.score(ids[:, :-1], ids[:, 1:], np.stack([each.state for each in readings]), rows)
        records, segments = stepped.predicted.packed(), []
        for row, (reading, count) in enumerate(zip(readings, counts, strict=True)):
            at, reading.at = reading.at, reading.at + count
            reading.boundary += 1
            reading.tokens += count
            reading.state = stepped.states[row]
            start = self._states.last_kept_before(reading.span, reading.boundary)
            group = None if start is None else SegmentGroup(reading.span, start)
            segments.append(Segment(reading, at, records[row, :count], group))
        if self._watch is not None and readings[0].kind != "aside":  # readings aside are never beside others
            self._watch.see(segments, stepped.trajectories)
        return segments

    def _keep(self, segment: Segment) -> None:
        """Keep predictions and state of a segment, once they are compared with those that they replace."""
        reading, predicted = segment.reading, segment.first + 1  # an input token predicts the one after it
        if reading.kind != "first":
            earlier = self._states.get(reading.span, reading.boundary)
            replaced = self._observations.get(predicted, predicted + len(segment.records))
            reading.compare(earlier, Predicted.of(segment.records), replaced)
        self._observations.write(predicted, segment.records)
        if not reading.settled:
            self._states.put(reading.span, reading.boundary, reading.state)
