"""The wiring record for people: the flow matrix with its diagonal marked, findings, oracles, verdict.

Rows are the slots that state went into, columns where it came from; the number says in which calls. What lies on the
diagonal is right, what lies off it is not.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from rnneval.records.wiring import Finding, Flow, Oracle, Slot, Wiring
from rnneval.render.terminal import Grid, as_text, inert, show

_MARKS = {
    "carried": ("●", "green"),
    "carried-transformed": ("◐", "yellow"),
    "handoff": ("→", "cyan"),
    "declared": ("○", "cyan"),
    "initial": ("○", "dim"),
    "uncarried": ("○", "dim"),
    "unknown": ("?", "yellow"),
}
_WRONG = ("✗", "bold red")
_VERDICTS = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}
_SEVERITIES = {"error": "bold red", "warning": "bold yellow", "info": "cyan"}
_MOST_SLOTS = 12
_PLAIN_WIDTH = 100


def print_wiring(wiring: Wiring) -> None:
    """Print everything on standard output."""
    show(wiring_table(wiring))


def plain(wiring: Wiring) -> str:
    """Everything as text without colour, for `print(wiring)` and for a failing test."""
    return as_text(wiring_table(wiring), _PLAIN_WIDTH).rstrip()


def wiring_table(wiring: Wiring) -> RenderableType:
    """Verdict, matrix, findings and oracles, one below the other."""
    return Group(*_parts(wiring))


def _parts(wiring: Wiring) -> Iterator[RenderableType]:
    yield inert("wiring: ", (wiring.verdict, _VERDICTS[wiring.verdict]), f"  {wiring.reason}")
    if wiring.declared:
        yield inert(f"declared: {', '.join(wiring.declared)}", style="cyan")
    if wiring.flow:
        yield ""
        yield matrix(wiring)
        yield inert(_legend(wiring.flow), style="dim")
    for finding in wiring.findings:
        yield ""
        yield _finding(finding)
    if wiring.oracles:
        yield ""
        yield _oracles(wiring.oracles)


def matrix(wiring: Wiring) -> Grid:
    """The flow matrix; a model of many slots shows only the rows and columns that are not in order."""
    slots = [Slot(layer=layer.name, slot=slot) for layer in wiring.layers for slot in layer.slots]
    if len(slots) > _MOST_SLOTS:
        slots = _out_of_order(wiring.flow, slots) or slots[:_MOST_SLOTS]
    words = list(dict.fromkeys(flow.source for flow in wiring.flow if isinstance(flow.source, str)))
    columns: list[Slot | str] = [*slots, *words]
    table = Grid(padding=(0, 2, 0, 0))
    table.add_column("into ↓   from →", no_wrap=True)
    for column in columns:
        table.add_column(column if isinstance(column, str) else _name(column), justify="center")
    for row in slots:
        table.add_row(_name(row), *(_cell(wiring.flow, row, column) for column in columns))
    return table


def _out_of_order(flow: Sequence[Flow], slots: Sequence[Slot]) -> list[Slot]:
    wrong = [entry for entry in flow if entry.kind not in _MARKS]
    named = {end for entry in wrong for end in (entry.into, entry.source)}
    return [slot for slot in slots if slot in named]


def _name(slot: Slot) -> str:
    return f"{slot.layer}.{slot.slot}"


def _cell(flow: Sequence[Flow], row: Slot, column: Slot | str) -> Text:
    entries = [entry for entry in flow if entry.into == row and entry.source == column]
    diagonal = row == column
    if not entries:
        return Text("[ ]" if diagonal else "·", style="dim")
    shown = Text(" ").join(_entry(entry) for entry in entries)
    return inert("[", shown, "]") if diagonal else shown


def _entry(entry: Flow) -> Text:
    mark, style = _MARKS.get(entry.kind, _WRONG)
    return inert(f"{mark} {runs_of_calls(entry.calls)}", style=style)


def runs_of_calls(calls: Sequence[int]) -> str:
    """Runs of calls: 0, 1–3.

    Example:
        >>> runs_of_calls((0, 2, 3, 4))
        '0,2–4'
    """
    runs: list[list[int]] = []
    for call in calls:
        if runs and call == runs[-1][1] + 1:
            runs[-1][1] = call
        else:
            runs.append([call, call])
    return ",".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def _legend(flow: Sequence[Flow]) -> str:
    kinds = list(dict.fromkeys(entry.kind for entry in flow))
    shown = ", ".join(f"{_MARKS.get(kind, _WRONG)[0]} {kind}" for kind in kinds)
    return f"[ ] the diagonal: a slot's own state · {shown} · numbers are calls"


def _finding(finding: Finding) -> RenderableType:
    head = inert((finding.severity, _SEVERITIES[finding.severity]), " ", (finding.rule, "bold"))
    if finding.file is not None:
        head.append(inert(f"  {_place(finding)}", style="dim"))
    body = inert(finding.message)
    help_ = inert(("help: ", "dim"), finding.help)
    return Group(head, Padding(Group(body, help_), (0, 0, 0, 2)))


def _place(finding: Finding) -> str:
    path = Path(finding.file or "")
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{path}:{finding.line}"


def _oracles(oracles: dict[str, Oracle]) -> Grid:
    table = Grid(show_header=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    for name, oracle in oracles.items():
        table.add_row(name, inert(oracle.verdict, style=_VERDICTS[oracle.verdict]), inert(oracle.detail))
    return table
