"""Plan of a reading: where the state starts anew, how many rows read spans side by side, and the shape of a step.

Sizes decide everything, never a clock, so that a run repeats to the last digit.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Ints
from rnneval.errors import UsageError
from rnneval.models.protocol import LanguageModel, Shape
from rnneval.options import Progress, StateGroup, StreamGroup
from rnneval.text import EncodedText

SEGMENT = 64  # states are compared at the ends of segments: longer ones repeat more than is needed
_LONGEST_CALL = 1024  # the most tokens of a call, however long the chunks of a model are
_MOST_ROWS = 256
_SHORTEST_ROW = 4 * SEGMENT  # a shorter row may not have forgotten its start at its end, and would be read twice
_WORTH_HALVING = 8  # segments: a shorter span is audited whole
_WORTH_STITCHING = 16  # rows of calls of one token: fewer take longer than one row, if the model does not forget
# Work is counted in predictions times parameters: a core does some 4·10¹⁰ of them a second, whatever the model.
_LEAST = 1 << 35  # from here on two chunks end before one, although a process has to be started
_START = 1 << 34  # is done while the first worker starts: so much longer is the first chunk
_LENGTH = 1 << 20  # predictions of a chunk of a very long text: a lost worker costs no more
_LOGITS = 2**25  # numbers in one step's logits at the most: 128 MB


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Ranges of input tokens; arrays of shape `(spans,)`. A span of n input tokens makes n predictions."""

    starts: Ints
    stops: Ints  # exclusive; token `stop` is the last one that is predicted
    continues: NDArray[np.bool_]  # whether each goes on from the last state of the span before it

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


def pieces_of(spans: Spans, length: int) -> Spans:
    """Divide spans into pieces of at most `length`, each going on from the one before."""
    pieces = -(-spans.lengths // length)
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(spans.starts, pieces) + within * length
    stops = np.minimum(starts + length, np.repeat(spans.stops, pieces))
    return Spans(starts=starts, stops=stops, continues=within > 0)


def automatic_rows(predictions: int, *, memory_cells: bool = False) -> int:
    """Choose how many rows a text of so many predictions is read in.

    More rows make each step cheaper per token, and repeat more tokens (rows × forgetting length). The cost is
    (N + F · B)(1 + b / B), so the best B is √(N · b / F); the power of two below it, at most 256. Measured on models of
    128 to 1,024 units (docs/evidence/speed.md): GRUs forget within F = 300 tokens and a row costs b = 30 rows'
    overhead; for LSTMs, which have memory cells, F = 600 and b = 10.

    >>> [automatic_rows(n) for n in (100, 5_000, 111_539, 1_000_000, 10**8)]
    [1, 16, 64, 256, 256]
    >>> [automatic_rows(n, memory_cells=True) for n in (5_000, 111_539, 1_000_000, 10**8)]
    [8, 32, 128, 256]
    """
    best = max(1, isqrt(predictions // (60 if memory_cells else 10)))
    rows = min(_MOST_ROWS, 1 << (best.bit_length() - 1))
    return max(1, min(rows, predictions // _SHORTEST_ROW))


def chunk_ends(predictions: int, parameters: int) -> list[int]:
    """Choose after how many predictions of a text chunks end: one chunk if there is little to do, else two or more.

    The first is the longest: it is read while workers start.

    >>> chunk_ends(100_000, 100_000), chunk_ends(1_000_000, 100_000), len(chunk_ends(10_000_000, 100_000))
    ([100000], [585899, 1000000], 10)
    """
    if predictions * parameters < _LEAST:
        return [predictions]
    count = max(2, round(predictions / _LENGTH))
    more = min(_START // parameters, predictions // count)
    return [more + (predictions - more) * k // count for k in range(1, count + 1)]


def shape_for(spans: Spans, width: int, *, rows: int, segment: int | None = None, chunk: int = 1) -> Shape:
    """Choose the shape of a step for `rows` side by side, of at least a model's chunk of tokens.

    Many short spans get a segment no longer than they are on average, since a row waits for the end of its segment.
    One step's logits stay below 128 MB: by shorter segments, or fewer rows where a segment is asked for.
    """
    if segment is not None:
        rows = min(rows, max(1, _LOGITS // (segment * width)))
    else:
        mean = int(spans.lengths.mean()) if len(spans) else 1
        most = max(SEGMENT, min(chunk, _LONGEST_CALL))
        segment = min(most, max(16, 1 << (mean - 1).bit_length()), int(spans.lengths.max(initial=1)))
    rows = max(1, min(rows, _LOGITS // width))
    return Shape(rows=rows, segment=max(1, min(segment, _LOGITS // (rows * width))))


def divided(spans: Spans, shape: Shape, *, seed: int) -> tuple[Spans, int | None]:
    """Divide the spans over the rows, and choose the one that is audited: it is read twice to its end.

    Spans longer than their share are divided, at the ends of segments. One span, chosen by the seed, is halved, and
    its second half is audited: when both halves have been read side by side, the audit runs beside the other rows.
    """
    share = -(-spans.predictions // max(1, shape.rows - 1))
    pieces = pieces_of(spans, max(1, -(-share // shape.segment)) * shape.segment)
    if not pieces.continues.any():
        return pieces, None
    at = int(np.random.default_rng(seed).choice(np.flatnonzero(pieces.continues)))
    segments = int(pieces.lengths[at]) // shape.segment
    if segments < _WORTH_HALVING:
        return pieces, at
    middle = int(pieces.starts[at]) + segments // 2 * shape.segment
    starts, stops = np.insert(pieces.starts, at + 1, middle), np.insert(pieces.stops, at, middle)
    return Spans(starts=starts, stops=stops, continues=np.insert(pieces.continues, at + 1, True)), at + 1


class Streaming(StreamGroup, StateGroup):
    """Options that say how a model reads a text: where the state starts anew, in which rows, and in which steps."""

    window: int | None = None  # N of a window model, which has no state to carry or reset
    fixed_segment: int | None = None  # for a model whose scores depend on it; None: the segment is for speed alone
    padded: bool = True  # whether short segments may be filled up; not for a model whose scores depend on the cut
    progress: Progress | None = None

    @classmethod
    def of(cls, options: Any, **more: Any) -> "Streaming":
        """Take the options of streaming from those of a function that reads a text."""
        values = {each.name: getattr(options, each.name) for each in fields(cls) if hasattr(options, each.name)}
        return cls(**{**values, **more})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window is None and self.pad:
            raise UsageError("--pad is for window models (N tokens in, one prediction out): this model carries a state")
        if self.window is not None and self.state == "reset":
            raise UsageError(f"--state reset: a window model knows nothing but the last {self.window} tokens anyway")

    def reporter(self, predictions: int) -> Callable[[int], None] | None:
        """Return what reports how many of all predictions were made; None if there is no progress to report."""
        progress = self.progress
        return None if progress is None else lambda scored: progress(scored, predictions)

    @property
    def signature(self) -> str:
        """The field of the signature; it holds the segment only if the state is reset with it."""
        if self.window is not None:
            return f"state:window-{self.window}{'+pad' if self.pad else ''}"
        return f"state:reset-{self.segment}" if self.state == "reset" else "state:carry"

    @property
    def unscored(self) -> int:
        """Number of tokens at the start of each document that are not scored: 1, or N of a window model."""
        return 1 if self.window is None or self.pad else self.window

    @property
    def asked_segment(self) -> int | None:
        """The segment if scores depend on it or --segment asks for one, which with --state reset it does not."""
        return self.fixed_segment or (self.segment if self.state == "carry" else None)

    def spans(self, text: EncodedText) -> Spans:
        """Return one span per document, or with --state reset one per segment, each from the initial state."""
        starts, stops = text.document_starts, text.document_stops - 1
        some = stops > starts
        documents = Spans(starts=starts[some], stops=stops[some], continues=np.zeros(int(some.sum()), bool))
        if self.state == "reset" and self.segment is not None:
            segments = pieces_of(documents, self.segment)
            return replace(segments, continues=np.zeros(len(segments), bool))
        return documents

    def rows(self, lm: LanguageModel, predictions: int, *, apart: bool = False) -> int:
        """Return the number of rows side by side; rows read `apart`, all from the initial state, may start together."""
        # A model that reads a chunk at once is as fast in one row, which repeats nothing.
        if not (lm.mixable or (apart and lm.batched)) or (self.streams == "auto" and lm.chunk > 1 and not apart):
            return 1
        if isinstance(self.streams, int):
            return self.streams
        rows = automatic_rows(predictions, memory_cells=lm.memory_cells)
        by_token = lm.backend == "step" and (lm.every_token or self.asked_segment == 1)
        return 1 if by_token and rows < _WORTH_STITCHING else rows
