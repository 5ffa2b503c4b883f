"""From observations on disk to whoever wants to see scored tokens, in the order of the text."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.observations import Observations
from rnneval.metrics import ScoredTokens
from rnneval.text import EncodedText

_CHUNK = 1 << 14  # tokens shown at once: thirty columns of them stand in memory
_COLUMNS = ("ids", "characters", "bytes", "words", "newlines", "unknown", "byte_start", "byte_end")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Scored tokens: where each is in the text, and what it stands for; arrays of shape `(n,)`."""

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
        """See n scored tokens, after all that come before them in the text."""
        ...


def show(text: EncodedText, observations: Observations, observers: Iterable[Observer], *, unscored: int = 1) -> None:
    """Show every scored token once, in the order of the text; a document's first `unscored` tokens are not scored."""
    observers = tuple(observers)
    for start in range(0, text.tokens, _CHUNK):
        stop = min(start + _CHUNK, text.tokens)
        wanted = _scored(text, start, stop, unscored)
        if not wanted.any():
            continue
        seen = _seen(text, start, stop, wanted, unscored)
        scored = _scored_tokens(seen, observations, start, stop, wanted)
        for observer in observers:
            observer.add(seen, scored)


def _scored(text: EncodedText, start: int, stop: int, unscored: int) -> NDArray[np.bool_]:
    places = np.arange(start, stop)
    document = np.searchsorted(text.document_starts, places, side="right") - 1
    wanted: NDArray[np.bool_] = places - text.document_starts[document] >= unscored
    return wanted


def _seen(text: EncodedText, start: int, stop: int, wanted: NDArray[np.bool_], unscored: int) -> Seen:
    piece = text.read(start, stop, scored_from=unscored)
    columns = {name: getattr(piece, name)[wanted] for name in _COLUMNS}
    return Seen(positions=np.arange(start, stop)[wanted], **columns)


def _scored_tokens(
    seen: Seen, observations: Observations, start: int, stop: int, wanted: NDArray[np.bool_]
) -> ScoredTokens:
    nats, confidence, rank = observations.get(start, stop)
    return ScoredTokens(
        nats=nats[wanted].astype(np.float64),
        confidence=confidence[wanted].astype(np.float64),
        rank=rank[wanted].astype(np.int64),
        characters=seen.characters,
        bytes=seen.bytes,
        words=seen.words,
        newlines=seen.newlines,
    )
