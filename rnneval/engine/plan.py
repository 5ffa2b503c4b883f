"""Which tokens are read from which state: spans, and how they fill the rows of a batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_ROWS = 64  # beyond it a step of the layers measured gains little, and every row costs half an idle segment
_SEGMENT = 128
_LOGITS = 2**25  # numbers in one step's logits at the most: 128 MB


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Stretches of input tokens, each read from the model's initial state; arrays of shape `(spans,)`."""

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    """Exclusive; token `stop` is the last one predicted."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Input tokens of each, equal to the predictions that it makes."""
        return self.stops - self.starts

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of every step."""

    rows: int
    segment: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step of all rows; arrays of shape `(rows, segment)` unless said."""

    positions: NDArray[np.int64]
    """Index of each *input* token in the text; a row that has ended repeats its last one."""
    real: NDArray[np.bool_]
    """Which predictions count."""
    fresh: NDArray[np.bool_]
    """`(rows,)`: which rows start from the initial state."""


class Documents(Protocol):
    """What a text says of its documents: token ranges, `(documents,)` each."""

    @property
    def document_starts(self) -> NDArray[np.int64]:
        """First token of each."""
        ...

    @property
    def document_stops(self) -> NDArray[np.int64]:
        """One past its last."""
        ...


def carried_spans(text: Documents) -> Spans:
    """One span a document: the state is carried from its first token to its last. A document of one token has none."""
    starts, stops = text.document_starts, text.document_stops - 1
    some = stops > starts
    return Spans(starts=starts[some], stops=stops[some])


def reset_spans(text: Documents, length: int) -> Spans:
    """Cut each document into spans of `length` input tokens: the state starts anew in each.

    The first token of a later span was predicted at the end of the one before, so nothing is left unscored but the
    first token of each document.
    """
    whole = carried_spans(text)
    pieces = -(-whole.lengths // length)
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(whole.starts, pieces) + within * length
    return Spans(starts=starts, stops=np.minimum(starts + length, np.repeat(whole.stops, pieces)))


def shape_for(spans: Spans, width: int, *, segment: int | None = None, most_rows: int = _ROWS) -> Shape:
    """Choose rows and segment from sizes alone, never from a clock, so that a run repeats to the last digit.

    Many short spans get a segment no longer than they are on average, since a row waits for the end of its segment.
    """
    rows = max(1, min(most_rows, len(spans)))
    if segment is None:
        mean = int(spans.lengths.mean()) if len(spans) else 1
        segment = min(_SEGMENT, max(16, 1 << (mean - 1).bit_length()), int(spans.lengths.max(initial=1)))
    rows = max(1, min(rows, _LOGITS // width))
    return Shape(rows=rows, segment=max(1, min(segment, _LOGITS // (rows * width))))


def batches(spans: Spans, shape: Shape) -> Iterator[Batch]:
    """Fill the rows with spans, the longest first; a row that ends takes the next span at the next step."""
    order = np.argsort(-spans.lengths, kind="stable")
    waiting = iter(order)
    at = np.zeros(shape.rows, np.int64)
    stop = np.zeros(shape.rows, np.int64)
    steps = np.arange(shape.segment)
    while True:
        fresh = at >= stop
        for row in np.flatnonzero(fresh):
            span = next(waiting, None)
            if span is None:
                fresh[row] = False
            else:
                at[row], stop[row] = spans.starts[span], spans.stops[span]
        if (at >= stop).all():
            return
        wanted = at[:, None] + steps
        real = wanted < stop[:, None]
        yield Batch(positions=np.minimum(wanted, np.maximum(stop - 1, 0)[:, None]), real=real, fresh=fresh)
        at = np.minimum(at + shape.segment, stop)
