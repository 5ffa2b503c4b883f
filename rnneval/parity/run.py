"""`rnneval.parity`: a candidate against a reference on one text, each in its own calls, the state carried."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from rnneval.errors import CheckpointError
from rnneval.evaluate.check import check, fails
from rnneval.evaluate.losses import Losses, add_up
from rnneval.evaluate.plan import SEGMENT
from rnneval.evaluate.record import scored_text
from rnneval.evaluate.run import with_vocabulary
from rnneval.gates.clusters import mean_of
from rnneval.models.protocol import LanguageModel, require_carried
from rnneval.models.wrapping import language_model
from rnneval.options import ParityOptions, Paths, by_keyword
from rnneval.parity import statistics
from rnneval.parity.departure import first_departure
from rnneval.parity.reading import (
    CalledModel,
    SelfReading,
    TokenColumns,
    compared,
    floor_readings,
    in_type,
    read_columns,
    rounded_reading,
    same_ids,
)
from rnneval.parity.verdict import LEAST_LIMIT, TIMES_FLOOR, is_large, judge
from rnneval.processes import one_thread
from rnneval.records.parity import Floor, FloorReading, KlPlace, Parity, Ratio
from rnneval.records.run import VocabularyRecord, Warning  # noqa: A004 - the record's own word
from rnneval.text import EncodedText, TextOptions, encode, text_given

_RESTARTS = 128  # places at which both models begin anew, for calls that are too short to have a start and an end
_BATCHES = 8
_FAR_ABOVE = 1e6  # KL of other calls over that of moved numbers: rounding moves logits less than a thousand times more


@by_keyword(ParityOptions)
def parity(reference: Any, candidate: Any, text: Paths | None = None, *, options: ParityOptions) -> Parity:
    """Compare a candidate with its reference on held-out text, token by token, both with the state carried.

    Args:
        reference: Model that is right, as `rnneval.evaluate` takes it.
        candidate: Port, export or other precision of it; or the reference itself, read in another way.
        text: One or more files of UTF-8 text, joined in this order; or give `string`.
        options: Keyword arguments, each a field of `ParityOptions`.

    Returns:
        The record; its `verdict` is `pass`, `fail`, `inconclusive` or `not comparable`, and its `reason` says why.

    Raises:
        VocabularyError: the models have other tokens.
        CheckpointError: the reference fails the wiring check, or a model raises.
        UsageError, TextError: as `rnneval.evaluate`.
    """
    return compare_models(reference, candidate, text, options)


@one_thread()
def compare_models(reference: Any, candidate: Any, text: Paths | None, options: ParityOptions) -> Parity:
    """Do what `parity` does."""
    segment = options.ref_segment or SEGMENT
    one = language_model(reference, options.vocabulary, "parity")
    other = one if candidate is reference else language_model(candidate, None, "parity")
    if other.vocabulary is None and one.vocabulary is not None:
        other = replace(other, vocabulary=one.vocabulary.fit(other.width))
    for lm in (one, other):
        require_carried(lm, "compare")
    one, vocabulary = with_vocabulary(one, options.tokens)
    ids = same_ids(vocabulary, other.vocabulary)
    if ids is None and one.width != other.width:
        raise CheckpointError(
            f"the reference has {one.width:,} logits, the candidate {other.width:,}: both need the same"
        )
    _require_right(one, segment, options)
    first = CalledModel(
        lm=in_type(one, options.ref_dtype, "--ref-dtype"),
        segment=segment,
        carries=options.ref_state == "carry",
        dtype=options.ref_dtype,
    )
    second = CalledModel(
        lm=in_type(other, options.cand_dtype, "--cand-dtype"),
        segment=options.cand_segment or segment,
        carries=options.cand_state == "carry",
        dtype=options.cand_dtype,
        ids=ids,
    )
    read_as = TextOptions.of(options)
    with encode(text_given(text, options.string), vocabulary, read_as) as encoded:
        floor, warnings = _rounding_alone(floor_readings(first, encoded))
        tie = max((each.columns.lost for each in floor), default=0.0)
        (columns,) = read_columns(first, [second], encoded, tie=tie)
        if not one.repeatable:  # NaN is no equal of NaN: said of finite losses alone
            raise CheckpointError(f"{one.checkpoint.title}: equal calls give other logits: it is no reference")
        record = _record(first, second, encoded, read_as, columns=columns, floor=floor, options=options)
        record = msgspec.structs.replace(record, warnings=(*record.warnings, *warnings))
        columns = replace(columns, nats=columns.nats[:0].copy())  # frees memory for the quantiles of KL
        if columns.not_finite is not None:
            token = columns.token_at(columns.not_finite)
            reason = (
                f"the candidate's logits at token {token:,} are not finite, or give probability 0 to what the "
                "reference does not"
            )
            return msgspec.structs.replace(record, verdict="fail", fault="not finite", reason=reason)
        of_floor = [each.columns for each in floor]
        return _judged(record, first, second, text=encoded, columns=columns, floor=of_floor, seed=options.seed)


def _require_right(lm: LanguageModel, segment: int, options: ParityOptions) -> None:
    """Refuse a reference that fails the wiring check in calls of so many tokens."""
    wiring = check(lm, declare=options.declare, seed=options.seed) if options.check else None
    if wiring is not None and fails(wiring, segment):
        raise CheckpointError(
            f"{lm.checkpoint.title}: fails the wiring check ({wiring.reason}): it is no reference; rnneval check shows "
            "where, and --declare says what is meant"
        )


def _rounding_alone(readings: list[SelfReading]) -> tuple[list[SelfReading], list[Warning]]:
    """Leave out readings that are not finite, or that moved numbers do not explain: there the reference is wrong.

    Raises:
        CheckpointError: no reading is finite, so nothing is known of the rounding of the reference.
    """
    finite = [each for each in readings if each.columns.not_finite is None]
    if readings and not finite:
        kinds = ", ".join(each.kind for each in readings)
        raise CheckpointError(f"the reference's logits are not finite in {kinds}: its rounding cannot be measured")
    of_numbers = [float(each.columns.kl.max()) for each in finite if not each.in_other_calls]
    most = _FAR_ABOVE * max([*of_numbers, LEAST_LIMIT]) if of_numbers else np.inf
    rounding, warnings = [], []
    for each in readings:
        largest = each.columns.kl.max() if each in finite else np.nan
        if largest <= most:
            rounding.append(each)
            continue
        by = f"differs from itself in {each.kind} by {largest:.1e} nats, which is no rounding"
        message = by if each in finite else f"has logits that are not finite in {each.kind}"
        message = f"the reference {message}: not in the floor; see rnneval check"
        warnings.append(Warning(code="parity-floor", message=message))
    return rounding, warnings


def _record(
    first: CalledModel,
    second: CalledModel,
    text: EncodedText,
    read_as: TextOptions,
    *,
    columns: TokenColumns,
    floor: list[SelfReading],
    options: ParityOptions,
) -> Parity:
    """Return the record with what does not depend on the candidate's numbers."""
    run = scored_text(text, read_as, add_up(Losses(text=text, unscored=1, nats=columns.nats), first.lm.width),
                      state="state:carry", base={})  # fmt: skip
    readings = tuple(
        FloorReading(
            kind=each.kind, mean=float(each.columns.kl.mean(dtype=np.float64)), largest=float(each.columns.kl.max())
        )
        for each in floor
    )
    largest = max((each.largest for each in readings), default=0.0)
    warnings = [each for each in run.warnings if each.code != "no-score"]
    if not largest:
        message = "the reference agrees with itself to the last digit: the limit of rounding is that of float32"
        warnings.append(Warning(code="parity-floor", message=message))
    elif (half := first.dtype or first.lm.checkpoint.dtype) in ("float16", "bfloat16"):
        message = f"the reference is in {half}: a difference of {TIMES_FLOOR * largest:.1e} nats or less cannot be seen"
        warnings.append(Warning(code="parity-floor", message=message))
    documents = text.document_stops - text.document_starts - 1
    hand_overs = int(((documents - 1) // second.segment).sum()) if second.carries else 0
    return Parity(
        rnneval=run.rnneval,
        created=run.created,
        command=tuple(options.command),
        verdict="inconclusive",
        reason="",
        signature=run.signature,
        reference=first.record,
        candidate=second.record,
        vocabulary=VocabularyRecord.of(first.lm.vocabulary),
        text=run.text,
        tokens=len(columns.kl),
        floor=Floor(
            tokens=max((len(each.columns.kl) for each in floor), default=0),
            readings=readings,
            limit=max(TIMES_FLOOR * largest, LEAST_LIMIT),
            margin=max((each.columns.lost for each in floor), default=0.0),
        ),
        max_kl=options.max_kl,
        allowed_loss=options.allowed_loss,
        hand_overs=hand_overs,
        worst=(),
        interval=run.interval,
        blocks=run.blocks,
        warnings=tuple(warnings),
    )


def _judged(
    record: Parity,
    first: CalledModel,
    second: CalledModel,
    *,
    text: EncodedText,
    columns: TokenColumns,
    floor: list[TokenColumns],
    seed: int,
) -> Parity:
    """Return the record with all statistics and the verdict."""
    assert record.blocks is not None  # noqa: S101 - `_record` made them
    limit = record.floor.limit
    rounding = limit / TIMES_FLOOR
    blocks = msgspec.structs.replace(
        record.blocks, sums={name: tuple(each.tolist()) for name, each in columns.sums.items()}
    )
    kl = mean_of(blocks, blocks.sums["kl"], "nats a token")
    above = columns.kl > limit
    first_above = int(above.argmax()) if above.any() else None
    first_hand_over = columns.first_position(second.segment)
    places = statistics.worst_places(columns.kl, limit) if first_above is not None else []
    ratio = restarts = rounded_restarts = None
    if first_above is not None and first_hand_over is not None:
        if second.segment > statistics.START:
            ratio = statistics.start_over_end(columns, second.segment, blocks, rounding)
        else:
            restarts = _restarts(first, second, text, columns, rounding=rounding, seed=seed)
            if is_large(restarts) and (rounded := rounded_reading(first, second.segment, text)) is not None:
                rounded_restarts = _restarts(first, rounded[0], text, rounded[1], rounding=rounding, seed=seed)
    worst = columns.token_at(int(columns.kl.argmax()))
    kl_summary = statistics.divergence(columns.kl, kl, at=worst, byte=_byte(text, worst))
    loss = mean_of(blocks, np.subtract(blocks.sums["nats_cand"], blocks.sums["nats_ref"]), "nats a token")
    record = msgspec.structs.replace(
        record,
        kl=kl_summary,
        same_top=mean_of(blocks, blocks.sums["same"], "share"),
        largest_margin_lost=columns.lost,
        loss=loss,
        first_above=first_above,
        first_hand_over=first_hand_over,
        in_call=statistics.along_call(columns, second.segment, floor),
        start_over_end=ratio,
        restarts=restarts,
        rounded_restarts=rounded_restarts,
        growth=statistics.growth(columns, rounding),
        by_position=statistics.along_text(columns, floor),
        worst=tuple(
            KlPlace(token=token, byte=_byte(text, token), kl=mean)
            for token, mean in ((columns.token_at(at), mean) for at, mean in places)
        ),
        reset_period=statistics.period_of([start for start, _ in places]),
        departure=first_departure(first, second, text, columns, first_above) if first_above is not None else None,
        blocks=blocks,
    )
    judgement = judge(record, kl_summary, loss)
    warned = tuple(Warning(code="parity-state", message=message) for message in judgement.warnings)
    return msgspec.structs.replace(
        record,
        verdict=judgement.verdict,
        fault=judgement.fault,
        reason=judgement.reason,
        warnings=(*record.warnings, *warned),
    )


def _byte(text: EncodedText, token: int) -> int:
    return int(text.read(token, token + 1).byte_start[0])


def _restarts(
    first: CalledModel, second: CalledModel, text: EncodedText, columns: TokenColumns, *, rounding: float, seed: int
) -> Ratio | None:
    """Return mean KL with the state carried over that of the first call after a restart, at the same tokens."""
    length = second.segment
    calls = np.maximum(columns.lengths // length - 1, 0)  # whole calls of each document that read a state
    ends, starts = np.cumsum(calls), np.cumsum(columns.lengths) - columns.lengths
    if ends[-1] < _BATCHES:
        return None
    chosen = np.sort(np.random.default_rng(seed).choice(ends[-1], min(_RESTARTS, ends[-1]), replace=False))
    document = np.searchsorted(ends, chosen, side="right")
    fresh, carried = [], []
    for at in (starts[document] + (chosen - (ends - calls)[document] + 1) * length).tolist():
        start = columns.token_at(at) - 1
        ((block,),) = compared(first, [second], text.ids(start, start + length + 1))
        fresh.append(block.kl.mean())
        carried.append(columns.kl[at : at + length].mean(dtype=np.float64))
    return statistics.ratio_of_groups(np.array(carried), np.array(fresh), rounding, _BATCHES)
