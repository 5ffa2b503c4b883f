"""Whoever wants to see more of a step than its losses: the one door for probes in the exact stream.

A watch takes the place of `lm.step` in the graph, gives tensors of its own beside, and is shown what came of each row
at the end of a segment. A segment that is read again is shown again: what was seen of it before no longer stands.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rnneval.models.lm import RecurrentLM

if TYPE_CHECKING:
    from rnneval.engine.runner import Boundary


class Watched(NamedTuple):
    """What one step gave."""

    logits: Any
    state: tuple[Any, ...]
    inside: Any
    """Any nest of tensors; () for nothing."""


class Watch(Protocol):
    """A probe of the exact stream."""

    weight: int
    """Numbers kept for a stretch of segments, for each number of the state: bounds how many stretches are kept."""

    def step(self, lm: RecurrentLM, ids: Any, state: tuple[Any, ...]) -> Watched:
        """Run the model in a graph, and look; the rows may come in several parts, each in a call of its own."""
        ...

    def rows(self, inside: Any, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Make of the step's arrays what is kept of each row; the rows come in the parts that `step` saw.

        Args:
            inside: As `step` gave it, as arrays; there may be more rows in it than positions are given.
            first: Position in the text of each row's first input token.
            counts: How many of its positions count.
        """
        ...

    def put(self, row: "Boundary", stretch: int | None) -> None:
        """See one row at the end of a segment.

        Args:
            row: What was seen.
            stretch: None where the span is read but once. Else the boundary at which the segment's stretch begins: a
                span is read from its start, as often as it must be, and what holds of a stretch is what was seen last.
        """
        ...


def plain_step(lm: RecurrentLM, ids: Any, state: tuple[Any, ...]) -> Watched:
    """Run the model and look at nothing."""
    logits, after = lm.step(ids, state)
    return Watched(logits, after, ())
