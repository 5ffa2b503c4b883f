"""Did a change help? Verdicts of `rnneval gate`, tables of `rnneval compare`."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from rnneval.gates.explanation import in_per_cent, number
from rnneval.gates.ranking import Ranking, Row, rank
from rnneval.gates.sides import Named
from rnneval.records import Gate, Run
from rnneval.records.gate import Comparison
from rnneval.render.gate_words import HEADINGS, about, line, method
from rnneval.render.report.anchors import anchor
from rnneval.render.report.blocks import Block, Cell, Fold, Notice, Paragraph, Part, Section, Table
from rnneval.render.report.given import Given, gates, rankings, together
from rnneval.render.report.pictures import pictures
from rnneval.render.report.words import KINDS

ORDER = 50
_SAID = {
    "pass": "Not worse than allowed",
    "fail": "Worse than allowed",
    "inconclusive": "Not settled by this text",
    "not comparable": "These numbers do not measure the same thing",
}


def section(given: Sequence[Given]) -> Section | None:
    """Every verdict and every table of compared runs."""
    parts = [_gate(number, each, gate) for number, (each, gate) in enumerate(gates(given))]
    written = rankings(given)
    ranked = written or [(each, _ranked(each.record)) for each in together(given)]
    parts += [_ranking(number, each, ranking) for number, (each, ranking) in enumerate(ranked)]
    if not parts:
        return None
    return Section(
        anchor="comparisons",
        title="Comparisons",
        lead="Whether a change helped: differences over the same text, with what chance alone could do.",
        blocks=tuple(parts),
    )


def _ranked(runs: Sequence[Run]) -> Ranking:
    """Rank runs that were given without a comparison of them."""
    paths = [run.checkpoint.path or "model in memory" for run in runs]
    short = [PurePath(path).name for path in paths]
    names = short if len(set(short)) == len(short) else paths
    return rank([Named(name=name, record=run) for name, run in zip(names, runs, strict=True)], blocks=0)


def _gate(number: int, given: Given, gate: Gate) -> Part:
    # The reason of the whole is that of one comparison, and stands below with the others.
    reason = "" if gate.comparisons else gate.reason
    blocks: list[Block] = [Notice(kind=KINDS[gate.verdict], title=_SAID[gate.verdict], text=reason)]
    blocks += pictures(given)
    blocks.append(_comparisons(gate.comparisons))
    blocks += [Paragraph(text=_reason(comparison)) for comparison in gate.comparisons]
    blocks += [Notice(kind="unsure", title="Take care", text=warning) for warning in gate.warnings]
    return Part(anchor=anchor("gate", number), title=_title(given, gate), blocks=tuple(blocks))


def _title(given: Given, gate: Gate) -> str:
    first = next((each for each in gate.comparisons if each.baseline != "limit"), None)
    return f"{first.candidate} against {first.baseline}" if first else given.label


def _comparisons(comparisons: Sequence[Comparison]) -> Table:
    rows = []
    for comparison in comparisons:
        *cells, verdict = line(comparison).cells
        rows.append((*map(_cell, cells), Cell(text=verdict, kind=KINDS[comparison.verdict])))
    note = "Bounds are one-sided: the truth lies above the lower with 95 % certainty, and below the upper likewise."
    return Table(
        caption="What was compared", head=("metric", *HEADINGS[1:]), rows=tuple(rows), right=(1, 2, 3, 4, 5), note=note
    )


def _cell(text: str) -> Cell:
    return Cell(text=text)


def _reason(comparison: Comparison) -> str:
    details = "; ".join(part for part in (about(comparison), method(comparison)) if part not in ("", "none", "limit"))
    return f"{comparison.metric}: {comparison.reason}{f' ({details})' if details else ''}."


def _ranking(number: int, given: Given, ranking: Ranking) -> Part:
    blocks: list[Block] = [*pictures(given, only=("comparison",)), _runs(ranking)]
    blocks += [Notice(kind="unsure", title=row.name, text=mark) for row in ranking.rows for mark in row.marks]
    blocks += _changes(ranking)
    told = tuple(row.name for row in ranking.rows if row.marks)
    more = [warning for warning in ranking.warnings if not warning.startswith(told)]
    blocks += [Notice(kind="unsure", title="Take care", text=warning) for warning in more]
    title = f"{len(ranking.rows)} runs, by {ranking.metric}"
    return Part(anchor=anchor("compare", number), title=title, blocks=tuple(blocks))


def _runs(ranking: Ranking) -> Table:
    methods = dict.fromkeys(f"{row.method} ({row.claim})" for row in ranking.rows if row.method and row.claim)
    said = f" Intervals: {'; '.join(methods)}; other seeds were not tested." if methods else ""
    unit = "per cent" if in_per_cent(ranking.metric) else ranking.unit
    return Table(
        caption="Best first",
        head=("run", ranking.metric, "to the best", "95 % interval", "parameters", "tokens/s"),
        rows=tuple(_run(row, ranking.metric) for row in ranking.rows),
        right=(1, 2, 3, 4, 5),
        note=f"Differences in {unit}.{said}",
    )


def _run(row: Row, metric: str) -> tuple[Cell, ...]:
    def difference(value: float | None) -> str:
        return "–" if value is None else number(metric, value)

    return (
        Cell(text=row.name, code=True, kind="unsure" if row.marks else None),
        Cell(text="–" if row.value is None else f"{row.value:.5g}"),
        Cell(text=difference(row.difference)),
        Cell(text="–" if row.low is None else f"{difference(row.low)} … {difference(row.high)}"),
        Cell(text=f"{row.parameters:,}"),
        Cell(text=f"{row.tokens_per_second:,.0f}"),
    )


def _changes(ranking: Ranking) -> Iterator[Fold]:
    if not ranking.blocks:
        return
    rows = tuple(
        (
            Cell(text=f"{block.nats:+.4g}"),
            Cell(text=f"{block.start}–{block.end}"),
            Cell(text=" ".join((block.text or "").split()) or "–"),
        )
        for block in ranking.blocks
    )
    caption = f"Where {ranking.candidate} gains (−) and loses (+) most against {ranking.baseline}"
    table = Table(caption=caption, head=("nats", "bytes", "text"), rows=rows, right=(0, 1))
    yield Fold(title=f"The {len(rows)} places where they differ most", blocks=(table,))
