"""The loop: batches of spans through the kernel, observations to whoever wants them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.kernel import Kernel, Predicted, Progress
from rnneval.engine.plan import Batch, Shape, Spans, batches
from rnneval.metrics import ScoredTokens
from rnneval.models.lm import RecurrentLM
from rnneval.text import EncodedText, TokenSlice

_COLUMNS = ("ids", "characters", "bytes", "words", "newlines", "unknown", "byte_start", "byte_end")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Scored tokens, in any order: where each is in the text, and what it stands for; arrays of shape `(n,)`."""

    positions: NDArray[np.int64]
    ids: NDArray[np.int32]
    characters: NDArray[np.int64]
    bytes: NDArray[np.int64]
    words: NDArray[np.int64]
    newlines: NDArray[np.int64]
    unknown: NDArray[np.int64]
    byte_start: NDArray[np.int64]
    byte_end: NDArray[np.int64]


class Observer(Protocol):
    """Whatever wants to see scored tokens: sums, losses, traces."""

    def add(self, seen: Seen, scored: ScoredTokens) -> None:
        """See n scored tokens, and what was predicted of each."""


def score(
    lm: RecurrentLM,
    text: EncodedText,
    spans: Spans,
    shape: Shape,
    *,
    observers: Iterable[Observer],
    progress: Progress | None = None,
) -> None:
    """Score every prediction that the spans make, each exactly once."""
    kernel = Kernel(lm, shape)
    observers = tuple(observers)
    total, done = int(spans.lengths.sum()), 0
    for batch in batches(spans, shape):
        pieces = _read(text, batch)
        ids, targets = _padded(pieces, shape)
        predicted = kernel.step(ids, targets, batch.fresh)
        seen = _scored_tokens(pieces, batch)
        scored = _observed(seen, predicted, batch)
        for observer in observers:
            observer.add(seen, scored)
        done += len(seen.ids)
        if progress is not None:
            progress(done, total)


def _read(text: EncodedText, batch: Batch) -> list[TokenSlice]:
    """Each row's input tokens and the one after them; nothing for a row that has ended."""
    counts = batch.real.sum(axis=1)
    first = batch.positions[:, 0]
    return [text.read(int(at), int(at + count + 1 if count else at)) for at, count in zip(first, counts, strict=True)]


def _padded(pieces: list[TokenSlice], shape: Shape) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Inputs and targets, `(rows, segment)`; what is missing repeats an id of the row, and is not counted."""
    both = np.zeros((shape.rows, shape.segment + 1), np.int32)
    for row, piece in enumerate(pieces):
        both[row] = np.pad(piece.ids, (0, shape.segment + 1 - len(piece.ids)), mode="edge") if len(piece.ids) else 0
    return both[:, :-1], both[:, 1:]


def _scored_tokens(pieces: list[TokenSlice], batch: Batch) -> Seen:
    """All rows' scored tokens end to end: one call of each observer a step, however many rows."""
    columns = {name: np.concatenate([getattr(piece, name)[1:] for piece in pieces]) for name in _COLUMNS}
    return Seen(positions=batch.positions[batch.real] + 1, **columns)


def _observed(seen: Seen, predicted: Predicted, batch: Batch) -> ScoredTokens:
    return ScoredTokens(
        nats=predicted.nats[batch.real],
        confidence=predicted.confidence[batch.real],
        rank=predicted.rank[batch.real],
        characters=seen.characters,
        bytes=seen.bytes,
        words=seen.words,
        newlines=seen.newlines,
    )
