"""A model read in calls of its own, and the readings of the reference that show its rounding."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Ints
from rnneval.errors import CheckpointError, VocabularyError
from rnneval.models.protocol import LanguageModel
from rnneval.models.state import as_array, filled, leaves_of
from rnneval.models.step import StepLM
from rnneval.parity.divergence import Compared, compare_logits
from rnneval.records.parity import ParitySide
from rnneval.text import EncodedText, Vocabulary
from rnneval.wiring.difference import EPSILON, HALF_TYPES
from rnneval.wiring.step import state_moved

BLOCK = 256  # positions whose logits of both models are in memory
_FLOOR_TOKENS = 8192  # tokens of the readings that measure rounding: their largest KL is half of that of a long text
_OTHER_CALLS = 37  # tokens of a call, prime to the usual lengths
_DRAWS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class CalledModel:
    """One model and how it is read."""

    lm: LanguageModel
    segment: int  # tokens of a call
    carries: bool = True  # whether a call reads the state that the one before returned
    dtype: str | None = None
    ids: NDArray[np.int32] | None = None  # the model's id of each id of the reference; None if they are the same
    noise: np.random.Generator | None = None  # moves each number of a state that a call wrote by ± one unit

    @property
    def record(self) -> ParitySide:
        """What a record says of it."""
        return ParitySide(
            checkpoint=self.lm.checkpoint,
            backend=self.lm.backend,
            segment=self.segment,
            state="carry" if self.carries else "reset",
            dtype=self.dtype,
        )

    @cached_property
    def step(self) -> Any:
        """The model's step: one for all documents and restarts, since a graph is compiled with it."""
        return self.lm.stepper()

    def logits(self, ids: NDArray[np.int32]) -> Iterator[NDArray[Any]]:
        """Read the ids of a document `(n,)` in calls from its initial state; yield the logits of each, `(time, V)`."""
        step, start = self.step, self.lm.initial_state(1)
        ids, state = ids if self.ids is None else self.ids[ids], start
        for first in range(0, len(ids), self.segment):
            piece = ids[None, first : first + self.segment]
            before = leaves_of(state) if self.noise is not None else {}
            logits, state = step(piece, state if self.carries else start)
            if self.noise is not None:
                unit = HALF_TYPES.get(self.lm.checkpoint.dtype, EPSILON)
                state = filled(state, state_moved(state, before, piece.shape[1], unit, self.noise))
            array = as_array(logits, "the logits")[0]
            yield array if self.ids is None else array[:, self.ids]


def compared(reference: CalledModel, candidate: CalledModel, ids: NDArray[np.int32]) -> Iterator[Compared]:
    """Read the ids of a document with both models, each in its own calls, and compare block by block."""
    sides = [_in_blocks(side.logits(ids[:-1])) for side in (reference, candidate)]
    start = 0
    for one, other in zip(*sides, strict=True):
        yield compare_logits(one, other, ids[start + 1 : start + 1 + len(one)])
        start += len(one)


def _in_blocks(calls: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the same rows in blocks of 256, the last of which may be shorter."""
    waiting: list[NDArray[Any]] = []
    for call in calls:
        waiting.append(call)
        while sum(map(len, waiting)) >= BLOCK:
            rows = np.concatenate(waiting)
            yield rows[:BLOCK]
            waiting = [rows[BLOCK:]]
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenColumns:
    """Numbers that were compared at each prediction of a text, in its order; float32 arrays `(predictions,)`."""

    kl: NDArray[np.float32]
    nats: NDArray[np.float32]
    change: NDArray[np.float32]
    lost: NDArray[np.float32]
    starts: Ints  # first token of each document
    lengths: Ints  # predictions of each document

    @property
    def position(self) -> Ints:
        """Position of each prediction in its document, from 0."""
        position = np.arange(len(self.kl))
        position -= np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        return position

    def token_at(self, at: int) -> int:
        """Return the token that one prediction is of."""
        ends = np.cumsum(self.lengths)
        document = int(np.searchsorted(ends, at, side="right"))
        return int(self.starts[document] + 1 + at - (ends - self.lengths)[document])

    def finite(self) -> tuple[int | None, int | None]:
        """Return the first position at which the reference, and at which the candidate is not finite."""
        bad = (~np.isfinite(column) for column in (self.nats, self.kl + self.change))
        first, second = (int(np.flatnonzero(each)[0]) if each.any() else None for each in bad)
        return first, second


def read_columns(
    reference: CalledModel, candidate: CalledModel, text: EncodedText, most: int | None = None
) -> TokenColumns:
    """Compare two models along a text, or its first predictions: 16 bytes of memory for each of them."""
    lengths = text.document_stops - text.document_starts - 1
    if most is not None:
        lengths = np.clip(most - (np.cumsum(lengths) - lengths), 0, lengths)
    total = int(lengths.sum())
    columns = [np.empty(total, np.float32) for _ in Compared._fields]
    place = 0
    for start, length in zip(text.document_starts.tolist(), lengths.tolist(), strict=True):
        for block in compared(reference, candidate, text.ids(start, start + length + 1)) if length else ():
            for column, values in zip(columns, block, strict=True):
                column[place : place + len(values)] = values
            place += len(block.kl)
    return TokenColumns(
        **dict(zip(Compared._fields, columns, strict=True)), starts=np.asarray(text.document_starts), lengths=lengths
    )


# The floor


def floor_readings(reference: CalledModel, text: EncodedText) -> Iterator[tuple[str, TokenColumns]]:
    """Yield readings of the reference by itself, each with its name: other calls, another type, moved numbers."""

    def against(other: CalledModel) -> TokenColumns:
        return read_columns(reference, other, text, _FLOOR_TOKENS)

    for segment in sorted({1, _OTHER_CALLS} - {reference.segment}) if reference.carries else ():
        yield f"calls of {segment}", against(replace(reference, segment=segment))
    if isinstance(reference.lm, StepLM) and (wide := reference.lm.in_dtype("float64")) is not None:
        yield "float64", against(replace(reference, lm=wide))
    for draw in range(_DRAWS):
        if (moved := reference.lm.weights_moved(draw)) is not None:
            yield "weights ± 1 ulp", against(replace(reference, lm=moved))
        elif isinstance(reference.lm, StepLM) and reference.lm.leaves:
            yield "states ± 1 ulp", against(replace(reference, noise=np.random.default_rng(draw)))


# The two sides


def same_ids(reference: Vocabulary | None, candidate: Vocabulary | None) -> NDArray[np.int32] | None:
    """Return the candidate's id of each of the reference's ids; None if they are the same.

    Raises:
        VocabularyError: a token of one is none of the other.
    """
    if reference is None or candidate is None or reference.sha256 == candidate.sha256:
        return None
    one, other = reference.ids, candidate.ids
    if missing := sorted(set(one) ^ set(other)):
        raise VocabularyError(
            f"the vocabularies of reference ({len(one):,} tokens) and candidate ({len(other):,}) differ in "
            f"{len(missing):,} tokens, such as {missing[0]!r}",
            cause="the models predict other things",
            advice="give both the same tokens; their order may differ (--ref-vocab, --cand-vocab)",
        )
    order = np.arange(max(one.values()) + 1, dtype=np.int32)
    order[[*one.values()]] = [other[token] for token in one]
    return None if (order == np.arange(len(order))).all() else order


def in_type(lm: LanguageModel, dtype: str | None, flag: str) -> LanguageModel:
    """Return a model with its weights in another type."""
    if dtype is None:
        return lm
    if (made := lm.in_dtype(dtype)) is None:
        raise CheckpointError(f"{flag} {dtype}: {lm.checkpoint.title} cannot be had in it on the backend {lm.backend}")
    return made
