"""Documents of comparisons: the verdict of a gate, and ranked runs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rnneval.gates.explanation import in_per_cent, number, scope
from rnneval.gates.ranking import Ranking, Row
from rnneval.gates.token_losses import LossComparison
from rnneval.records import Gate
from rnneval.records.gate import Comparison, Counting
from rnneval.render.document import (
    KINDS,
    Block,
    Cell,
    Fact,
    Facts,
    Heading,
    Item,
    Items,
    Notice,
    Paragraph,
    Table,
    Verdict,
    code,
    row,
)
from rnneval.render.phrasing import figure, listed, optional, per_cent, signed

HEADINGS = ("metric", "baseline", "candidate", "difference", "95 % bounds", "allowed", "verdict")
_EXCERPT = 60


# Gate


def gate_document(gate: Gate) -> Iterator[Block]:
    """Write the comparisons, the reason of each, the warnings, and the verdict."""
    if headline(gate):
        yield Paragraph(text=headline(gate))
    yield from gate_blocks(gate)
    yield Verdict(kind=KINDS[gate.verdict], word=gate.verdict)


def gate_blocks(gate: Gate) -> Iterator[Block]:
    """Yield what every surface shows between the headline and the verdict."""
    yield Table(
        caption="What was compared",
        head=HEADINGS,
        rows=tuple(
            row(*line(comparison)[:-1], Cell(text=comparison.verdict, kind=KINDS[comparison.verdict]))
            for comparison in gate.comparisons
        ),
        right=(1, 2, 3, 4, 5),
        note="Bounds are one-sided: with 95 % certainty the difference is above the lower, and also below the upper.",
    )
    if gate.comparisons:
        yield Items(
            rows=tuple(
                Item(title=each.metric, text=each.reason, details="; ".join(details(each)) or None)
                for each in gate.comparisons
            )
        )
    if gate.counting:
        yield counting_table(gate.counting)
    for warning in gate.warnings:
        yield Notice(kind="unsure", title="warning", text=warning)


def counting_table(counted: Sequence[Counting]) -> Table:
    """Return runs beside the best n-gram of each."""
    rows = []
    for each in counted:
        low, high = each.low, each.high
        bounds = "–" if low is None or high is None else f"{signed(low)} … {signed(high)}"
        kind = KINDS[{"better": "pass", "worse": "fail"}.get(each.verdict, each.verdict)]
        verdict = Cell(text=each.verdict, kind=kind)
        rows.append(row(code(each.run), each.ngram, signed(each.difference), bounds, verdict, each.standing))
    return Table(
        caption="Better than counting?",
        head=("run", "best n-gram", "nats a token", "95 % interval", "", "mean loss"),
        rows=tuple(rows),
        right=(2, 3),
        note="Model − n-gram, paired on the same tokens: below 0, the model is better than counting its training text.",
    )


def details(comparison: Comparison) -> list[str]:
    """Return what a verdict is about, and how the interval was computed."""
    return [part for part in (about(comparison), method(comparison)) if part not in ("", "none", "limit")]


class Line(NamedTuple):
    """One comparison as text, a cell for each heading."""

    metric: str
    baseline: str
    candidate: str
    difference: str
    bounds: str
    allowed: str
    verdict: str


def line(comparison: Comparison) -> Line:
    """Write one comparison."""
    metric, is_limit = comparison.metric, comparison.baseline == "limit"
    unit = "" if is_limit or in_per_cent(metric) else f" ({comparison.unit})"
    return Line(
        metric=f"{comparison.title}{unit}",
        baseline=optional(comparison.baseline_value),
        candidate=optional(comparison.candidate_value),
        difference=_difference(metric, comparison.difference),
        bounds=_bounds(metric, comparison.low, comparison.high),
        allowed=optional(comparison.allowed) if is_limit else _difference(metric, comparison.allowed),
        verdict=comparison.verdict,
    )


def _difference(metric: str, value: float | None) -> str:
    return "–" if value is None else number(metric, value)


def _bounds(metric: str, low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{_difference(metric, low)} … {_difference(metric, high)}"


def headline(gate: Gate) -> str:
    """Name candidate and baseline; "" for limits alone."""
    first = next((each for each in gate.comparisons if each.baseline != "limit"), None)
    return f"{first.candidate} against {first.baseline}" if first else ""


def about(comparison: Comparison) -> str:
    """Say what a verdict is about; "" for limits and where there is no verdict."""
    return scope(comparison.about, comparison.claim) if comparison.claim else ""


def method(comparison: Comparison) -> str:
    """Say how the interval was computed."""
    if comparison.df is None:
        return comparison.method
    return f"{comparison.method}, {comparison.df:.3g} degrees of freedom, level {comparison.level:.3g}"


# Ranking


def ranking_document(ranking: Ranking) -> Iterator[Block]:
    """Write the runs, best first, and the blocks in which the last run given differs most from the first."""
    yield from ranking_blocks(ranking)
    if ranking.blocks:
        table = changes_table(ranking)
        yield Heading(text=f"{table.caption}: nats in a block of text")
        yield table


def ranking_blocks(ranking: Ranking) -> Iterator[Block]:
    """Yield the ranked runs and the warnings about each."""
    yield Table(
        caption="Best first",
        head=("run", ranking.metric, "to the best", "95 % interval", "parameters", "tokens/s", ""),
        rows=tuple(_run(run, ranking.metric) for run in ranking.rows),
        right=(1, 2, 3, 4, 5),
    )
    if usual := [f"{figure(run.usual)} ({run.name})" for run in ranking.rows if run.usual is not None]:
        values = "" if ranking.usual == ranking.metric else f": {listed(usual, 6)}"
        yield Paragraph(text=f"the usual score for these tokens is {ranking.usual}{values}", muted=True)
    for run in ranking.rows:
        for mark in run.marks:
            yield Notice(kind="unsure", title=run.name, text=mark)
    if ranking.counting:
        yield counting_table(ranking.counting)
    methods = dict.fromkeys(f"{run.method} ({run.claim})" for run in ranking.rows if run.method and run.claim)
    if methods:
        unit = "" if in_per_cent(ranking.metric) else f"differences in {ranking.unit}; "
        said = f"{unit}intervals: {'; '.join(methods)}; other seeds were not tested"
        yield Paragraph(text=said, muted=True)


def _run(run: Row, metric: str) -> tuple[Cell, ...]:
    marks = "; ".join(mark.split(":")[0] for mark in run.marks)
    return row(
        code(run.name),
        optional(run.value),
        _difference(metric, run.difference),
        _bounds(metric, run.low, run.high),
        optional(run.parameters, ","),
        optional(run.tokens_per_second, ",.0f"),
        Cell(text=marks, kind="fail" if marks else None),
    )


def losses_document(found: LossComparison) -> Iterator[Block]:
    """Write where the losses of two tables differ, by how much, and for how many tokens."""
    yield Heading(text=f"{found.candidate} against {found.baseline}")
    places = [("largest difference", found.largest)]
    if found.first is not None:
        places.insert(0, (f"first beyond {found.within:g}", found.first))
    yield Table(
        caption="Places",
        head=("", "token", "bytes", "baseline", "candidate", "difference (nats)", "text" if found.largest.text else ""),
        rows=tuple(
            row(
                name, f"{each.token:,}", f"{each.byte_start:,}–{each.byte_end:,}", figure(each.baseline),
                figure(each.candidate), signed(each.difference, "+.3g"), " ".join((each.text or "").split()),
            )
            for name, each in places
        ),
        right=(1, 2, 3, 4, 5),
    )  # fmt: skip
    quantiles = ", ".join(f"{per_cent(float(share))} within {nats:.3g}" for share, nats in found.quantiles.items())
    rows = [
        ("tokens", f"{found.tokens:,}, {found.beyond:,} of them differ by more than {found.within:g} nats"),
        ("differences", f"{quantiles} nats; mean {signed(found.mean, '+.3g')} nats a token"),
    ]
    yield Facts(rows=tuple(Fact(name=name, text=text) for name, text in rows))


def changes_table(ranking: Ranking) -> Table:
    """Return the blocks of text in which two runs differ most."""
    rows = []
    for block in ranking.blocks:
        text = " ".join((block.text or "").split())
        short = text if len(text) <= _EXCERPT else f"{text[: _EXCERPT - 1]}…"
        differences = signed(block.nats, "+.4g"), signed(block.nats / block.units, "+.3g")
        rows.append(row(*differences, f"{block.start:,}–{block.end:,}", Cell(text=text, short=short)))
    return Table(
        caption=f"Where {ranking.candidate} gains (−) and loses (+) most against {ranking.baseline}",
        head=("nats", "a unit", "bytes", "text" if any(cells[-1].text for cells in rows) else ""),
        rows=tuple(rows),
        right=(0, 1, 2),
    )
