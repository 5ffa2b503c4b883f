"""Anchors: positions in the exact stream where a diagnosis starts again, with the state and the loss there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.backends.protocol import Place, SeenRows, Sees
from rnneval.engine.runner import Boundary


@dataclass(kw_only=True)
class Anchors:
    """The state at the first boundary at or after each target position, and the loss of some tokens."""

    targets: NDArray[np.int64]
    tokens: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Scored tokens, ascending."""
    places: dict[int, Place] = field(default_factory=dict)
    """Places by position of the target."""
    nats: dict[int, float] = field(default_factory=dict)
    """Losses by position of the token."""

    def put(self, row: Boundary) -> None:
        """Keep what belongs to a segment; a segment that is re-evaluated replaces what was kept before."""
        job, count = row.job, len(row.predicted.nats)
        # A target that is itself a boundary belongs to the segment that ends there.
        low, high = np.searchsorted(self.targets, [job.at - count + 1, job.at + 1])
        for target in self.targets[low:high]:
            self.places[int(target)] = Place(at=job.at, state=np.array(job.state))
        low, high = np.searchsorted(self.tokens, [row.first, row.first + count])
        for token in self.tokens[low:high]:
            self.nats[int(token)] = float(row.predicted.nats[token - row.first])


@dataclass(kw_only=True)
class AnchorWatch:
    """A watch that keeps its anchors and nothing else."""

    anchors: Anchors
    weight: int = 0
    sees: Sees = "losses"

    def rows(self, seen: SeenRows | None, first: Sequence[int], counts: Sequence[int]) -> list[Any]:
        """Keep nothing of a row."""
        return [None] * len(counts)

    def put(self, row: Boundary, group: int | None) -> None:
        """Pass the segment to the anchors."""
        self.anchors.put(row)


def spread(starts: NDArray[np.int64], stops: NDArray[np.int64], room: int, count: int, seed: int) -> NDArray[np.int64]:
    """Choose up to `count` positions evenly spread over a text, each with `room` tokens after it in its document.

    The seed moves all of them along by the same part of their distance.
    """
    possible = np.maximum(stops - starts - room, 0)
    total = int(possible.sum())
    if total == 0:
        return np.zeros(0, np.int64)
    count = min(count, total)
    at = ((np.arange(count) + np.random.default_rng(seed).random()) * (total / count)).astype(np.int64)
    document = np.searchsorted(np.cumsum(possible), at, side="right")
    before = np.concatenate([[0], np.cumsum(possible)])
    positions: NDArray[np.int64] = starts[document] + at - before[document]
    return np.unique(positions)
