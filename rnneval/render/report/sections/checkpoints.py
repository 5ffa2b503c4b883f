"""Which checkpoint of a sweep is best, and how it came to be: the learning curve, and every row of the table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnneval.render.report.anchors import anchor
from rnneval.render.report.blocks import Block, Cell, Fold, Part, Section, Table
from rnneval.render.report.given import Given, sweeps
from rnneval.render.report.pictures import pictures
from rnneval.render.report.words import KINDS
from rnneval.render.run_table import figure
from rnneval.render.words import counted
from rnneval.sweeps.table import OK, best_first

ORDER = 15
_SHOWN_ROWS = 30
_PLACES = ("epoch", "step")
_HEAD = ("checkpoint", "valid", "perplexity", "95 % interval", "bits per character")


def section(given: Sequence[Given]) -> Section | None:
    """A part a sweep."""
    parts = [
        Part(anchor=anchor("checkpoints", number), title=_title(each), blocks=(*_blocks(each),))
        for number, each in enumerate(sweeps(given))
    ]
    if not parts:
        return None
    return Section(
        anchor="checkpoints",
        title="Checkpoints",
        lead="How the loss on the held-out text went in training, and every checkpoint that was found.",
        blocks=tuple(parts),
    )


def _title(given: Given) -> str:
    return f"{counted(len(given.record.frame), 'checkpoint')} in {given.name}"


def _blocks(given: Given) -> Iterator[Block]:
    rows = best_first(given.rows)
    places = [name for name in _PLACES if any(row.get(name) is not None for row in rows)]
    yield from pictures(given)
    note = "Which differences are sure, rnneval compare of the folder says: neighbours read the same text."
    yield _table(f"{counted(len(rows), 'checkpoint')}, best first", rows[:_SHOWN_ROWS], places, note)
    if rows[_SHOWN_ROWS:]:
        rest = _table("The rest", rows[_SHOWN_ROWS:], places)
        yield Fold(title=f"{len(rows) - _SHOWN_ROWS} more", blocks=(rest,))
    if failed := [row for row in rows if row["status"] != OK]:
        yield _failures(failed)


def _table(caption: str, rows: Sequence[Mapping[str, Any]], places: Sequence[str], note: str | None = None) -> Table:
    head = (*_HEAD, *places, "tokens/s")
    cells = tuple(_cells(row, places) for row in rows)
    return Table(caption=caption, head=head, rows=cells, right=tuple(range(2, len(head))), note=note)


def _cells(row: Mapping[str, Any], places: Sequence[str]) -> tuple[Cell, ...]:
    # What a checkpoint that is not valid scored would be read as a score, whatever stands beside it.
    known = {name: value for name, value in row.items() if value is not None and row["status"] == OK}
    low, high = known.get("perplexity_low"), known.get("perplexity_high")
    numbers = [row.get(name) for name in places] + [known.get("tokens_per_second")]
    return (
        Cell(text=str(row["path"]), code=True),
        Cell(text="yes", kind="pass") if row["status"] == OK else Cell(text=str(row["status"]), kind="fail"),
        Cell(text=_score(known.get("perplexity"))),
        Cell(text="–" if low is None or high is None else f"{figure(low)} – {figure(high)}"),
        Cell(text=_score(known.get("bits_per_char"))),
        *(Cell(text="–" if number is None else f"{number:,.0f}") for number in numbers),
    )


def _score(value: float | None) -> str:
    return "–" if value is None else figure(value)


def _failures(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = tuple(
        (
            Cell(text=str(row["path"]), code=True, kind=KINDS["error"]),
            Cell(text=row.get("rule") or "–", code=True),
            Cell(text=" ".join((row.get("error") or "–").split())),
        )
        for row in rows
    )
    note = "What failed is tried again when the sweep is run again; rnneval explain RULE says more of a rule."
    return Table(caption="Failed, or not valid", head=("checkpoint", "rule", "why"), rows=cells, right=(), note=note)
