"""Reading a held-out text for a diagnosis: as `evaluate` reads it, including the wiring check, with a watch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rnneval.engine.diagnostics.states import States
from rnneval.engine.kernel import Watch
from rnneval.engine.measure import Measured, measure
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.precheck import LEAK_SEGMENT, UNCHECKED, WiringPrecheck, precheck_wiring
from rnneval.engine.record import Reading, run_record
from rnneval.errors import VocabularyError
from rnneval.metrics.diagnostics import findings
from rnneval.models.lm import RecurrentLM, require_carried
from rnneval.records.run import Run
from rnneval.text import EncodedText, Paths, TextOptions, encode


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments that all diagnostics share."""

    text: Paths
    options: TextOptions
    how: Streaming
    thresholds: Mapping[str, float]
    check: bool
    declare: tuple[str, ...]
    command: tuple[str, ...]


def request(
    text: Paths,
    *,
    thresholds: Mapping[str, float] | None,
    check: bool,
    declare: Iterable[str],
    command: Sequence[str],
    **reading: Any,
) -> Request:
    """Return the shared arguments of a diagnosis, sorted by what they are about.

    Raises:
        UsageError: a threshold of an unknown rule, or an unknown value.
    """
    findings.require_known(thresholds or {})
    streaming = {name: reading.pop(name) for name in ("streams", "kernel", "tolerance", "seed", "progress")}
    return Request(
        text=text,
        options=TextOptions(**reading),
        how=Streaming(**streaming),
        thresholds=thresholds or {},
        check=check,
        declare=tuple(declare),
        command=tuple(command),
    )


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A model and a text that it can read."""

    lm: RecurrentLM
    text: EncodedText
    request: Request
    sound: WiringPrecheck

    def measure(self, watch: Watch) -> Measured:
        """Read the text from its first token to its last; with a leaking model one row alone, as `evaluate` does."""
        how, stateful = self.request.how, StateOptions()
        if self.sound.leaks:
            how, stateful = replace(how, streams=1, padded=False), replace(stateful, segment=LEAK_SEGMENT)
        return measure(self.lm, self.text, stateful, how, watch=watch)

    def record(self, measured: Measured, states: States | None = None) -> Run:
        """Return the run record; its `valid`, `wiring` and warnings say whether the model's states can be trusted."""
        reading = Reading(measured=measured, states=states, sound=self.sound)
        return run_record(self.lm, self.text, self.request.options, reading, fitted=None, command=self.request.command)


@contextmanager
def held_out(lm: RecurrentLM, what: str, request: Request) -> Iterator[HeldOut]:
    """Check a model's wiring, and encode the text for it while the block runs.

    Raises:
        UsageError: a window model, which carries no state.
        VocabularyError: the model has no vocabulary.
        TextError: the text cannot be read.
    """
    require_carried(lm, what)
    if lm.vocabulary is None:
        raise VocabularyError(lm.why_no_vocabulary or "the model has no vocabulary: give one (--vocab, --vocab-from)")
    with encode(request.text, lm.vocabulary, request.options) as encoded:
        sound = precheck_wiring(lm, request.declare, seed=request.how.seed) if request.check else UNCHECKED
        yield HeldOut(lm=lm, text=encoded, request=request, sound=sound)
