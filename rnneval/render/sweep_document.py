"""Documents of sweeps: every checkpoint with its scores, and why some have none."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnneval.evaluate.sweep_table import FILE, OK, STATUSES, Sweep, best_first
from rnneval.records.run import Warning as Warned
from rnneval.records.run import usual_metric
from rnneval.render import document as doc
from rnneval.render.phrasing import counted, figure, interval, listed
from rnneval.render.run_document import WORSE, said_once, warnings

_SCORES = ("perplexity", "bits_per_char", "cross_entropy")
_PLACES = ("epoch", "step")
SweepRows = Sequence[Mapping[str, Any]]  # rows of a sweep, as dictionaries of its columns


def sweep_document(sweep: Sweep) -> Iterator[doc.Block]:
    """Write a row for each checkpoint, failures last and each with its reason, a summary, and the warnings."""
    rows = sorted((row.columns() for row in sweep.rows), key=lambda row: STATUSES.index(row["status"]))
    yield checkpoints_table("Checkpoints", rows, rows)
    if failed := [row for row in rows if row["status"] != OK]:
        yield failures_table(failed)
    parts = [counted(len(rows), "checkpoint")]
    parts += [f"{sweep.finished_before:,} finished before"] if sweep.finished_before else []
    parts += [f"{len(failed):,} failed or not valid"] if failed else []
    yield doc.Paragraph(text=f"{', '.join(parts)}; {sweep.out / FILE}", muted=True)
    runs = ((each.name, each.run) for each in sweep.warned if each.run is not None and each.run.valid)
    for warning, names in said_once((name, warning) for name, run in runs for warning in run.warnings):
        yield from warnings([Warned(code=warning.code, message=f"{listed(names, most=3)}: {warning.message}")])


def checkpoints_table(caption: str, rows: SweepRows, every: SweepRows, note: str | None = None) -> doc.TableBlock:
    """Return checkpoints with their scores; `every` row of the sweep decides on the columns and the best checkpoint."""

    def has_value(name: str, rows: SweepRows) -> bool:
        return any(row.get(name) is not None for row in rows)

    valid = [row for row in every if row["status"] == OK]
    usual = {usual_metric(str(row.get("signature") or "")) for row in valid}
    scores = [name for name in dict.fromkeys((*_SCORES, *sorted(usual))) if has_value(name, valid)]
    names = ["checkpoint", "valid", *scores, *(name for name in _PLACES if has_value(name, every)), "tokens/s", ""]
    if "perplexity" in scores:
        names.insert(3, "95 % interval")
    head = (f"{name} (usual)" if name and usual == {name} else name for name in names)
    best = best_first(valid)[0] if len(valid) > 1 else None
    cells = (_cells(row, names, is_best=row is best) for row in rows)
    extra = tuple(place for place, name in enumerate(names) if name in ("valid", "95 % interval"))
    return doc.table(caption, head, cells, right=tuple(range(2, len(names) - 1)), extra=extra, note=note)


def _cells(row: Mapping[str, Any], names: Sequence[str], *, is_best: bool) -> Iterator[str | doc.TableCell]:
    is_valid, warned = row["status"] == OK, str(row.get("warnings") or "").split()
    yield doc.code(str(row["path"]))
    yield validity(WORSE in warned) if is_valid else doc.TableCell(text=str(row["status"]), kind="fail")
    shown = {name: figure(row.get(name), ",.0f") for name in _PLACES}
    if is_valid:  # else a number would be read as a score, whatever stands beside it
        shown |= {name: figure(row.get(name)) for name in names[2:-1] if name not in _PLACES}
        shown["95 % interval"] = interval(row.get("perplexity_low"), row.get("perplexity_high"))
        shown["tokens/s"] = figure(row.get("tokens_per_second"), ",.0f")
    yield from (shown.get(name, "–") for name in names[2:-1])
    if is_valid:
        yield doc.TableCell(text=", ".join(["best"] * is_best + warned), kind="unsure" if warned else "pass")
    else:
        yield doc.TableCell(text=f"{row['status']}: {row.get('rule') or 'unknown'}", kind="fail")


def validity(worse_than_guessing: bool) -> doc.TableCell:
    """Return the cell of a valid run: no praise for one that is worse than guessing."""
    kind: doc.Kind = "unsure" if worse_than_guessing else "pass"
    return doc.TableCell(text="yes, worse than guessing" if worse_than_guessing else "yes", kind=kind)


def failures_table(rows: SweepRows) -> doc.TableBlock:
    """Return the checkpoints that failed or are not valid, each with its reason."""
    cells = []
    for each in rows:
        path = doc.TableCell(text=str(each["path"]), code=True, kind="fail")
        cells.append((path, doc.code(each.get("rule") or "–"), " ".join((each.get("error") or "–").split())))
    note = "The next run of the sweep tries failed checkpoints again; rnneval explain RULE says more about a rule."
    return doc.table("Failed, or not valid", ("checkpoint", "rule", "why"), cells, note=note)
