"""States at the ends of segments, kept so that a repaired row can tell that it has met its old course."""

from collections.abc import Sequence

import numpy as np

from rnneval.engine.states import Vectors

_BYTES = 32 << 20
_FEWEST, _MOST = 8, 32  # so many first boundaries of each row are kept at least and at most, whatever a state weighs


class Boundaries:
    """The first boundaries of each span, and beyond them pairs of neighbours at every 2ⁿ and 3 · 2ⁿ.

    Memory is bounded: what is kept grows with the logarithm of a span's length only. A row that agrees at a boundary
    which is not kept is found out at the next pair, so that it repeats more and is right all the same.
    """

    def __init__(self, spans: Sequence[int], state: Vectors, weight: int = 1) -> None:
        """Take the spans that are to be repaired, and a state, `(D,)`, for its size and type.

        `weight` counts, in states, all that somebody keeps for each boundary: memory is bounded for all of it.
        """
        self._place = {span: place for place, span in enumerate(spans)}
        self._first = min(_MOST, max(_FEWEST, _BYTES // max(1, len(spans) * state.nbytes * weight)))
        self._like = state
        self._kept: dict[int, Vectors] = {}
        """By boundary: `(spans, D)`."""
        self._held: dict[int, set[int]] = {}

    def put(self, span: int, boundary: int, state: Vectors) -> None:
        """Keep the state `(D,)` of a span after so many segments, or let it go."""
        if not self.keeps(boundary):
            return
        if boundary not in self._kept:
            self._kept[boundary] = np.empty((len(self._place), len(self._like)), self._like.dtype)
            self._held[boundary] = set()
        self._kept[boundary][self._place[span]] = state
        self._held[boundary].add(span)

    def get(self, span: int, boundary: int) -> Vectors | None:
        """Give the state, or None where it was let go or never was."""
        if span not in self._held.get(boundary, ()):
            return None
        return np.array(self._kept[boundary][self._place[span]])

    def stretch(self, boundary: int) -> int:
        """Give the last boundary before this one at which rows are compared: where its stretch of segments begins."""
        before = boundary - 1
        if self.keeps(before):
            return before
        return max(self._first, _mark(before) + 1)  # between pairs: the second of the pair below

    def keeps(self, boundary: int) -> bool:
        """Whether the state at a boundary is kept."""
        return boundary <= self._first or boundary - _mark(boundary) <= 1


def _mark(boundary: int) -> int:
    """Give the last 2ⁿ or 3 · 2ⁿ up to a boundary of at least 1."""
    power = 1 << (boundary.bit_length() - 1)
    half_more = power + power // 2
    return half_more if boundary >= half_more else power
