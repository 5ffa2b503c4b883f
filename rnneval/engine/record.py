"""What was measured, as the run record."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import rnneval
from rnneval import metrics
from rnneval.engine.collect import Collector
from rnneval.engine.plan import Shape
from rnneval.gates import ScoreIntervals, score_intervals
from rnneval.metrics import Scores, Totals, baselines
from rnneval.models.lm import RecurrentLM
from rnneval.records.run import (
    Input,
    Output,
    Run,
    Score,
    Streams,
    Text,
    Timing,
    Tokens,
    Vocabulary,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.text import EncodedText, TextOptions

_DEFINITIONS = 1
"""Raised only when a number changes its meaning, so that it is never compared with an older one."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the engine saw, and how it looked."""

    collected: Collector
    shape: Shape
    state_signature: str
    seconds: float


def run_record(
    lm: RecurrentLM,
    text: EncodedText,
    options: TextOptions,
    measured: Measured,
    *,
    fitted: NDArray[np.int64] | None,
    command: Sequence[str],
) -> Run:
    """Put together the record of one run."""
    assert lm.vocabulary is not None  # noqa: S101 - no text is encoded without one
    collected = measured.collected
    blocks = collected.blocks()
    totals = _totals(text, collected)
    found = metrics.finish(totals) if collected.not_finite is None else Scores(values={}, missing={})
    intervals = score_intervals(blocks, lossless=totals.lossless) if found.values else _NO_INTERVALS
    base = baselines.nats_per_token(collected.id_counts, fitted)
    return Run(
        rnneval=rnneval.__version__,
        created=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        command=tuple(command),
        signature=f"{text.signature_part}|bos:none|{measured.state_signature}|defs:{_DEFINITIONS}",
        valid=collected.not_finite is None,
        checkpoint=lm.checkpoint,
        vocabulary=Vocabulary(size=lm.vocabulary.size, sha256=lm.vocabulary.sha256, source=lm.vocabulary.source),
        input=Input(kind=lm.input_kind),
        output=Output(kind=lm.output_kind),
        text=_text(text, options, collected),
        tokens=Tokens(
            total=text.tokens,
            scored=collected.tokens,
            unscored=text.tokens - collected.tokens,
            unknown=text.unknown,
        ),
        total_nats=totals.sums.get("nats") if collected.not_finite is None else None,
        scores=_scores(found, intervals),
        interval=intervals.interval,
        baselines=base,
        streams=Streams(
            count=measured.shape.rows, segment=measured.shape.segment, kernel="model", passes=1, tokens_rerun=0
        ),
        blocks=blocks,
        timing=_timing(collected, measured.seconds),
        warnings=(*text.warnings, *intervals.warnings, *_warnings(collected, found, base)),
    )


_NO_INTERVALS = ScoreIntervals(bounds={}, interval=None, warnings=())


def _totals(text: EncodedText, collected: Collector) -> Totals:
    return Totals(
        tokens=collected.tokens,
        characters=collected.unit("characters"),
        bytes=collected.unit("scored_bytes"),
        words=collected.unit("words"),
        # Characters and bytes keep all of a text however they are cut; words must give its white space back.
        lossless=text.layout is not None or not text.token_kind.startswith("word"),
        sums=collected.totals(),
    )


def _text(text: EncodedText, options: TextOptions, collected: Collector) -> Text:
    return Text(
        sha256=text.sha256,
        files=text.files,
        part=options.part,
        characters=text.characters,
        bytes=text.bytes,
        words=text.words,
        documents=text.text_documents,
        scored_characters=collected.unit("characters"),
        scored_bytes=collected.unit("scored_bytes"),
        scored_words=collected.unit("words"),
    )


def _scores(found: Scores, intervals: ScoreIntervals) -> dict[str, Score]:
    units = {metric.name: metric.unit for metric in metrics.all_metrics()}
    scores = {}
    for name, value in found.values.items():
        bounds = intervals.bounds.get(name)
        low, high = (bounds.low, bounds.high) if bounds is not None else (None, None)
        scores[name] = Score(value=value, unit=units[name], low=low, high=high)
    return scores


def _timing(collected: Collector, seconds: float) -> Timing:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return Timing(
        seconds=seconds,
        tokens_per_second=collected.tokens / max(seconds, 1e-9),
        device=devices[0].device_type,
        threads=os.cpu_count() or 1,
    )


def _warnings(collected: Collector, found: Scores, base: dict[str, float]) -> list[Warning]:
    warnings = [Warning(code="no-score", message=f"{name}: {reason}") for name, reason in found.missing.items()]
    place = collected.not_finite
    if place is not None:
        message = (
            f"the loss of token {place.token} (byte {place.byte} of the text) is {place.value}: no score is a number"
        )
        warnings.append(Warning(code="not-finite", message=message))
    loss = found.values.get("cross_entropy")
    if loss is not None and loss > base["uniform"]:
        message = (
            f"{loss:.4g} nats a token is worse than guessing ({base['uniform']:.4g}): the vocabulary is in another "
            "order than in training, the input encoding does not match, or the model is untrained"
        )
        warnings.append(Warning(code="worse-than-uniform", message=message))
    return warnings
