"""`rnneval.trace`: the states of a model along a text, as a table and as a run record."""

from typing import Any

import msgspec
import numpy as np

from rnneval.backends.protocol import LanguageModel
from rnneval.engine.diagnostics.anchors import Anchors, spread
from rnneval.engine.diagnostics.context import ANCHORS, context_curve, fitting_lengths
from rnneval.engine.diagnostics.held_out import held_out
from rnneval.engine.diagnostics.lyapunov import MOST_SETTLING, ROWS, SETTLING, STEPS, exponents
from rnneval.engine.diagnostics.states import sampling
from rnneval.engine.diagnostics.tracing import TraceWatch, write_trace
from rnneval.engine.measure import Measured, inputs_of
from rnneval.metrics.diagnostics import findings
from rnneval.options import TraceOptions, on_model
from rnneval.records.paths import named, require_apart
from rnneval.records.run import Run, Warning  # noqa: A004 - the record's own word
from rnneval.text import EncodedText, Paths, text_given

_SEGMENT = 64


@on_model(TraceOptions)
def trace(lm: LanguageModel, text: Paths | None = None, *, options: TraceOptions) -> Run:
    """Trace the state of every layer along a text, over the exact carried stream.

    A model that gives a layer the state of another layer, or none, has states that mean something else; the record
    says so.

    Args:
        lm: Model from `rnneval.open` or `rnneval.wrap`, with a vocabulary.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `TraceOptions`.

    Returns:
        The run record, with `states`, `gates` and, where asked for, `context` and `lyapunov`; the findings are among
        its warnings.

    Raises:
        UsageError, TextError, VocabularyError, CheckpointError: as `rnneval.evaluate`.
        RecordError: the table cannot be written.
    """
    given = text_given(text, options.string)
    require_apart(named("out", options.out), inputs_of(lm, given))
    with held_out(lm, "trace", given, options) as held:
        probes = _Probes(lm, held.text, options)
        measured = held.measure(probes.watch)
        run = held.record(measured, probes.watch.finish())
        run = msgspec.structs.replace(run, **probes.more(measured))
        if options.out is not None:
            write_trace(options.out, probes.watch, run)
    found = findings.find(findings.Facts(run=run, truncation=options.truncation), options.thresholds or {})
    warnings = [*run.warnings, *probes.warnings, *(Warning(code=item.rule, message=item.message) for item in found)]
    return msgspec.structs.replace(run, warnings=tuple(warnings))


class _Probes:
    """Probes of a trace beside the states: the context curve and the Lyapunov exponents, and where they begin."""

    def __init__(self, lm: LanguageModel, text: EncodedText, options: TraceOptions) -> None:
        self._lm, self._text, self._options = lm, text, options
        starts, stops = text.document_starts, text.document_stops
        longest = int((stops - starts).max())
        self._lengths = fitting_lengths(longest) if options.context else ()
        self._steps = _steps_to_walk(longest) if options.lyapunov else 0
        room = max(self._lengths, default=0)
        tokens = spread(starts, stops, room, ANCHORS, options.seed) + room if room else np.zeros(0, np.int64)
        targets = np.zeros(0, np.int64)
        if self._steps > SETTLING and lm.mixable:
            targets = spread(starts + 1, stops, self._steps + _SEGMENT + 1, ROWS, options.seed)
        self._anchors = Anchors(targets=targets, tokens=tokens)
        self.watch = TraceWatch(text, options.stride or sampling(text.tokens), self._anchors)
        self.warnings: list[Warning] = []

    def more(self, measured: Measured) -> dict[str, Any]:
        """Return the fields of the record that only a trace has."""
        _, gates, _ = self.watch.spectra()
        found: dict[str, Any] = {"gates": gates or None}
        if self._options.context:
            curve = context_curve(self._lm, self._text, self._anchors.nats, self._lengths) if self._lm.mixable else None
            found["context"] = curve
            if curve is None:
                self._warn(
                    "no-context", "no context curve: the text is too short, or the model's start cannot be given"
                )
        if self._options.lyapunov:
            found["lyapunov"] = self._exponents()
        return found

    def _exponents(self) -> Any:
        """Return the Lyapunov exponents; warn of layers that have none, or whose tangents still differ."""
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
    """Return the number of steps for the rows: at most half of the longest document, so that their places spread out.

    A document too short for that is walked to its end.
    """
    room = longest - _SEGMENT - 3
    return min(STEPS + MOST_SETTLING, max(longest // 2, min(STEPS + SETTLING, room))) // 50 * 50
