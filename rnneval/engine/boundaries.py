"""States at the ends of segments, kept so that a repaired row can tell that it has met its old course."""

from rnneval.engine.states import Vectors

_BYTES = 32 << 20
_ALWAYS = 8  # the first boundaries of each row are kept whatever a state weighs


class Boundaries:
    """The first boundaries of each span, and beyond them pairs of neighbours at every power of two.

    Memory is bounded: what is kept grows with the logarithm of a span's length only. A row that agrees at a boundary
    which is not kept is found out at the next pair, so that it repeats more and is right all the same.
    """

    def __init__(self, spans: int, size: int, itemsize: int) -> None:
        self._first = max(_ALWAYS, _BYTES // max(1, spans * size * itemsize))
        self._kept: dict[tuple[int, int], Vectors] = {}

    def put(self, span: int, boundary: int, state: Vectors) -> None:
        """Keep the state `(D,)` of a span after so many segments, or let it go."""
        if boundary <= self._first or _is_power(boundary) or _is_power(boundary - 1):
            self._kept[span, boundary] = state.copy()

    def get(self, span: int, boundary: int) -> Vectors | None:
        """Give the state, or None where it was let go."""
        return self._kept.get((span, boundary))


def _is_power(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
