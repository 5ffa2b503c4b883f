"""Documents of parity records: one fact a line, and the verdict."""

from collections.abc import Iterator

from rnneval.records import Gate, Parity
from rnneval.records.gate import Comparison
from rnneval.records.parity import KlSummary, ParitySide, Ratio
from rnneval.render.document import KINDS, Block, VerdictBlock, facts
from rnneval.render.phrasing import counted, file_name, interval, number, per_cent, signed
from rnneval.render.run_document import warnings


def parity_document(record: Parity) -> Iterator[Block]:
    """Write the models, the floor, every statistic, and the verdict."""
    yield facts(_rows(record))
    yield from warnings(record.warnings)
    about = f"parity, {record.fault}" if record.fault else "parity"
    yield VerdictBlock(kind=KINDS[record.verdict], word=record.verdict, about=about, reason=record.reason)


def _rows(record: Parity) -> Iterator[tuple[str, str]]:
    yield "reference", side_name(record.reference)
    yield "candidate", side_name(record.candidate)
    floor = record.floor
    kinds = ", ".join(dict.fromkeys(each.kind for each in floor.readings))
    largest = max((each.largest for each in floor.readings), default=0.0)
    yield "floor", f"KL ≤ {largest:.1e} nats: the reference against itself ({kinds}), {counted(floor.tokens, 'token')}"
    if record.kl is None or record.loss is None or record.same_top is None:
        return
    yield "difference", first_in_words(record)
    yield "KL", _kl(record.kl)
    same, top = record.same_top, interval(record.same_top.low, record.same_top.high, lambda v: per_cent(v, ".2f"))
    margin = f"largest margin of the reference lost {number(record.largest_margin_lost or 0.0)} nats"
    yield "same top", f"{per_cent(same.value, '.2f')} · 95 % {top} · {margin}"
    bounds = interval(record.loss.low, record.loss.high, lambda value: signed(value, "+.2g"))
    yield "loss", f"{signed(record.loss.value, '+.2g')} nats a token · 95 % {bounds}"
    if record.start_over_end is not None:
        yield "in a call", f"{_ratio(record.start_over_end)} times as large at the start as at the end of a call"
    if record.restarts is not None:
        rounded = record.rounded_restarts
        right = "" if rounded is None else f"; {_ratio(rounded)} of the reference in bfloat16"
        yield "in a call", f"{_ratio(record.restarts)} times as large with the state carried as after a restart{right}"
    if record.growth is not None and record.first_above is not None:
        yield "growth", f"{_ratio(record.growth)}: last eighth of the text over the first"
    if record.worst:
        places = ", ".join(f"{each.token:,} ({each.kl:.2g})" for each in record.worst[:4])
        period = "" if record.reset_period is None else f"; {record.reset_period:,} tokens apart"
        yield "worst at", f"token {places}{period}"
    if record.departure is not None:
        each = record.departure
        other = "" if each.part == each.in_candidate else f" ({each.in_candidate} in the candidate)"
        how = f"states paired by {each.paired_by}"
        yield "departs", f"{each.part}{other} first, by {each.difference:.1e} after token {each.token:,}; {how}"


def side_name(side: ParitySide) -> str:
    """Return the model, its backend, type and calls."""
    state = "" if side.state == "carry" else ", each from the initial state"
    parts = (file_name(side.checkpoint.title), side.backend, side.dtype or side.checkpoint.dtype)
    return f"{' · '.join(filter(None, parts))} · calls of {counted(side.segment, 'token')}{state}"


def first_in_words(record: Parity) -> str:
    """Say where the first position above rounding is, and what it means."""
    first, hand_over, limit = record.first_above, record.first_hand_over, f"{record.floor.limit:.1e}"
    if first is None:
        return f"never above rounding ({limit})"
    where = "before any state is handed over"
    if hand_over is not None and first >= hand_over:
        where, segment = "in the first call that reads a state of the candidate's", record.candidate.segment
        if first >= hand_over + segment:
            where = f"after {hand_over // segment} or more hand-overs"
    return f"first above rounding ({limit}) at position {first:,}, {where}"


def _kl(kl: KlSummary) -> str:
    quantiles = f"median {kl.quantiles['50']:.2g} · 99 % {kl.quantiles['99']:.2g} · 99.9 % {kl.quantiles['99.9']:.2g}"
    bounds = interval(kl.low, kl.high, lambda value: f"{value:.2g}")
    return f"mean {kl.mean:.2g} · 95 % {bounds} · {quantiles} · largest {kl.largest:.2g} at token {kl.at:,}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.value:.2g} ({interval(ratio.low, ratio.high, lambda value: f'{value:.2g}')})"


def as_gate(record: Parity) -> Gate:
    """Return the verdict as that of a gate, for JUnit and for annotations."""
    kl = record.kl
    difference, low, high = (None, None, None) if kl is None else (kl.mean, kl.low, kl.high)
    comparison = Comparison(
        metric="parity", baseline=record.reference.checkpoint.title, candidate=record.candidate.checkpoint.title,
        unit="nats a token", difference=difference, low=low, high=high, allowed=record.max_kl,
        verdict=record.verdict, reason=record.reason, about="these checkpoints",
        method="mean KL" if record.interval is None else record.interval.method,
    )  # fmt: skip
    warnings = tuple(warning.message for warning in record.warnings)
    return Gate(verdict=record.verdict, reason=record.reason, comparisons=(comparison,), warnings=warnings)
