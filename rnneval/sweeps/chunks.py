"""A text in chunks: each a task of its own, cut by sizes alone, so that no result depends on the number of workers."""

from dataclasses import dataclass

import numpy as np

from rnneval.engine.plan import Ints, Spans, cut_spans

_SHORTEST, _LONGEST = 1 << 17, 1 << 20
_CHUNKS = 64


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive spans of a text, or a piece of a long one."""

    starts: Ints
    """First input token of each span, `(spans,)`."""
    stops: Ints
    continues: bool
    """Whether its first span goes on from the last state of the chunk before; all others begin anew."""

    @property
    def first(self) -> int:
        """The first input token."""
        return int(self.starts[0])

    @property
    def stop(self) -> int:
        """The last token that is predicted."""
        return int(self.stops[-1])

    @property
    def predictions(self) -> int:
        """Predictions of all spans."""
        return int((self.stops - self.starts).sum())

    @property
    def spans(self) -> Spans:
        """The spans, counted from the chunk's first token."""
        return Spans(
            starts=self.starts - self.first, stops=self.stops - self.first, previous=np.full(len(self.starts), -1)
        )


def automatic_length(predictions: int) -> int:
    """Choose how long a chunk is at the most, in predictions.

    A chunk is long enough to be read in many rows, without which a step costs more a token; from a million on it is not
    lengthened any more, so that a lost worker costs little.

    Example:
        >>> [automatic_length(n) for n in (1_000, 1_000_000, 10_000_000, 10**9)]
        [131072, 131072, 131072, 1048576]
    """
    share = max(1, predictions // _CHUNKS)
    return max(_SHORTEST, min(_LONGEST, 1 << (share.bit_length() - 1)))


def chunks_of(spans: Spans, length: int) -> list[Chunk]:
    """Cut spans that are longer than `length`, and put short neighbours together.

    Example:
        >>> spans = Spans(starts=np.array([0, 8, 11]), stops=np.array([7, 10, 12]), previous=np.array([-1, -1, -1]))
        >>> [(c.starts.tolist(), c.stops.tolist(), c.continues) for c in chunks_of(spans, 5)]
        [([0], [5], False), ([5, 8, 11], [7, 10, 12], True)]
    """
    cut = cut_spans(spans, length)
    found: list[Chunk] = []
    begin, held = 0, 0
    for at, size in enumerate(cut.lengths.tolist()):
        if held and held + size > length:
            found.append(_chunk(cut, begin, at))
            begin, held = at, 0
        held += size
    if held:
        found.append(_chunk(cut, begin, len(cut)))
    return found


def _chunk(cut: Spans, begin: int, end: int) -> Chunk:
    return Chunk(starts=cut.starts[begin:end], stops=cut.stops[begin:end], continues=bool(cut.previous[begin] >= 0))
