"""Reading a held-out text for a diagnosis: as `evaluate` reads it, including the wiring check, with a watch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rnneval.backends.protocol import LanguageModel, require_carried
from rnneval.engine.diagnostics.states import States
from rnneval.engine.measure import Measured, measure
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.precheck import LEAK_SEGMENT, UNCHECKED, WiringPrecheck, precheck_wiring
from rnneval.engine.record import Reading, run_record
from rnneval.engine.runner import Watch
from rnneval.errors import VocabularyError
from rnneval.metrics.diagnostics import findings
from rnneval.options import DiagnosticOptions
from rnneval.records.run import Run
from rnneval.text import EncodedText, InMemory, Paths, TextOptions, encode


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A model and a text that it can read."""

    lm: LanguageModel
    text: EncodedText
    options: DiagnosticOptions
    sound: WiringPrecheck

    def measure(self, watch: Watch) -> Measured:
        """Read the text from its first token to its last; a leaking model as `evaluate` reads it, one row alone."""
        how, stateful = Streaming.of(self.options, self.options.progress), StateOptions()
        if self.sound.leaks:
            how, stateful = replace(how, streams=1, padded=False), replace(stateful, segment=LEAK_SEGMENT)
        return measure(self.lm, self.text, stateful, how, watch=watch)

    def record(self, measured: Measured, states: States | None = None) -> Run:
        """Return the run record; its `valid`, `wiring` and warnings say whether the model's states can be trusted."""
        reading = Reading(measured=measured, states=states, sound=self.sound)
        read_as = TextOptions.of(self.options)
        return run_record(self.lm, self.text, read_as, reading, fitted=None, command=self.options.command)


@contextmanager
def held_out(lm: LanguageModel, what: str, given: Paths | InMemory, options: DiagnosticOptions) -> Iterator[HeldOut]:
    """Check a model's wiring, and encode the text for it.

    Raises:
        UsageError: a window model, which carries no state; a threshold of no rule; or a value that is not known.
        VocabularyError: the model has no vocabulary.
        TextError: the text cannot be read.
    """
    findings.require_known(options.thresholds or {})
    read_as = TextOptions.of(options)
    require_carried(lm, what)
    if lm.vocabulary is None:
        raise VocabularyError(lm.why_no_vocabulary or "the model has no vocabulary: give one (--vocab, --vocab-from)")
    with encode(given, lm.vocabulary, read_as) as encoded:
        sound = precheck_wiring(lm, options.declare, seed=options.seed) if options.check else UNCHECKED
        yield HeldOut(lm=lm, text=encoded, options=options, sound=sound)
