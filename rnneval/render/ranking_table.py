"""Compared runs as a terminal table."""

from rich.console import Group, RenderableType

from rnneval.gates.explanation import in_per_cent, number
from rnneval.gates.ranking import BlockChange, Ranking, Row
from rnneval.render.terminal import Grid, inert, show

_EXCERPT = 60


def print_ranking(ranking: Ranking) -> None:
    """Print the table on standard output; colour only on a terminal, and not with NO_COLOR."""
    show(ranking_table(ranking))


def ranking_table(ranking: Ranking) -> RenderableType:
    """Give the runs, best first, and the blocks in which the last run given differs most from the first."""
    parts: list[RenderableType] = [_runs(ranking)]
    parts += [inert((f"{row.name}: ", "bold"), mark) for row in ranking.rows for mark in row.marks]
    if methods := _methods(ranking):
        parts.append(inert(methods, style="dim"))
    if ranking.blocks:
        parts += ["", inert(_title(ranking)), _blocks(ranking)]
    return Group(*parts)


def _runs(ranking: Ranking) -> Grid:
    table = Grid(padding=(0, 1))
    table.add_column("run", overflow="fold")
    for heading in (ranking.metric, "to the best", "95 % interval", "parameters", "tokens/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in ranking.rows:
        marks = "; ".join(mark.split(":")[0] for mark in row.marks)
        table.add_row(*_cells(row, ranking), inert(marks, style="bold red"))
    return table


def _cells(row: Row, ranking: Ranking) -> tuple[str, ...]:
    def difference(value: float | None) -> str:
        return "–" if value is None else number(ranking.metric, value)

    bounded = row.low is not None
    return (
        row.name,
        "–" if row.value is None else f"{row.value:.5g}",
        difference(row.difference),
        f"{difference(row.low)} … {difference(row.high)}" if bounded else "–",
        f"{row.parameters:,}",
        f"{row.tokens_per_second:,.0f}",
    )


def _methods(ranking: Ranking) -> str:
    said = dict.fromkeys(f"{row.method} ({row.claim})" for row in ranking.rows if row.method and row.claim)
    unit = "" if in_per_cent(ranking.metric) else f"differences in {ranking.unit}; "
    return f"{unit}intervals: {'; '.join(said)}; other seeds were not tested" if said else ""


def _title(ranking: Ranking) -> str:
    return f"Where {ranking.candidate} gains (−) and loses (+) most against {ranking.baseline}: nats in a block of text"


def _blocks(ranking: Ranking) -> Grid:
    table = Grid()
    for heading in ("nats", "a unit", "bytes"):
        table.add_column(heading, justify="right")
    table.add_column("text" if ranking.blocks[0].text is not None else "", overflow="fold")
    for block in ranking.blocks:
        where = f"{block.start}–{block.end}"
        table.add_row(f"{block.nats:+.4g}", f"{block.nats / block.units:+.3g}", where, _excerpt(block))
    return table


def _excerpt(block: BlockChange) -> str:
    if block.text is None:
        return ""
    shown = " ".join(block.text.split())
    return shown if len(shown) <= _EXCERPT else f"{shown[: _EXCERPT - 1]}…"
