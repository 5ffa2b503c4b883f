"""Evaluate a model on a text: from both to a run record."""

from dataclasses import dataclass, replace

from rnneval.backends.protocol import LanguageModel
from rnneval.engine.diagnostics.states import States, StateWatch
from rnneval.engine.fitting import fit
from rnneval.engine.measure import Reader, inputs_of, measure
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.precheck import LEAK_SEGMENT, UNCHECKED, WiringPrecheck, precheck_wiring
from rnneval.engine.record import Beside, Reading, run_record
from rnneval.errors import UsageError, VocabularyError
from rnneval.options import EvaluateOptions, StringGroup, on_model, option
from rnneval.records.paths import named, require_apart
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring
from rnneval.text import EncodedText, Paths, TextOptions, encode, text_given


@dataclass(frozen=True, kw_only=True)
class ReaderOptions(StringGroup, EvaluateOptions):
    """Options of `evaluate`, with those that only Python has."""

    reader: Reader | None = option(
        None, "Reader of the text in place of this process, from `rnneval.sweeps.distributed.workers_reading`.", flag=""
    )
    wiring: Wiring | None = option(
        None, "Wiring record of this very model from `rnneval.check`, in place of checking it again.", flag=""
    )


@on_model(ReaderOptions)
def evaluate(lm: LanguageModel, text: Paths | None = None, *, options: ReaderOptions) -> Run:
    """Measure a model on held-out text: every token accounted for, the state carried.

    Args:
        lm: Model from `rnneval.open` or `rnneval.wrap`, with a vocabulary.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `ReaderOptions`.

    Returns:
        The run record; `valid` is False where the wiring leaks the future or the batch, where the model draws
        random numbers with training=False, or where a loss is not finite.

    Raises:
        UsageError: an option's value is not known, or a baseline would be fitted on text that is scored.
        TextError: the text is missing, empty, not UTF-8, or has characters that the vocabulary lacks.
        VocabularyError: the model has no vocabulary.
        CheckpointError: the model gives a token the probability 0, or raises.
    """
    given, read_as = text_given(text, options.string), TextOptions.of(options)
    stateful, how = StateOptions.of(options, lm), Streaming.of(options, options.progress)
    if lm.vocabulary is None:
        raise VocabularyError(lm.why_no_vocabulary or "the model has no vocabulary: give one (--vocab, --vocab-from)")
    if options.beside_reset is not None and lm.window is not None:
        raise UsageError(f"--beside-reset: a window model knows nothing but the last {lm.window} tokens anyway")
    require_apart(named("losses", options.losses), [*inputs_of(lm, given), *named("fit_on", options.fit_on)])
    carried = lm.window is None  # a window model is given the past alone, and has no state to wire or to look at
    checked = options.check and carried
    sound = precheck_wiring(lm, options.declare, seed=how.seed, known=options.wiring) if checked else UNCHECKED
    with encode(given, lm.vocabulary, read_as) as encoded:
        fitted = fit(options, read_as, lm.vocabulary, encoded, width=lm.width, unscored=stateful.unscored)
        reader = options.reader
        if sound.leaks:
            # The scores of such a model depend on how the text is divided, and on what stands after its end.
            how = replace(how, streams=1, padded=False)
            stateful = replace(stateful, segment=stateful.segment or LEAK_SEGMENT)
            reader = None
        states = options.states and carried
        watch = StateWatch(encoded) if states and reader is None else None
        reading = Reading(
            measured=measure(lm, encoded, stateful, how, losses=options.losses, watch=watch, reader=reader),
            states=watch.finish() if watch is not None else _UNSEEN if states else None,
            sound=sound,
            token_by_token=_token_by_token(lm, encoded, sound, how) if sound.leaks else None,
            beside=_with_resets(lm, encoded, options.beside_reset, how, reader) if options.beside_reset else None,
        )
        return run_record(lm, encoded, read_as, reading, fitted=fitted, command=options.command)


_UNSEEN = States(summaries={}, missing={"any layer": "several processes read the text (--jobs, --scheduler)"}, every=1)


def _token_by_token(lm: LanguageModel, text: EncodedText, sound: WiringPrecheck, how: Streaming) -> float | None:
    """Return the loss of a leaking model in segments of one token, of which it can see nothing ahead.

    Rows are read side by side again, unless they see one another.
    """
    streams = 1 if "batch-leak" in sound.leaks else "auto"
    single = StateOptions(state="carry", segment=1)
    return measure(lm, text, single, replace(how, streams=streams)).total_nats


def _with_resets(lm: LanguageModel, text: EncodedText, segment: int, how: Streaming, reader: Reader | None) -> Beside:
    """Read the text once more as `--state reset --segment N` does."""
    stateful = StateOptions(state="reset", segment=segment)
    return Beside(segment=segment, measured=measure(lm, text, stateful, how, reader=reader))
