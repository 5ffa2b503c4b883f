"""`rnneval.evaluate`: measure a model on a text, and return a run record; diagnoses read a text by `held_out`.

The way of a text: it is encoded (`rnneval.text`), divided over rows (`plan`), read exactly (`stitch`, `rows`) into a
table of losses (`losses`), added up, and made a record (`record`).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import numpy as np

from rnneval.errors import CheckpointError, UsageError, VocabularyError
from rnneval.evaluate.baselines import fit
from rnneval.evaluate.check import check, depends_on_cut, fails, require_explained, rows_apart
from rnneval.evaluate.losses import Losses, Observations, add_up, require_losses_fit, write_losses
from rnneval.evaluate.plan import SEGMENT, Streaming, chunk_ends, divided, shape_for
from rnneval.evaluate.record import Measured, run_record
from rnneval.evaluate.rows import RowReader, TextReader
from rnneval.evaluate.span import KeptStates
from rnneval.evaluate.states import StateWatch
from rnneval.evaluate.stitch import Stitched, Stitching
from rnneval.evaluate.watch import Watch
from rnneval.models.protocol import LanguageModel, Shape, require_carried
from rnneval.models.wrapping import language_model
from rnneval.option import option
from rnneval.options import DiagnosticOptions, EvaluateOptions, GivenGroup, by_keyword
from rnneval.paths import Places, checkpoint_files, require_apart
from rnneval.processes import one_thread
from rnneval.records.run import Run
from rnneval.records.wiring import Wiring
from rnneval.text import EncodedText, InMemory, Paths, TextOptions, Vocabulary, encode, text_given

_PART = 4096  # tokens of the part that is read twice to see how far half precision moves with the cut
_SEGMENT = 100  # for a model whose scores depend on it, as in training, unless --segment says otherwise


class ReaderOptions(GivenGroup, EvaluateOptions):
    """Options of `evaluate`, with those that only Python has."""

    reader: TextReader | None = option(None, flag="")
    """TextReader of the text in place of this process, from `rnneval.evaluate.chunks.reader_over`."""
    fit_string: str | None = option(None, flag="")
    """Training text on which the baselines that learn are fitted, in place of the files of `fit_on`."""


@by_keyword(ReaderOptions)
def evaluate(lm: LanguageModel, text: Paths | None = None, *, options: ReaderOptions) -> Run:
    """Measure a model on held-out text: every token accounted for, the state carried.

    Args:
        lm: Model from `rnneval.open`, `rnneval.wrap` or `rnneval.from_step`; a Keras model or PyTorch module, which is
            wrapped. It has a vocabulary, or `vocabulary` is given.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `ReaderOptions`.

    Returns:
        The run record; `valid` is False where the model fails the wiring check, where it draws random numbers with
        training=False, or where a loss is not finite.

    Raises:
        UsageError: an option's value is not known, or a baseline would be fitted on text that is scored.
        TextError: the text is missing, empty, not UTF-8, or has characters that the vocabulary lacks.
        VocabularyError: the model has no vocabulary.
        CheckpointError: the model gives a token the probability 0, or raises.
    """
    return evaluated(language_model(lm, options.vocabulary, "evaluate"), text_given(text, options.string), options)


def evaluated(lm: LanguageModel, text: Paths | InMemory, options: ReaderOptions, wiring: Wiring | None = None) -> Run:
    """Do what `evaluate` does; `wiring` is a check of this very model that the caller has just made."""
    lm, vocabulary = with_vocabulary(lm, options.tokens)
    read_as, how = TextOptions.of(options), Streaming.of(options, window=lm.window)
    carried = lm.window is None  # a window model is given the past alone, and has no state to wire or to look at
    if options.reset_every is not None and not carried:
        raise UsageError(f"{options.reset_by}: a window model knows nothing but the last {lm.window} tokens anyway")
    require_apart({"losses": options.losses}, {**inputs_of(lm, text), "fit_on": options.fit_on})
    fit_on = options.fit_on if options.fit_string is None else text_given(options.fit_on, options.fit_string)
    with one_thread(lm.checkpoint.parameters), encode(text, vocabulary, read_as) as encoded:
        fitted = fit(options, fit_on, read_as, vocabulary, encoded, width=lm.width, unscored=how.unscored)
        if wiring is None and carried and options.check:
            wiring = check(lm, declare=options.declare, seed=options.seed)
        require_explained(lm, wiring)
        reader = None if depends_on_cut(wiring) else options.reader
        watch = StateWatch(encoded) if options.states and carried else None
        exact = _exact(wiring, how)
        measured = measure(lm, encoded, exact, losses=options.losses, watch=watch, reader=reader)
        other_cut = beside = None
        if fails(wiring, measured.read.shape.segment):
            other_cut = measure(lm, encoded, replace(exact, fixed_segment=_SEGMENT if exact.fixed_segment == 1 else 1))
        if options.reset_every is not None:
            resets = replace(how, state="reset", segment=options.reset_every)
            beside = options.reset_every, measure(lm, encoded, _exact(wiring, resets), reader=reader)
        run = run_record(
            lm,
            encoded,
            read_as,
            measured,
            wiring=wiring,
            watch=watch,
            fitted=fitted,
            other_cut=other_cut,
            beside=beside,
            trained_at=options.trained_at,
            cut_noise=_cut_noise(lm, encoded) if carried and lm.checkpoint.dtype.endswith("float16") else None,
        )
    return msgspec.structs.replace(run, command=tuple(options.command))


def inputs_of(lm: LanguageModel, text: Paths | InMemory) -> Places:
    """Return the files that a model and a text come from, which no output may replace."""
    checkpoint = checkpoint_files(lm.checkpoint.path) if lm.checkpoint.path else []
    return {"the checkpoint": checkpoint, "the text": None if isinstance(text, InMemory) else text}


def with_vocabulary(lm: LanguageModel, tokens: str | None) -> tuple[LanguageModel, Vocabulary]:
    """Return a model with its vocabulary, and the vocabulary; ids of bytes need none to be given."""
    vocabulary = lm.vocabulary
    if vocabulary is None and tokens == "byte" and lm.width == 256:
        vocabulary = Vocabulary.from_bytes()
        return replace(lm, vocabulary=vocabulary), vocabulary
    if vocabulary is None:
        missing = (
            lm.why_no_vocabulary
            or "the model has no vocabulary: give vocabulary=…, such as sorted(set(text)) of its training text"
        )
        if tokens == "byte":
            missing += (
                f"; --tokens byte alone is for 256 outputs, and there are {lm.width:,}: a vocabulary of bytes is a "
                "list of numbers from 0 to 255 in the order of their ids, such as [10, 32, 97]"
            )
        raise VocabularyError(missing)
    return lm, vocabulary


def _exact(wiring: Wiring | None, how: Streaming) -> Streaming:
    """Return `how`; where scores depend on the cut, with fixed segments, no padding, and one row if rows may mix."""
    if not depends_on_cut(wiring):
        return how
    return replace(
        how, fixed_segment=how.segment or _SEGMENT, streams=how.streams if rows_apart(wiring) else 1, padded=False
    )


def _cut_noise(lm: LanguageModel, text: EncodedText) -> float | None:
    """Return how far rows and segment move the loss, in nats a token: the difference of two readings of a part.

    Two standard errors are added to its size; None of a text without a document of 64 predictions.
    """
    longest = int((text.document_stops - text.document_starts).argmax())
    start, stop = int(text.document_starts[longest]), int(text.document_stops[longest])
    segments = (64, 16)
    count = min(stop - start - 1, _PART) // segments[0] * segments[0]
    readings = []
    for segment, rows in zip(segments, (1, 4 if lm.mixable else 1), strict=True) if count else ():
        scorer, states = lm.scorer(Shape(rows=rows, segment=segment)), np.repeat(lm.start()[None], rows, axis=0)
        nats = []
        for at in range(start, start + count, segment):
            ids = np.repeat(text.ids(at, at + segment + 1)[None], rows, axis=0)
            stepped = scorer.score(ids[:, :-1], ids[:, 1:], states, rows)
            states = stepped.states[:rows]
            nats.append(stepped.predicted.nats[0, :segment])
        readings.append(np.concatenate(nats).astype(np.float64))
    if not readings:
        return None
    differences = readings[0] - readings[1]
    return float(abs(differences.mean()) + 2 * differences.std() / np.sqrt(count))


# One reading of the text


def measure(
    lm: LanguageModel,
    text: EncodedText,
    how: Streaming,
    *,
    losses: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
    reader: TextReader | None = None,
) -> Measured:
    """Read a text, in this process or by a reader, add up its losses, and write them to a table if it has a path."""
    if losses is not None:
        require_losses_fit(losses, text)
    observations = Observations(lm, 0, text.tokens)
    began = time.perf_counter()
    read = (reader or read_text)(lm, text, how, observations, watch)
    seconds = time.perf_counter() - began
    table = Losses(text=text, unscored=how.unscored, **observations.get(0, text.tokens)._asdict())
    sums = add_up(table, lm.width)
    place = sums.not_finite
    if place is not None and lm.output_kind == "probabilities" and place.value == np.inf:
        raise CheckpointError(
            f"the model gives probability 0 to token {place.token} (byte {place.byte} of the text): its loss is "
            "infinite; give logits instead, or make the softmax a layer, which rnneval can leave out"
        )
    if losses is not None:
        model = {"rnneval.checkpoint": lm.checkpoint.sha256, "rnneval.model": lm.checkpoint.identity}
        write_losses(table, losses, {"rnneval.text": text.sha256, **model})
    return Measured(read=read, sums=sums, state=how.signature, seconds=seconds)


def read_text(
    lm: LanguageModel, text: EncodedText, how: Streaming, observations: Observations, watch: Watch | None
) -> Stitched:
    """Read a text in this process, or in others beside it where that ends sooner."""
    spans, segment, carries = how.spans(text), how.asked_segment, how.state == "carry"
    is_long = len(chunk_ends(spans.predictions, lm.checkpoint.parameters)) > 1
    if lm.backend == "numpy" and how.streams == "auto" and is_long:
        from rnneval.evaluate.chunks import read_beside

        if (read := read_beside(lm, text, how, observations, watch)) is not None:
            return read
    if not (carries or lm.mixable):  # rows that cannot start at different times begin anew together
        segment = how.segment
    rows = how.rows(lm, spans.predictions, apart=not carries)
    shape = shape_for(spans, lm.width, rows=rows, segment=segment, chunk=lm.chunk)
    spans, audited = divided(spans, shape, seed=how.seed) if carries else (spans, None)
    shape = replace(shape, rows=min(shape.rows, max(1, len(spans))))
    steps = shape  # of the reader: where no states are compared, a step may hold many calls of one token
    if lm.backend == "step" and shape.segment == 1 and not spans.continues.any():
        lm, steps = replace(lm, every_token=True), replace(shape, segment=SEGMENT)
    scorer = lm.scorer(steps, padded=how.padded, sees=watch.sees if watch else "losses")
    states = KeptStates(np.flatnonzero(spans.continues).tolist(), lm.start(), watch.weight if watch else 0)
    report = how.reporter(spans.predictions)
    reader = RowReader(
        text, steps, scorer, observations=observations, states=states, watch=watch, padded=how.padded, progress=report
    )
    stitching = Stitching(reader.read, spans, shape, lm.start(), how.tolerance, audited=audited)
    return stitching.run(look_for_growth=True)


@contextmanager
def held_out(
    lm: LanguageModel, what: str, text_or_paths: Paths | InMemory, options: DiagnosticOptions
) -> Iterator[tuple[EncodedText, Wiring | None, Callable[[Watch], Run]]]:
    """Encode a text for a diagnosis and check the model's wiring; yield both, and what reads the text with a watch.

    A window model carries no state and is refused. The run record's `valid`, `wiring` and warnings say whether the
    model's states can be trusted.
    """
    require_carried(lm, what)
    read_as = TextOptions.of(options)
    lm, vocabulary = with_vocabulary(lm, options.tokens)
    with one_thread(lm.checkpoint.parameters), encode(text_or_paths, vocabulary, read_as) as text:
        wiring = check(lm, declare=options.declare, seed=options.seed) if options.check else None
        require_explained(lm, wiring)

        def read(watch: Watch) -> Run:
            how = Streaming.of(options)
            measured = measure(lm, text, _exact(wiring, how), watch=watch)
            states = watch if isinstance(watch, StateWatch) else None
            run = run_record(lm, text, read_as, measured, wiring=wiring, watch=states)
            return msgspec.structs.replace(run, command=tuple(options.command))

        yield text, wiring, read
