"""`rnneval.trace`: what happens inside a model along a text, as a table and as a run record."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from rnneval.engine.diagnostics.anchors import Anchors, spread
from rnneval.engine.diagnostics.context import ANCHORS, context_curve, fitting_lengths
from rnneval.engine.diagnostics.held_out import held_out, request
from rnneval.engine.diagnostics.lyapunov import MOST_SETTLING, ROWS, SETTLING, STEPS, exponents
from rnneval.engine.diagnostics.states import sampling
from rnneval.engine.diagnostics.tracing import TraceWatch, write_trace
from rnneval.engine.measure import Measured
from rnneval.engine.stitch import TOLERANCE, Progress
from rnneval.errors import UsageError
from rnneval.metrics.diagnostics import findings
from rnneval.models.lm import RecurrentLM, inputs_of
from rnneval.records.paths import named, require_apart
from rnneval.records.run import Run, Warning  # noqa: A004 - the record's own word
from rnneval.text import EncodedText, Paths

_SEGMENT = 64


def trace(
    lm: RecurrentLM,
    text: Paths,
    *,
    out: str | os.PathLike[str] | None = None,
    stride: int | None = None,
    context: bool = False,
    lyapunov: bool = False,
    truncation: int | None = None,
    thresholds: Mapping[str, float] | None = None,
    part: str | None = None,
    normalize: str = "none",
    newlines: str = "keep",
    documents: str = "one",
    unknown: str = "error",
    tokens: str | None = None,
    streams: int | str = "auto",
    kernel: str = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    check: bool = True,
    declare: Iterable[str] = (),
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> Run:
    """Look at the state of every layer along a text, over the exact carried stream.

    Args:
        lm: From `rnneval.open` or `rnneval.wrap`, with a vocabulary.
        text: One or more files of UTF-8 text, joined in this order.
        out: Where to write the tidy table (Parquet): every slot and gate at the stride, histograms, numbers a unit.
        stride: Tokens from one line of the table to the next; 16 by default, more in texts above a million tokens.
        context: Whether to measure the loss as a function of the length of context.
        lyapunov: Whether to measure the largest Lyapunov exponents.
        truncation: Through how many tokens the model was trained back in time, where known: for a finding.
        thresholds: Other thresholds for the findings, by rule.
        part: As in `rnneval.evaluate`, like all below.
        normalize: See there.
        newlines: See there.
        documents: See there.
        unknown: See there.
        tokens: See there.
        streams: See there.
        kernel: See there.
        tolerance: See there.
        seed: Which row is audited, and where anchors are.
        check: Whether to look at the wiring first, as `rnneval.evaluate` does: a model that gives a layer another one's
            state, or none, has states that mean something else, and the record says so.
        declare: What the author means on purpose, for the check.
        progress: Called with tokens scored and tokens in all.
        command: What to record as the command that repeats it.

    Returns:
        The run record, with `states`, `gates` and, where asked for, `context` and `lyapunov`; what the rules find
        stands among its warnings.

    Raises:
        UsageError, TextError, VocabularyError, CheckpointError: as `rnneval.evaluate`.
        RecordError: the table cannot be written.
    """
    if stride is not None and stride < 1:
        raise UsageError(f"--stride {stride} is not a number of tokens: give at least 1")
    asked = request(
        text,
        thresholds=thresholds,
        check=check,
        declare=declare,
        command=command,
        part=part,
        normalize=normalize,
        newlines=newlines,
        documents=documents,
        unknown=unknown,
        tokens=tokens,
        streams=streams,
        kernel=kernel,
        tolerance=tolerance,
        seed=seed,
        progress=progress,
    )
    require_apart(named("out", out), inputs_of(lm, text))
    with held_out(lm, "trace", asked) as held:
        every = stride or sampling(held.text.tokens)
        looking = _Looking(lm, held.text, every, context=context, lyapunov=lyapunov, seed=seed)
        measured = held.measure(looking.watch)
        run = held.record(measured, looking.watch.finish())
        run = msgspec.structs.replace(run, **looking.more(measured))
        if out is not None:
            write_trace(out, looking.watch, run)
    found = findings.find(findings.Facts(run=run, truncation=truncation), asked.thresholds)
    warnings = [*run.warnings, *looking.warnings, *(Warning(code=item.rule, message=item.message) for item in found)]
    return msgspec.structs.replace(run, warnings=tuple(warnings))


class _Looking:
    """What is looked at beside the states, and where."""

    def __init__(
        self, lm: RecurrentLM, text: EncodedText, stride: int, *, context: bool, lyapunov: bool, seed: int
    ) -> None:
        self._lm, self._text = lm, text
        starts, stops = text.document_starts, text.document_stops
        longest = int((stops - starts).max())
        self._lengths = fitting_lengths(longest) if context else ()
        self._steps = _steps_to_walk(longest) if lyapunov else 0
        room = max(self._lengths, default=0)
        tokens = spread(starts, stops, room, ANCHORS, seed) + room if room else np.zeros(0, np.int64)
        targets = np.zeros(0, np.int64)
        if self._steps > SETTLING and lm.mixable:
            targets = spread(starts + 1, stops, self._steps + _SEGMENT + 1, ROWS, seed)
        self._anchors = Anchors(targets=targets, tokens=tokens)
        self.watch = TraceWatch(text, stride, self._anchors)
        self._asked = {"context": context, "lyapunov": lyapunov}
        self.warnings: list[Warning] = []

    def more(self, measured: Measured) -> dict[str, Any]:
        """Give more fields of the record."""
        _, gates, _ = self.watch.spectra()
        found: dict[str, Any] = {"gates": gates or None}
        if self._asked["context"]:
            curve = context_curve(self._lm, self._text, self._anchors.nats, self._lengths) if self._lm.mixable else None
            found["context"] = curve
            if curve is None:
                self._warn(
                    "no-context", "no context curve: the text is too short, or the model's start cannot be given"
                )
        if self._asked["lyapunov"]:
            found["lyapunov"] = self._exponents()
        return found

    def _exponents(self) -> Any:
        places = list(self._anchors.places.values())
        if not places:
            self._warn(
                "no-lyapunov", f"no Lyapunov exponent: no document is longer than {SETTLING + 2 * _SEGMENT} tokens"
            )
            return None
        seen = exponents(self._lm, self._text, places, self._steps)
        for name, reason in seen.missing.items():
            self._warn("no-lyapunov", f"no Lyapunov exponent of {name}: {reason}")
        for name, difference in seen.unsettled.items():
            self._warn(
                "unsettled-lyapunov",
                f"{name}: two tangents still differ by {difference:.2g} nats a token after {self._steps:,} tokens; "
                "the exponent may be off by as much, which its error includes",
            )
        return seen.found or None

    def _warn(self, code: str, message: str) -> None:
        self.warnings.append(Warning(code=code, message=message))


def _steps_to_walk(longest: int) -> int:
    """Return how far the rows may walk: at most half of the longest document, so that their places are spread out.

    A document too short for that is walked to its end.
    """
    there = longest - _SEGMENT - 3
    return min(STEPS + MOST_SETTLING, max(longest // 2, min(STEPS + SETTLING, there))) // 50 * 50
