"""The checkpoints of a sweep as a terminal table."""

from rich.console import Group, RenderableType
from rich.text import Text

from rnneval.render.terminal import Grid, inert, show
from rnneval.render.words import counted
from rnneval.sweeps.many import Sweep
from rnneval.sweeps.table import FILE, Row

_FIRST = ("perplexity", "bits_per_char", "cross_entropy")


def print_sweep(sweep: Sweep) -> None:
    """Print the table on standard output; colour only on a terminal, and not with NO_COLOR."""
    show(sweep_table(sweep))


def sweep_table(sweep: Sweep) -> RenderableType:
    """Give one line a checkpoint in natural order, what failed with its reason, and what came of all."""
    shown = [name for name in _FIRST if any(row.run is not None and name in row.run.scores for row in sweep.rows)]
    table = Grid(padding=(0, 1))
    table.add_column("checkpoint", overflow="fold")
    for heading in ("epoch", "step", *shown, "tokens/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    best = _best(sweep, shown[0]) if shown else None
    for row in sweep.rows:
        table.add_row(*_cells(row, shown), _mark(row, best))
    return Group(table, *_failures(sweep), inert(_summary(sweep), style="dim"))


def _best(sweep: Sweep, name: str) -> Row | None:
    valid = [row for row in sweep.rows if row.run is not None and row.run.valid and name in row.run.scores]
    return min(valid, key=lambda row: row.run.scores[name].value, default=None) if len(valid) > 1 else None  # type: ignore[union-attr]


def _cells(row: Row, shown: list[str]) -> tuple[str, ...]:
    columns = row.columns()

    def score(name: str) -> str:
        value = columns.get(name)
        return "–" if value is None else f"{value:.5g}"

    places = ["" if columns[name] is None else str(columns[name]) for name in ("epoch", "step")]
    speed = columns.get("tokens_per_second")
    return (row.name, *places, *map(score, shown), "–" if speed is None else f"{speed:,.0f}")


def _mark(row: Row, best: Row | None) -> Text:
    if row.error is not None:
        return inert(f"{row.status}: {row.rule}", style="bold red")
    if row is best:
        return inert("best", style="bold green")
    warnings = dict.fromkeys(warning.code for warning in row.run.warnings) if row.run is not None else ()
    return inert(", ".join(warnings), style="yellow")


def _failures(sweep: Sweep) -> list[Text]:
    return [inert((f"{row.name}: ", "bold"), " ".join((row.error or "").split())) for row in sweep.failed]


def _summary(sweep: Sweep) -> str:
    parts = [counted(len(sweep.rows), "checkpoint")]
    if sweep.kept:
        parts.append(f"{sweep.kept:,} finished before")
    if sweep.failed:
        parts.append(f"{len(sweep.failed):,} failed")
    return f"{', '.join(parts)}; {sweep.out / FILE}"
