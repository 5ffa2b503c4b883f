"""Documents of sweeps: every checkpoint with its scores, and the reason of each that failed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnneval.records.run import usual_metric
from rnneval.render.document import Block, Cell, Paragraph, Table
from rnneval.render.phrasing import counted, interval, optional
from rnneval.sweeps.many import Sweep
from rnneval.sweeps.table import FILE, OK, best_first

Rows = Sequence[Mapping[str, Any]]
_SCORES = ("perplexity", "bits_per_char", "cross_entropy")
_PLACES = ("epoch", "step")


def sweep_document(sweep: Sweep) -> Iterator[Block]:
    """Write one row for each checkpoint in natural order, the reason of each failure, and a summary."""
    rows = [row.columns() for row in sweep.rows]
    yield checkpoints_table("Checkpoints", rows, rows)
    if failed := [row for row in rows if row["status"] != OK]:
        yield failures_table(failed)
    parts = [counted(len(rows), "checkpoint")]
    parts += [f"{sweep.kept:,} finished before"] if sweep.kept else []
    parts += [f"{len(failed):,} failed"] if failed else []
    yield Paragraph(text=f"{', '.join(parts)}; {sweep.out / FILE}", muted=True)


def checkpoints_table(caption: str, rows: Rows, every: Rows, note: str | None = None) -> Table:
    """Return checkpoints with their scores.

    Args:
        caption: Of the table.
        rows: Rows to show, as dictionaries of the sweep's columns.
        every: All rows of the sweep: they decide which columns there are, and which checkpoint is best.
        note: How to read it.
    """
    valid = [row for row in every if row["status"] == OK]
    usual = {usual_metric(str(row.get("signature") or "")) for row in valid}
    scores = [
        name for name in dict.fromkeys((*_SCORES, *sorted(usual))) if any(row.get(name) is not None for row in valid)
    ]
    places = [name for name in _PLACES if any(row.get(name) is not None for row in every)]
    best = best_first(valid)[0] if len(valid) > 1 else None
    names = ["checkpoint", "valid", *scores, *places, "tokens/s", ""]
    if "perplexity" in scores:
        names.insert(3, "95 % interval")
    return Table(
        caption=caption,
        head=tuple(f"{name} (usual)" if name and usual == {name} else name for name in names),
        rows=tuple(_cells(row, names, best) for row in rows),
        right=tuple(range(2, len(names) - 1)),
        extra=tuple(place for place, name in enumerate(names) if name in ("valid", "95 % interval")),
        note=note,
    )


def _cells(row: Mapping[str, Any], names: Sequence[str], best: Mapping[str, Any] | None) -> tuple[Cell, ...]:
    is_valid = row["status"] == OK
    cells = [
        Cell(text=str(row["path"]), code=True),
        Cell(text="yes", kind="pass") if is_valid else Cell(text=str(row["status"]), kind="fail"),
    ]
    for name in names[2:-1]:
        if name in _PLACES:
            cells.append(Cell(text=optional(row.get(name), ",.0f")))
        elif not is_valid:  # a number here would be read as a score, whatever stands beside it
            cells.append(Cell(text="–"))
        elif name == "95 % interval":
            cells.append(Cell(text=interval(row.get("perplexity_low"), row.get("perplexity_high"))))
        elif name == "tokens/s":
            cells.append(Cell(text=optional(row.get("tokens_per_second"), ",.0f")))
        else:
            cells.append(Cell(text=optional(row.get(name))))
    if not is_valid:
        return (*cells, Cell(text=f"{row['status']}: {row.get('rule') or 'unknown'}", kind="fail"))
    warnings = ", ".join(str(row.get("warnings") or "").split())
    return (*cells, Cell(text="best", kind="pass") if row is best else Cell(text=warnings, kind="unsure"))


def failures_table(rows: Rows) -> Table:
    """Return the checkpoints that failed or are not valid, each with its reason."""
    cells = tuple(
        (
            Cell(text=str(row["path"]), code=True, kind="fail"),
            Cell(text=row.get("rule") or "–", code=True),
            Cell(text=" ".join((row.get("error") or "–").split())),
        )
        for row in rows
    )
    note = "The next run of the sweep tries failed checkpoints again; rnneval explain RULE says more about a rule."
    return Table(caption="Failed, or not valid", head=("checkpoint", "rule", "why"), rows=cells, right=(), note=note)
