"""The part of a run record that follows from the losses of a text, computed by a model or by another program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import rnneval
from rnneval import metrics
from rnneval.engine.collect import Collector
from rnneval.engine.fitting import Fitted
from rnneval.gates import ScoreIntervals, score_intervals
from rnneval.metrics import Scores, Totals
from rnneval.records.run import (
    Blocks,
    Interval,
    Ngram,
    Run,
    Score,
    Text,
    Tokens,
    Warning,  # noqa: A004 - the record's own word
)
from rnneval.text import EncodedText, TextOptions

_DEFINITIONS = 1
"""Increased only when a number changes its meaning, so that it is never compared with an older one."""
_NO_INTERVALS = ScoreIntervals(bounds={}, interval=None, warnings=())


@dataclass(frozen=True, kw_only=True)
class ScoredText:
    """Fields of a run record, by their names there."""

    signature: str
    text: Text
    tokens: Tokens
    total_nats: float | None
    scores: dict[str, Score]
    interval: Interval | None
    baselines: dict[str, float]
    ngram: Ngram | None
    blocks: Blocks
    warnings: tuple[Warning, ...]

    def run(self, *, command: Sequence[str], warnings: tuple[Warning, ...], **more: Any) -> Run:
        """Return the run record, made now, with these warnings and further fields."""
        fields = {**vars(self), "warnings": warnings, **more}
        created = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
        return Run(rnneval=rnneval.__version__, created=created, command=tuple(command), **fields)


def scored_text(
    text: EncodedText,
    options: TextOptions,
    collected: Collector,
    *,
    state: str,
    base: Mapping[str, float],
    fitted: Fitted | None = None,
    bos: str = "none",
) -> ScoredText:
    """Compute scores and intervals from sums over a text.

    Args:
        text: The text.
        options: The options that it was read with.
        collected: Its sums.
        state: The field of the signature, such as `state:carry`.
        base: Nats a token of each baseline.
        fitted: The baselines that were fitted to a text, if there are any.
        bos: The value in the signature: `none` if the first token of a document has no loss, else `scored`.
    """
    blocks = collected.blocks()
    totals = Totals(
        tokens=collected.tokens,
        characters=collected.unit("characters"),
        bytes=collected.unit("scored_bytes"),
        words=collected.unit("words"),
        lossless=text.layout is not None,
        sums=collected.totals(),
    )
    found = metrics.finish(totals) if collected.not_finite is None else Scores(values={}, missing={})
    intervals = score_intervals(blocks, lossless=totals.lossless) if found.values else _NO_INTERVALS
    return ScoredText(
        signature=f"{text.signature_part}|bos:{bos}|{state}|defs:{_DEFINITIONS}",
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
        baselines=dict(base),
        ngram=None if fitted is None else fitted.beside(blocks),
        blocks=blocks,
        warnings=(
            *text.warnings,
            *intervals.warnings,
            *_warnings(collected, found, base),
            *(() if fitted is None else fitted.warnings(found.values.get("cross_entropy"))),
        ),
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
        # The two add up in another order: where all losses are equal, the last digit may differ.
        low, high = (min(bounds.low, value), max(bounds.high, value)) if bounds is not None else (None, None)
        scores[name] = Score(value=value, unit=units[name], low=low, high=high)
    return scores


def _warnings(collected: Collector, found: Scores, base: Mapping[str, float]) -> list[Warning]:
    warnings = [Warning(code="no-score", message=f"{name}: {reason}") for name, reason in found.missing.items()]
    place = collected.not_finite
    if place is not None:
        message = (
            f"the loss of token {place.token} (byte {place.byte} of the text) is {place.value}: no score is a number"
        )
        warnings.append(Warning(code="not-finite", message=message))
    loss, guess = found.values.get("cross_entropy"), base.get("uniform")
    if loss is not None and guess is not None and loss > guess:
        message = (
            f"{loss:.4g} nats a token is worse than guessing ({guess:.4g}): the vocabulary is in another "
            "order than in training, the input encoding does not match, or the model is untrained"
        )
        warnings.append(Warning(code="worse-than-uniform", message=message))
    return warnings
