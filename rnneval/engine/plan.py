"""Plan of a reading: spans that begin with a known state, rows that read them side by side, and the shape of a step.

Sizes decide everything, never a clock, so that a run repeats to the last digit.
"""

from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Shape

Ints = NDArray[np.int64]

SEGMENT = 64  # states are compared at the ends of segments: longer ones repeat more than is needed
_MOST_ROWS = 256
_SHORTEST_ROW = 4 * SEGMENT  # a shorter row would be re-evaluated to its end before it has forgotten its start
_WORTH_HALVING = 8  # segments: a shorter span is audited whole
_LOGITS = 2**25  # numbers in one step's logits at the most: 128 MB


class Documents(Protocol):
    """A text with token ranges of its documents, `(documents,)` each."""

    @property
    def document_starts(self) -> Ints:
        """First token of each document."""
        ...

    @property
    def document_stops(self) -> Ints:
        """One past the last token of each document."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Ranges of input tokens; arrays of shape `(spans,)`. A span of n input tokens makes n predictions."""

    starts: Ints
    stops: Ints
    """Exclusive; token `stop` is the last one that is predicted."""
    previous: Ints
    """The span from whose last state this one goes on, or −1 where it begins with the model's initial state."""

    @property
    def lengths(self) -> Ints:
        """Predictions of each span."""
        return self.stops - self.starts

    @property
    def predictions(self) -> int:
        """Predictions of all spans."""
        return int(self.lengths.sum())

    def __len__(self) -> int:
        return len(self.starts)


def carried_spans(text: Documents) -> Spans:
    """Return one span per document, over which the state is carried. A document of one token has none."""
    starts, stops = text.document_starts, text.document_stops - 1
    some = stops > starts
    return Spans(starts=starts[some], stops=stops[some], previous=np.full(int(some.sum()), -1))


def reset_spans(text: Documents, length: int) -> Spans:
    """Cut each document into spans of `length` input tokens, each from the initial state.

    The first token of a later span is predicted at the end of the one before, so nothing is left unscored but the
    first token of each document.
    """
    cut = cut_spans(carried_spans(text), length)
    return Spans(starts=cut.starts, stops=cut.stops, previous=np.full(len(cut), -1))


def cut_spans(spans: Spans, length: int) -> Spans:
    """Cut spans into pieces of at most `length`, each going on from the one before."""
    pieces = -(-spans.lengths // length)
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(spans.starts, pieces) + within * length
    stops = np.minimum(starts + length, np.repeat(spans.stops, pieces))
    return Spans(starts=starts, stops=stops, previous=np.where(within > 0, np.arange(len(starts)) - 1, -1))


def automatic_rows(predictions: int, *, memory_cells: bool = False) -> int:
    """Choose how many rows a text of so many predictions is read in.

    More rows make each step cheaper per token, and repeat more tokens (rows × forgetting length). The cost is
    (N + F · B)(1 + b / B), so the best B is √(N · b / F); the power of two below it, at most 256. Measured on models of
    128 to 1,024 units (docs/speed.md): GRUs forget within F = 300 tokens and a row costs b = 30 rows' overhead; LSTMs,
    which have memory cells, within 300 to 1,300, and their steps gain little from more rows: F = 600, b = 10.

    Example:
        >>> [automatic_rows(n) for n in (100, 5_000, 111_539, 1_000_000, 10**8)]
        [1, 16, 64, 256, 256]
        >>> [automatic_rows(n, memory_cells=True) for n in (5_000, 111_539, 1_000_000, 10**8)]
        [8, 32, 128, 256]
    """
    best = max(1, isqrt(predictions // (60 if memory_cells else 10)))
    rows = min(_MOST_ROWS, 1 << (best.bit_length() - 1))
    return max(1, min(rows, predictions // _SHORTEST_ROW))


def shape_for(spans: Spans, width: int, *, rows: int, segment: int | None = None) -> Shape:
    """Choose the shape of a step for `rows` side by side.

    Many short spans get a segment no longer than they are on average, since a row waits for the end of its segment.
    With a large vocabulary the rows stay and segments get shorter, so that one step's logits stay below 128 MB.
    """
    if segment is None:
        mean = int(spans.lengths.mean()) if len(spans) else 1
        segment = min(SEGMENT, max(16, 1 << (mean - 1).bit_length()), int(spans.lengths.max(initial=1)))
    rows = max(1, min(rows, _LOGITS // width))
    return Shape(rows=rows, segment=max(1, min(segment, _LOGITS // (rows * width))))


@dataclass(frozen=True, kw_only=True)
class Stitch:
    """Spans that fill the rows, and the audited one, which is read twice to its end."""

    spans: Spans
    audited: int | None


def stitch_of(spans: Spans, shape: Shape, *, seed: int) -> Stitch:
    """Divide the spans over the rows: spans longer than their share are cut, at the ends of segments.

    One span, chosen by the seed, is cut in half, and its second half is audited. When both halves have been read, side
    by side, the other rows are half done, and the audit runs beside them. One row is left free for the other half.
    """
    share = -(-spans.predictions // max(1, shape.rows - 1))
    cut = cut_spans(spans, max(1, -(-share // shape.segment)) * shape.segment)
    if (cut.previous < 0).all():
        return Stitch(spans=cut, audited=None)
    at = int(np.random.default_rng(seed).choice(np.flatnonzero(cut.previous >= 0)))
    segments = int(cut.lengths[at]) // shape.segment
    if segments < _WORTH_HALVING:
        return Stitch(spans=cut, audited=at)
    return Stitch(spans=_split(cut, at, int(cut.starts[at]) + segments // 2 * shape.segment), audited=at + 1)


def _split(spans: Spans, at: int, position: int) -> Spans:
    """Cut one span in two."""
    starts = np.insert(spans.starts, at + 1, position)
    stops = np.insert(spans.stops, at, position)
    moved = np.where(spans.previous > at - 1, spans.previous + 1, spans.previous)
    moved[at] = spans.previous[at]
    return Spans(starts=starts, stops=stops, previous=np.insert(moved, at + 1, at))
