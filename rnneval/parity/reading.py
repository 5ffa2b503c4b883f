"""A model read in calls of its own, and the readings of the reference that show its rounding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Doubles, Ints
from rnneval.errors import CheckpointError, VocabularyError
from rnneval.models.protocol import LanguageModel
from rnneval.models.state import as_array, filled, leaves_of
from rnneval.models.step import StepLM
from rnneval.parity.divergence import Compared, compare_logits
from rnneval.records.parity import ParitySide
from rnneval.text import EncodedText, Vocabulary
from rnneval.wiring.difference import EPSILON, HALF_TYPES
from rnneval.wiring.step import state_moved

BLOCK = 256  # positions whose logits of all models are in memory
_AT_ONCE = 1 << 14  # predictions whose positions are in memory
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
        """The description of it in a record."""
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
        state = start
        for first in range(0, len(ids), self.segment):
            piece = ids[None, first : first + self.segment]
            piece = piece if self.ids is None else self.ids[piece]
            before = leaves_of(state) if self.noise is not None else {}
            logits, state = step(piece, state if self.carries else start)
            if self.noise is not None:
                unit = HALF_TYPES.get(self.lm.checkpoint.dtype, EPSILON)
                state = filled(state, state_moved(state, before, piece.shape[1], unit, self.noise))
            array = as_array(logits, "the logits")[0]
            yield array if self.ids is None else array[:, self.ids]


def compared(
    reference: CalledModel, others: Sequence[CalledModel], ids: NDArray[np.int32]
) -> Iterator[tuple[Compared, ...]]:
    """Read the ids of a document with all models, each in its own calls, and compare block by block."""
    sides = [_in_blocks(side.logits(ids[:-1])) for side in (reference, *others)]
    start = 0
    for one, *rest in zip(*sides, strict=True):
        targets = ids[start + 1 : start + 1 + len(one)]
        yield tuple(compare_logits(one, other, targets) for other in rest)
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
    """The comparison along a text: KL and loss at each prediction, in its order, and sums of the rest by block."""

    kl: NDArray[np.float32]  # `(predictions,)`
    nats: NDArray[np.float32]  # loss of the reference by token, `(tokens,)`; 0 where there is no prediction
    sums: dict[str, Doubles]  # by block of the text: KL, agreeing first choices, and both losses
    lost: float  # largest margin of the reference's first choice over the other model's
    not_finite: int | None  # first prediction at which the other model is not finite
    starts: Ints  # first token of each document
    lengths: Ints  # predictions of each document

    def token_at(self, at: int) -> int:
        """Return the token that one prediction is of."""
        ends = np.cumsum(self.lengths)
        document = int(np.searchsorted(ends, at, side="right"))
        return int(self.starts[document] + 1 + at - (ends - self.lengths)[document])

    def first_position(self, least: int) -> int | None:
        """Return the first prediction that has so many before it in its document."""
        documents = np.flatnonzero(self.lengths > least)
        return int(self.lengths[: documents[0]].sum()) + least if documents.size else None

    def pieces(self) -> Iterator[tuple[slice, Ints]]:
        """Yield the predictions of each document in pieces, with the position in the document of each."""
        first = 0
        for length in self.lengths.tolist():
            for start in range(0, length, _AT_ONCE):
                position = np.arange(start, min(start + _AT_ONCE, length))
                yield slice(first + start, first + start + len(position)), position
            first += length


def read_columns(
    reference: CalledModel, others: Sequence[CalledModel], text: EncodedText, most: int | None = None, tie: float = 0.0
) -> list[TokenColumns]:
    """Compare models with a reference along a text, or its first predictions: 8 bytes of memory for each of them.

    First choices agree where the reference's margin between them is at most `tie` nats. A loss of the reference that is
    not finite is a CheckpointError.
    """
    lengths = text.document_stops - text.document_starts - 1
    if most is not None:
        lengths = np.clip(most - (np.cumsum(lengths) - lengths), 0, lengths)
    starts, total, blocks = np.asarray(text.document_starts), int(lengths.sum()), len(text.blocks.ends)
    kl, lost, not_finite = np.empty((len(others), total), np.float32), [0.0] * len(others), [total] * len(others)
    nats, place = np.zeros(int((starts + lengths + 1)[lengths > 0].max()), np.float32), 0
    sums = [{name: np.zeros(blocks) for name in ("kl", "same", "nats_ref", "nats_cand")} for _ in others]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        token = start + 1
        for several in compared(reference, others, text.ids(start, start + length + 1)) if length else ():
            now = slice(place, place + len(several[0].kl))
            stop = token + len(several[0].kl)
            block = text.blocks.block_of(text.read(token, stop).byte_start)
            nats[token:stop] = several[0].nats
            if (bad := np.flatnonzero(~np.isfinite(several[0].nats))).size:
                raise CheckpointError(
                    f"the reference's loss of token {token + bad[0]:,} is not finite: it is no reference; see rnneval "
                    "evaluate"
                )
            for which, each in enumerate(several):
                kl[which, now], lost[which] = each.kl, max(lost[which], float(each.lost.max()))
                if (bad := np.flatnonzero(~np.isfinite(each.kl + each.change))).size:
                    not_finite[which] = min(not_finite[which], place + int(bad[0]))
                series = {"kl": each.kl, "same": each.lost <= tie, "nats_ref": each.nats,
                          "nats_cand": each.nats + each.change}  # fmt: skip
                for name, values in series.items():
                    sums[which][name] += np.bincount(block, values, blocks)
            token, place = stop, now.stop
    return [
        TokenColumns(
            kl=kl[which], nats=nats, sums=sums[which], lost=lost[which], starts=starts, lengths=lengths,
            not_finite=not_finite[which] if not_finite[which] < total else None,
        )
        for which in range(len(others))
    ]  # fmt: skip


# The floor


@dataclass(frozen=True, kw_only=True, eq=False)
class SelfReading:
    """The reference compared with itself, read in another way."""

    kind: str
    in_other_calls: bool
    columns: TokenColumns


def floor_readings(reference: CalledModel, text: EncodedText) -> list[SelfReading]:
    """Return readings of the reference by itself: in other calls, in another type, with moved numbers."""
    segments = sorted({1, _OTHER_CALLS} - {reference.segment}) if reference.carries else ()
    others = [(f"calls of {segment}", replace(reference, segment=segment)) for segment in segments]
    if isinstance(reference.lm, StepLM) and (wide := reference.lm.in_dtype("float64")) is not None:
        others.append(("float64", replace(reference, lm=wide)))
    for draw in range(_DRAWS):
        if (moved := reference.lm.weights_moved(draw)) is not None:
            others.append(("weights ± 1 ulp", replace(reference, lm=moved)))
        elif isinstance(reference.lm, StepLM) and reference.lm.leaves:
            others.append(("states ± 1 ulp", replace(reference, noise=np.random.default_rng(draw))))
    if not others:
        return []
    read = read_columns(reference, [model for _, model in others], text, _FLOOR_TOKENS)
    return [
        SelfReading(kind=kind, in_other_calls=model.segment != reference.segment, columns=columns)
        for (kind, model), columns in zip(others, read, strict=True)
    ]


def rounded_reading(reference: CalledModel, segment: int, text: EncodedText) -> tuple[CalledModel, TokenColumns] | None:
    """Return the reference with weights in bfloat16, in calls of a length, and its comparison with the reference.

    It hands its state over right, and differs. None where the reference cannot be had in bfloat16.
    """
    if (rounded := reference.lm.in_dtype("bfloat16")) is None:
        return None
    model = replace(reference, lm=rounded, segment=segment)
    (columns,) = read_columns(reference, [model], text, _FLOOR_TOKENS)
    return model, columns


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
