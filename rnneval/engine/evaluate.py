"""From a model and a text to a run record."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rnneval.engine.diagnostics.states import States, StateWatch
from rnneval.engine.measure import Reader, measure
from rnneval.engine.options import StateOptions, Streaming
from rnneval.engine.precheck import LEAK_SEGMENT, UNCHECKED, WiringPrecheck, precheck_wiring
from rnneval.engine.record import Reading, run_record
from rnneval.engine.stitch import TOLERANCE, Progress
from rnneval.errors import UsageError, VocabularyError
from rnneval.models.lm import RecurrentLM, inputs_of
from rnneval.records.paths import named, require_apart
from rnneval.records.run import Run
from rnneval.text import EncodedText, Paths, TextOptions, encode
from rnneval.text.sources import refuse_overlap


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
    pad: bool = False,
    streams: int | str = "auto",
    kernel: str = "auto",
    tolerance: float = TOLERANCE,
    seed: int = 0,
    fit_on: Paths | None = None,
    fit_part: str | None = None,
    losses: str | os.PathLike[str] | None = None,
    states: bool = True,
    check: bool = True,
    declare: Iterable[str] = (),
    progress: Progress | None = None,
    command: Sequence[str] = (),
    reader: Reader | None = None,
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
        tokens: `char`, `byte`, `word` or `subword`; by default told by the vocabulary.
        state: `carry` from the first token of a document to its last, or `reset` every `segment` tokens.
        segment: Tokens of a row in one step; with `carry` it changes no result.
        pad: For a window model: score the tokens before the first whole window too, after ids 0.
        streams: Rows side by side; changes no valid result. `auto` chooses from the length of the text and the layers.
        kernel: What runs the recurrent layers: `layers`, the model's own code; `hoisted`, the same formulas with all
            that does not depend on the state taken out of the loop over time; `auto` chooses from sizes.
        tolerance: When two states count as equal, as |Δ| / (1 + |s|) in every unit; 0 asks for equality.
        seed: Which row is audited.
        fit_on: Text on which baselines that learn are fitted (unigram).
        fit_part: Which characters of it, as `part`; by default all. They may not overlap those that are scored.
        losses: Where to write one row a scored token, as Parquet.
        states: Whether to sum up the states of every layer: about a tenth of the time.
        check: Whether to look at the wiring first; a leak makes the run not valid.
        declare: What the author means on purpose, for the check: `causal=false`, `stateless=LAYER`, …
        progress: Called with tokens scored and tokens in all.
        command: What to record as the command that repeats it.
        reader: Who reads the text in the place of this process: see `rnneval.sweeps.distributed.workers_reading`.

    Returns:
        The run record; `valid` is False where the wiring leaks the future or the batch, where the model draws
        random numbers with training=False, or where a loss is not finite.

    Raises:
        UsageError: an option's value is not known, or a baseline would be fitted on text that is scored.
        TextError: the text is missing, empty, not UTF-8, or has characters that the vocabulary lacks.
        VocabularyError: the model has no vocabulary.
        CheckpointError: the model gives a token the probability 0, or raises.
    """
    options = TextOptions(
        part=part, normalize=normalize, newlines=newlines, documents=documents, unknown=unknown, tokens=tokens
    )
    stateful = StateOptions(state=state, segment=segment, window=lm.window, pad=pad)
    how = Streaming(streams=streams, tolerance=tolerance, seed=seed, progress=progress, kernel=kernel)
    if lm.vocabulary is None:
        raise VocabularyError(lm.why_no_vocabulary or "the model has no vocabulary: give one (--vocab, --vocab-from)")
    if fit_part is not None and fit_on is None:
        raise UsageError(f"--fit-part {fit_part} is a part of the text that --fit-on names: give --fit-on TEXT")
    require_apart(named("losses", losses), [*inputs_of(lm, text), *named("fit_on", fit_on)])
    whole = lm.window is None  # a window model is given the past alone, and has no state to wire or to look at
    sound = precheck_wiring(lm, declare, seed=seed) if check and whole else UNCHECKED
    with encode(text, lm.vocabulary, options) as encoded:
        fit_options = replace(options, part=fit_part, part_option="--fit-part")
        fitted = None if fit_on is None else _counts(lm, fit_on, fit_options, encoded)
        if sound.leaks:
            # What such a model gives depends on how the text is divided, and on what stands behind its end.
            how = replace(how, streams=1, padded=False)
            stateful = replace(stateful, segment=stateful.segment or LEAK_SEGMENT)
            reader = None
        watch = StateWatch(encoded) if states and whole and reader is None else None
        reading = Reading(
            measured=measure(lm, encoded, stateful, how, losses=losses, watch=watch, reader=reader),
            states=watch.finish() if watch is not None else _UNSEEN if states and whole else None,
            sound=sound,
            token_by_token=_token_by_token(lm, encoded, sound, how) if sound.leaks else None,
        )
        return run_record(lm, encoded, options, reading, fitted=fitted, command=command)


_UNSEEN = States(summaries={}, missing={"any layer": "several processes read the text (--jobs, --scheduler)"}, every=1)


def _token_by_token(lm: RecurrentLM, text: EncodedText, sound: WiringPrecheck, how: Streaming) -> float | None:
    """Predictions that see the rest of their segment see nothing of it when it is one token long.

    Then rows may stand side by side again, unless they see one another.
    """
    streams = 1 if "batch-leak" in sound.leaks else "auto"
    single = StateOptions(state="carry", segment=1)
    return measure(lm, text, single, replace(how, streams=streams)).total_nats


def _counts(lm: RecurrentLM, paths: Paths, options: TextOptions, scored: EncodedText) -> NDArray[np.int64]:
    """Count how often each id occurs in a text, `(V,)`; nothing of it may be scored."""
    assert lm.vocabulary is not None  # noqa: S101 - looked at by the caller
    counts = np.zeros(lm.width, np.int64)
    with encode(paths, lm.vocabulary, options) as encoded:
        refuse_overlap(encoded.taken, scored.taken)
        for start in range(0, encoded.tokens, 1 << 16):
            piece = encoded.read(start, min(start + (1 << 16), encoded.tokens))
            counts += np.bincount(piece.ids, minlength=lm.width)
    return counts
