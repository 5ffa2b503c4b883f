"""The run record, made of what was measured."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1

import numpy as np

from rnneval.backends.protocol import LanguageModel
from rnneval.engine.collect import Collector
from rnneval.engine.diagnostics.states import States
from rnneval.engine.fitting import Fitted, baselines_of
from rnneval.engine.measure import Measured
from rnneval.engine.precheck import UNCHECKED, WiringPrecheck
from rnneval.engine.scores import scored_text
from rnneval.gates import change_of_loss
from rnneval.records.run import (
    BesideReset,
    Forgetting,
    Input,
    Output,
    Run,
    Score,
    Streams,
    Timing,
    TokenByToken,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.text import EncodedText, TextOptions

_NOT_REPEATABLE = (
    "the same ids give different logits with training=False: another run of the same text gives other losses"
)
ILL_CONDITIONED = 1e-4
"""Nats: an audited loss that moved by more than this after the states had agreed."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A second reading of the text, with the state reset every `segment` tokens."""

    segment: int
    measured: Measured


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Measurements of a run, and the wiring precheck before it."""

    measured: Measured
    sound: WiringPrecheck = UNCHECKED
    states: States | None = None
    """Summaries of the states; None if they were not watched."""
    token_by_token: float | None = None
    """The total loss of a leaking model when it reads one token per step."""
    beside: Beside | None = None


def run_record(
    lm: LanguageModel,
    text: EncodedText,
    options: TextOptions,
    reading: Reading,
    *,
    fitted: Fitted | None,
    command: Sequence[str],
) -> Run:
    """Make the record of one run."""
    assert lm.vocabulary is not None  # noqa: S101 - no text is encoded without one
    measured, sound, token_by_token = reading.measured, reading.sound, reading.token_by_token
    collected = measured.collected
    base = baselines_of(collected, fitted)
    told = scored_text(text, options, collected, state=measured.state_signature, base=base, fitted=fitted)
    return told.run(
        command=command,
        valid=collected.not_finite is None and not sound.leaks and lm.repeatable,
        checkpoint=lm.checkpoint,
        vocabulary=lm.vocabulary.record(),
        input=Input(kind=lm.input_kind),
        output=Output(kind=lm.output_kind),
        backend=lm.backend,
        streams=_streams(measured),
        states=(dict(reading.states.summaries) or None) if reading.states else None,
        wiring=sound.summary,
        token_by_token=None if token_by_token is None else TokenByToken(segment=1, total_nats=token_by_token),
        beside_reset=None if reading.beside is None else _beside_reset(text, options, collected, reading.beside),
        timing=_timing(measured, lm.device),
        warnings=(
            *sound.warnings,
            *([] if lm.repeatable else [Warning(code="not-repeatable", message=_NOT_REPEATABLE)]),
            *told.warnings,
            *_stream_warnings(measured),
            *_beside_warnings(reading.beside),
            *(
                Warning(code="no-states", message=f"no state summary of {name}: {why}")
                for name, why in (reading.states.missing if reading.states else {}).items()
            ),
        ),
    )


def _beside_reset(text: EncodedText, options: TextOptions, carried: Collector, beside: Beside) -> BesideReset:
    """Return the scores of the second reading, and the change from it to the carried state."""
    collected = beside.measured.collected
    told = scored_text(text, options, collected, state=beside.measured.state_signature, base={})
    change = perplexity_change = None
    if carried.not_finite is None and collected.not_finite is None:
        found = change_of_loss(collected.blocks(), carried.blocks())
        low, high = (found.bounds.low, found.bounds.high) if found.bounds else (None, None)
        change = Score(value=found.value, unit="nats a token", low=low, high=high)
        low, high = (None if nats is None else 100 * expm1(nats) for nats in (low, high))
        perplexity_change = Score(value=100 * expm1(found.value), unit="%", low=low, high=high)
    return BesideReset(
        segment=beside.segment,
        signature=told.signature,
        total_nats=told.total_nats,
        scores=told.scores,
        change=change,
        perplexity_change=perplexity_change,
    )


def _beside_warnings(beside: Beside | None) -> list[Warning]:
    place = None if beside is None else beside.measured.collected.not_finite
    if place is None or beside is None:
        return []
    message = (
        f"with the state reset every {beside.segment} tokens, the loss of token {place.token} (byte {place.byte} of "
        f"the text) is {place.value}: there is no change to show"
    )
    return [Warning(code="beside-reset", message=message)]


def _streams(measured: Measured) -> Streams:
    stitched = measured.stitched
    forgotten = stitched.forgotten
    lengths = None
    if forgotten:
        median, p95 = np.percentile(forgotten, [50, 95])
        lengths = Forgetting(median=float(median), p95=float(p95), max=float(max(forgotten)))
    return Streams(
        count=measured.shape.rows,
        segment=measured.shape.segment,
        kernel=measured.kernel,
        tolerance=stitched.tolerance if stitched.forgetting else None,
        passes=stitched.passes,
        tokens_rerun=stitched.tokens_rerun,
        largest_state_difference=stitched.largest_state_difference,
        audited_loss_difference=stitched.audited_loss_difference,
        forgetting_length=lengths,
        workers=None if measured.shared is None else measured.shared.workers,
        chunks=None if measured.shared is None else measured.shared.chunks,
    )


def _timing(measured: Measured, device: str) -> Timing:
    seconds, shared = measured.seconds, measured.shared
    return Timing(
        seconds=seconds,
        tokens_per_second=measured.collected.tokens / max(seconds, 1e-9),
        device=device,
        threads=(os.cpu_count() or 1) if shared is None else shared.workers * shared.threads,
    )


def _stream_warnings(measured: Measured) -> list[Warning]:
    stitched = measured.stitched
    warnings = []
    never = sum(tokens is None for tokens in stitched.forgetting.values())
    if stitched.lasts or never > len(stitched.forgotten):
        seen = (
            "on a passage, the carried state and the initial one did not come near each other, so every document was "
            "read in one row; the result is exact"
            if stitched.lasts
            else f"{never} of {len(stitched.forgetting)} rows had not lost their start by their end, so they were read "
            "one after the other; the result is exact all the same"
        )
        warnings.append(Warning(code="does-not-forget", message=f"the model does not forget: {seen}"))
    if measured.shared is not None and measured.shared.threads != 1:
        message = (
            f"a worker's TensorFlow runs with {measured.shared.threads} threads and not with 1: the last digits may "
            "differ between workers; start them anew"
        )
        warnings.append(Warning(code="threads", message=message))
    audited = stitched.audited_loss_difference or 0.0
    if stitched.fragile or audited > ILL_CONDITIONED:
        message = (
            "a change of the last digit of a state grows: the one-stream number itself depends on rounding, and is not "
            "claimed to 1e-6"
        )
        warnings.append(Warning(code="ill-conditioned", message=message))
    return warnings
