"""From a model and a text to a run record."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.collect import Collector
from rnneval.engine.losses import losses_written
from rnneval.engine.observations import Observations
from rnneval.engine.plan import Spans, Stitch, automatic_rows, carried_spans, reset_spans, shape_for, stitch_of
from rnneval.engine.record import Measured, run_record
from rnneval.engine.runner import Runner
from rnneval.engine.stitch import TOLERANCE, Progress, Stitching
from rnneval.engine.summing import show
from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.models.lm import RecurrentLM
from rnneval.records.run import Run
from rnneval.text import EncodedText, Paths, TextOptions, encode


@dataclass(frozen=True, kw_only=True)
class StateOptions:
    """Where the state starts anew, and how long a step is."""

    state: str = "carry"
    segment: int | None = None

    def __post_init__(self) -> None:
        if self.state not in {"carry", "reset"}:
            raise UsageError(f"--state {self.state!r} is not known: give carry or reset")
        if self.segment is not None and self.segment < 1:
            raise UsageError(f"--segment {self.segment} is not a length: give at least 1 token")
        if self.state == "reset" and self.segment is None:
            raise UsageError("--state reset needs --segment N: after how many tokens the state starts anew")

    @property
    def signature(self) -> str:
        """What two numbers must share: the length of a step is part of it only where the state is reset with it."""
        return f"state:reset-{self.segment}" if self.state == "reset" else "state:carry"

    @property
    def step(self) -> int | None:
        """The length of a step where it was asked for; the length of a reset state says nothing of it."""
        return self.segment if self.state == "carry" else None

    def spans(self, text: EncodedText) -> Spans:
        """Cut the text's documents into stretches that begin with the initial state."""
        if self.state == "reset" and self.segment is not None:
            return reset_spans(text, self.segment)
        return carried_spans(text)


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """How the text is read: nothing here changes a valid result."""

    streams: int | str
    tolerance: float
    seed: int
    progress: Progress | None

    def __post_init__(self) -> None:
        if self.streams != "auto" and not (isinstance(self.streams, int) and self.streams >= 1):
            raise UsageError(f"--streams {self.streams!r} is not a number of rows: give auto or at least 1")
        if not 0 <= self.tolerance <= 1:
            raise UsageError(f"--tolerance {self.tolerance} is not allowed: give 0 for equality, or up to 1")

    def rows(self, lm: RecurrentLM, spans: Spans) -> int:
        """Rows side by side: one where the model's rows cannot start at different times."""
        if not lm.mixable:
            return 1
        return automatic_rows(spans.predictions) if isinstance(self.streams, str) else self.streams


def evaluate(
    lm: RecurrentLM,
    text: Paths,
    *,
    part: str | None = None,
    normalize: str = "none",
    newlines: str = "keep",
    documents: str = "one",
    unknown: str = "error",
    tokens: str | None = None,
    state: str = "carry",
    segment: int | None = None,
    streams: int | str = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    fit_on: Paths | None = None,
    losses: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> Run:
    """Measure a model on held-out text: every token accounted for, the state carried.

    Args:
        lm: From `rnneval.open` or `rnneval.wrap`, with a vocabulary.
        text: One or more files of UTF-8 text, joined in this order.
        part: Which characters, by Python's slice rules or in per cents: `90%:`.
        normalize: `none`, `lower` or `nfc`.
        newlines: `keep` or `lf`.
        documents: Where the state starts anew: `one` (nowhere), `file` or `blank-line`.
        unknown: What becomes of what the vocabulary lacks: `error`, `skip`, or a token of it.
        tokens: `char`, `byte` or `word`; by default told by the vocabulary.
        state: `carry` from the first token of a document to its last, or `reset` every `segment` tokens.
        segment: Tokens of a row in one step; with `carry` it changes no result.
        streams: Rows side by side; changes no valid result. `auto` chooses from the length of the text.
        tolerance: When two states count as equal, as |Δ| / (1 + |s|) in every unit; 0 asks for equality.
        seed: Which row is audited.
        fit_on: Text on which baselines that learn are fitted (unigram).
        losses: Where to write one row a scored token, as Parquet.
        progress: Called with tokens scored and tokens in all.
        command: What to record as the command that repeats it.

    Returns:
        The run record; `valid` is False where a loss is not finite.

    Raises:
        UsageError: an option's value is not known.
        TextError: the text is missing, empty, not UTF-8, or has characters that the vocabulary lacks.
        VocabularyError: the model has no vocabulary.
        CheckpointError: the model gives a token the probability 0, or raises.
    """
    options = TextOptions(
        part=part, normalize=normalize, newlines=newlines, documents=documents, unknown=unknown, tokens=tokens
    )
    stateful = StateOptions(state=state, segment=segment)
    how = Streaming(streams=streams, tolerance=tolerance, seed=seed, progress=progress)
    if lm.vocabulary is None:
        raise VocabularyError(lm.why_no_vocabulary or "the model has no vocabulary: give one (--vocab, --vocab-from)")
    fitted = None if fit_on is None else _counts(lm, fit_on, replace(options, part=None))
    with encode(text, lm.vocabulary, options) as encoded:
        measured = _measure(lm, encoded, stateful, how, losses)
        return run_record(lm, encoded, options, measured, fitted=fitted, command=command)


def _counts(lm: RecurrentLM, paths: Paths, options: TextOptions) -> NDArray[np.int64]:
    """How often each id occurs in a text, `(V,)`."""
    assert lm.vocabulary is not None  # noqa: S101 - looked at by the caller
    counts = np.zeros(lm.width, np.int64)
    with encode(paths, lm.vocabulary, options) as encoded:
        for start in range(0, encoded.tokens, 1 << 16):
            piece = encoded.read(start, min(start + (1 << 16), encoded.tokens))
            counts += np.bincount(piece.ids, minlength=lm.width)
    return counts


def _measure(
    lm: RecurrentLM, text: EncodedText, stateful: StateOptions, how: Streaming, losses: str | os.PathLike[str] | None
) -> Measured:
    spans = stateful.spans(text)
    shape = shape_for(spans, lm.width, rows=how.rows(lm, spans), segment=stateful.step)
    stitch = stitch_of(spans, shape, seed=how.seed) if stateful.state == "carry" else Stitch(spans=spans, audited=None)
    shape = replace(shape, rows=min(shape.rows, max(1, len(stitch.spans))))
    collected = Collector(text.blocks, lm.width)
    with Observations(np.float64 if lm.output_kind == "probabilities" else np.float32) as observations:
        runner = Runner(lm, text, shape)
        began = time.perf_counter()
        stitched = Stitching(runner, stitch, observations, how.tolerance).run(how.progress)
        seconds = time.perf_counter() - began
        _show(lm, text, observations, collected, losses)
    _require_positive(lm, collected)
    return Measured(
        collected=collected, shape=shape, stitched=stitched, state_signature=stateful.signature, seconds=seconds
    )


def _show(
    lm: RecurrentLM,
    text: EncodedText,
    observations: Observations,
    collected: Collector,
    losses: str | os.PathLike[str] | None,
) -> None:
    if losses is None:
        show(text, observations, [collected])
        return
    described = {"rnneval.text": text.sha256, "rnneval.checkpoint": lm.checkpoint.sha256}
    with losses_written(losses, text, described) as writer:
        show(text, observations, [collected, writer])


def _require_positive(lm: RecurrentLM, collected: Collector) -> None:
    """A model that gives probabilities may give 0 to what comes: its loss is infinite, and the place is known."""
    place = collected.not_finite
    if place is not None and lm.output_kind == "probabilities" and place.value == np.inf:
        raise CheckpointError(
            f"the model gives probability 0 to token {place.token} (byte {place.byte} of the text): its loss is "
            "infinite; give logits instead, or make the softmax a layer, which rnneval can leave out"
        )
