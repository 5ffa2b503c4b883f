"""The run record: what follows from the sums over a text, and what was measured beside them."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import expm1, inf

import msgspec
import numpy as np
from numpy.typing import NDArray

import rnneval
from rnneval import metrics
from rnneval.evaluate.baselines import Fitted, baselines_of
from rnneval.evaluate.check import depends_on_cut, fails, wiring_warnings
from rnneval.evaluate.losses import LossSums
from rnneval.evaluate.states import StateWatch
from rnneval.evaluate.stitch import Stitched
from rnneval.gates.carrying import how_far
from rnneval.gates.clusters import ScoreIntervals, change_of_loss, score_intervals
from rnneval.metrics import Scores, Totals
from rnneval.models.protocol import LanguageModel
from rnneval.processes import torch_threads
from rnneval.records import run as records
from rnneval.records.wiring import Wiring
from rnneval.text import EncodedText, TextOptions

_DEFINITIONS = 1  # increased only when a number changes its meaning, so that it is never compared with an older one
_NOT_REPEATABLE = (
    "the same ids give different logits with training=False: another run of the same text gives other losses"
)
_ILL_CONDITIONED = 1e-4  # an audited loss that moved by more after the states had agreed, in 1 nat + the mean loss
_ROUNDING_MATTERS = (
    "a change of the last digit of a state grows: the one-stream number itself depends on rounding, and is not "
    "claimed to 1e-6"
)
_FEW_CHARACTERS = 1000
_BEGINNING = 1000  # tokens at either end of a text whose losses are compared where the whole is worse than guessing


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Sums over a text, and how it was read."""

    read: Stitched
    sums: LossSums
    state: str  # field of the signature, such as `state:carry`
    seconds: float


def run_record(
    lm: LanguageModel,
    text: EncodedText,
    options: TextOptions,
    measured: Measured,
    *,
    wiring: Wiring | None,
    watch: StateWatch | None,
    fitted: Fitted | None = None,
    other_cut: Measured | None = None,
    beside: tuple[int, Measured] | None = None,
    trained_at: int | None = None,
    cut_noise: float | None = None,
) -> records.Run:
    """Make the record of one run, but for its command.

    `other_cut` was measured with steps of another length, where the wiring is wrong. `beside` holds the distance of
    resets in a second reading of the text, and what was measured in it.
    """
    read, sums, segment, state = measured.read, measured.sums, measured.read.shape.segment, measured.state
    if state == "state:carry" and depends_on_cut(wiring) and not fails(wiring):
        state = f"{state}-{segment}"  # declared: the length of a segment is a part of the score's definition
    base = baselines_of(sums.id_counts, fitted)
    run = scored_text(text, options, sums, state=state, base=base, fitted=fitted, beside=beside)
    other = None
    if other_cut is not None and other_cut.sums.total_nats is not None and run.valid:
        other = records.TokenByToken(segment=other_cut.read.shape.segment, total_nats=other_cut.sums.total_nats)
    warnings = wiring_warnings(wiring, segment)
    scores = run.scores
    if cut_noise is not None and run.valid:
        scores = _with_cut_noise(scores, sums.totals, cut_noise)
        moved = f"{lm.checkpoint.dtype}: rows and segment move the loss by {cut_noise:.2g} nats a token"
        warnings.append(records.Warning(code="cut-noise", message=f"{moved}: the intervals include it"))
    if not lm.repeatable:
        warnings.append(records.Warning(code="not-repeatable", message=_NOT_REPEATABLE))
    warnings += [*lm.warnings, *run.warnings, *_stream_warnings(read, run)]
    if beside is not None and (place := beside[1].sums.not_finite) is not None:
        message = f"with the state reset every {beside[0]} tokens, {place}: there is no change to show"
        warnings.append(records.Warning(code="beside-reset", message=message))
    states, missing = watch.finish() if watch else ({}, {})
    for name, why in missing.items():
        warnings.append(records.Warning(code="no-states", message=f"no summary of {name}: {why}"))
    return msgspec.structs.replace(
        run,
        valid=run.valid and not fails(wiring, segment) and lm.repeatable,
        checkpoint=lm.checkpoint,
        vocabulary=records.VocabularyRecord.of(lm.vocabulary),
        input=records.InputRecord(kind=lm.input_kind),
        output=records.OutputRecord(kind=lm.output_kind),
        backend=lm.backend,
        streams=_streams(read, lm),
        states=states or None,
        wiring=None if wiring is None else msgspec.convert(wiring, records.WiringSummary, from_attributes=True),
        token_by_token=other,
        scores=scores,
        cut_noise=cut_noise,
        beside_reset=None if beside is None else _beside_reset(text, options, sums, beside, trained_at),
        timing=records.Timing(
            seconds=measured.seconds,
            tokens_per_second=run.tokens.scored / max(measured.seconds, 1e-9),
            device=lm.device,
            threads=read.workers or {"keras": os.cpu_count(), "step": torch_threads()}.get(lm.backend) or 1,
        ),
        warnings=tuple(warnings),
    )


def _with_cut_noise(scores: Mapping[str, records.Score], totals: Totals, noise: float) -> dict[str, records.Score]:
    """Return scores with intervals that are wider by what a loss that many nats a token lower or higher gives."""
    nats, wider = totals.total("nats"), {}
    ends = [
        metrics.finish(replace(totals, sums={**totals.sums, "nats": nats + move * totals.tokens})).values
        for move in (-noise, noise)
    ]
    for name, score in scores.items():
        wider[name] = score
        if score.low is not None and score.high is not None:
            low, high = (end[name] - score.value for end in ends)
            low, high = score.low + min(low, high), score.high + max(low, high)
            wider[name] = msgspec.structs.replace(score, low=low, high=high)
    return wider


def _beside_reset(
    text: EncodedText,
    options: TextOptions,
    carried: LossSums,
    beside: tuple[int, Measured],
    trained_at: int | None,
) -> records.BesideReset:
    """Return the scores of the second reading, and the change from it to the carried state."""
    segment, measured = beside
    reset_run = scored_text(text, options, measured.sums, state=measured.state, base={})
    change = perplexity_change = far = None
    if carried.not_finite is None and reset_run.valid:
        change = change_of_loss(reset_run.blocks, carried.blocks)
        far = how_far(reset_run.blocks, carried.blocks, trained_at)
        low, high = (None if nats is None else 100 * expm1(nats) for nats in (change.low, change.high))
        perplexity_change = records.Score(value=100 * expm1(change.value), unit="%", low=low, high=high)
    return records.BesideReset(
        segment=segment,
        signature=reset_run.signature,
        total_nats=reset_run.total_nats,
        scores=reset_run.scores,
        change=change,
        perplexity_change=perplexity_change,
        how_far=far,
    )


def _streams(read: Stitched, lm: LanguageModel) -> records.Streams:
    lengths, rows = None, read.forgetting.values()
    forgotten = [tokens for tokens in rows if tokens is not None]
    if len(forgotten) > len(rows) / 2:  # the median of all rows is known
        median, p95 = np.percentile(forgotten, [50, 95])
        lengths = records.Forgetting(median=float(median), p95=float(p95), max=float(max(forgotten)))
    return records.Streams(
        count=read.shape.rows,
        segment=read.shape.segment,
        kernel=lm.kernel,
        tolerance=read.tolerance if read.forgetting else None,
        passes=read.passes,
        tokens_rerun=read.tokens_rerun,
        largest_state_difference=read.largest_state_difference,
        audited_loss_difference=read.audited_loss_difference,
        forgetting_length=lengths,
        workers=read.workers,
        chunks=read.chunks,
    )


def _stream_warnings(read: Stitched, run: records.Run) -> Iterator[records.Warning]:
    rows, never = len(read.forgetting), sum(tokens is None for tokens in read.forgetting.values())
    if never > rows - never:
        message = (
            f"the model does not forget: {never} of {rows} rows had not lost their start by their end, so they were "
            "read one after the other; the result is exact all the same"
        )
        yield records.Warning(code="does-not-forget", message=message)
    mean = (run.total_nats or 0.0) / run.tokens.scored
    if read.fragile or (read.audited_loss_difference or 0.0) > _ILL_CONDITIONED * (1 + mean):
        yield records.Warning(code="ill-conditioned", message=_ROUNDING_MATTERS)


def scored_text(
    text: EncodedText,
    options: TextOptions,
    sums: LossSums,
    *,
    state: str,
    base: Mapping[str, float],
    fitted: Fitted | None = None,
    beside: tuple[int, Measured] | None = None,
    bos: str = "none",
) -> records.Run:
    """Compute scores and intervals from sums over a text: a record made now, of no checkpoint and no command yet.

    `state` is the field of the signature, such as `state:carry`; `bos` is the value of another: `none` if the first
    token of a document has no loss, else `scored`. `base` holds nats a token of each baseline.
    """
    blocks, totals, finite = sums.blocks, sums.totals, sums.not_finite is None
    scores = metrics.finish(totals) if finite else Scores(values={}, missing={})
    intervals = ScoreIntervals(bounds={}, interval=None, warnings=())
    if scores.values:
        intervals = score_intervals(blocks, lossless=totals.lossless)
    tokens, characters = sum(blocks.tokens), sum(blocks.characters)
    warnings = [records.Warning(code=code, message=message) for code, message in text.warnings]
    warnings += [*intervals.warnings, *_score_warnings(sums, scores, base, beside)]
    if characters < _FEW_CHARACTERS and all(each.code != "too-little-text" for each in intervals.warnings):
        message = f"only {characters:,} characters are scored: fewer than {_FEW_CHARACTERS:,} say little of a model"
        warnings.append(records.Warning(code="too-little-text", message=message))
    if fitted is not None:
        warnings += fitted.warnings()
    return records.Run(
        rnneval=rnneval.__version__,
        created=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        command=(),
        signature=f"{text.signature_part}|bos:{bos}|{state}|defs:{_DEFINITIONS}",
        valid=finite,
        text=records.Text(
            sha256=text.sha256,
            files=tuple(records.TextFile(path=file.path, sha256=file.sha256) for file in text.files),
            part=options.part,
            share=None if options.part is None else text.share,
            characters=text.characters,
            bytes=text.bytes,
            words=text.words,
            documents=text.text_documents,
            scored_characters=characters,
            scored_bytes=sum(blocks.scored_bytes),
            scored_words=sum(blocks.words),
        ),
        tokens=records.TokenCounts(
            total=text.tokens, scored=tokens, unscored=text.tokens - tokens, unknown=text.unknown
        ),
        total_nats=sums.total_nats,
        scores=_scores(scores, intervals),
        interval=intervals.interval,
        baselines=dict(base),
        ngram=None if fitted is None else fitted.beside(blocks),
        blocks=blocks,
        warnings=tuple(warnings),
    )


def _scores(scores_of: Scores, intervals: ScoreIntervals) -> dict[str, records.Score]:
    known, scores = metrics.by_name(), {}
    for name, value in scores_of.values.items():
        # The two add up in another order: where all losses are equal, the last digit may differ.
        low, high = intervals.bounds.get(name, (value, value))
        bounds = {"low": min(low, value), "high": max(high, value)} if name in intervals.bounds else {}
        scores[name] = records.Score(value=value, unit=known[name].unit, **bounds)
    return scores


def _score_warnings(
    sums: LossSums, scores: Scores, base: Mapping[str, float], beside: tuple[int, Measured] | None
) -> Iterator[records.Warning]:
    for name, reason in scores.missing.items():
        yield records.Warning(code="no-score", message=f"{name}: {reason}")
    if sums.not_finite is not None:
        yield records.Warning(code="not-finite", message=f"{sums.not_finite}: no score is a number")
    loss, guess = scores.values.get("cross_entropy"), base.get("uniform")
    if loss is not None and guess is not None and loss > guess:
        message = f"{loss:.4g} nats a token is worse than guessing ({guess:.4g}): {_why_worse(sums, guess, beside)}"
        yield records.Warning(code="worse-than-uniform", message=message)


def _why_worse(sums: LossSums, guess: float, beside: tuple[int, Measured] | None) -> str:
    """Say which cause the losses show: a state that does not hold, or a model that does not know this text."""
    if beside is not None and (reset := _mean(beside[1].sums.blocks)) < guess:
        return (
            f"with the state reset every {beside[0]} tokens it is {reset:.4g}, so the model can read this text, and "
            "its state does not hold when it is carried further: training had shorter segments, or carried no state"
        )
    blocks = sums.blocks
    reached = np.cumsum(blocks.tokens)
    first, last = reached <= _BEGINNING, reached > reached[-1] - _BEGINNING
    if reached[-1] > 2 * _BEGINNING and (start := _mean(blocks, first)) < guess < (end := _mean(blocks, last)):
        return (
            f"the first {_BEGINNING:,} tokens cost {start:.4g} and the last {_BEGINNING:,} {end:.4g}, so the model can "
            "read this text, and its state does not hold so far: see --beside-reset N, N being the tokens of a "
            "training segment"
        )
    return (
        "the vocabulary is in another order than in training, the input encoding does not match, or the model is "
        "untrained"
    )


def _mean(blocks: records.Blocks, some: NDArray[np.bool_] | None = None) -> float:
    """Return the mean loss of all blocks or of some, in nats a token; infinite without a token or a finite loss."""
    chosen = slice(None) if some is None else some
    nats, tokens = np.sum(np.array(blocks.sums["nats"])[chosen]), np.sum(np.array(blocks.tokens)[chosen])
    return float(nats / tokens) if tokens and np.isfinite(nats) else inf
