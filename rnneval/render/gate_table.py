"""A verdict as a terminal table."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rnneval.records import Gate
from rnneval.records.gate import Comparison
from rnneval.render.gate_words import HEADINGS, about, headline, line, method
from rnneval.render.terminal import terminal
from rnneval.render.words import visible

_STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "not comparable": "bold magenta"}
_PLAIN_WIDTH = 110


def print_gate(gate: Gate) -> None:
    """Print the table on standard output; colour only on a terminal, and not with NO_COLOR."""
    terminal().print(gate_table(gate))


def plain_gate(gate: Gate) -> str:
    """Give the table as plain text, for a log or the message of an assertion."""
    console = Console(width=_PLAIN_WIDTH, color_system=None, highlight=False, legacy_windows=False)
    with console.capture() as captured:
        console.print(gate_table(gate))
    return "\n".join(row.rstrip() for row in captured.get().splitlines())


def gate_table(gate: Gate) -> RenderableType:
    """Give the comparisons, the reason of each, what to know besides, and the verdict."""
    parts: list[RenderableType] = [Text(headline(gate))] if headline(gate) else []
    parts.append(_table(gate))
    parts += [_reason(comparison) for comparison in gate.comparisons]
    parts += [Text.assemble(("warning: ", "yellow"), visible(warning)) for warning in gate.warnings]
    return Group(*parts, Text(gate.verdict, style=_STYLES[gate.verdict]))


def _table(gate: Gate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2))
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("", "verdict") else "right", overflow="fold")
    for comparison in gate.comparisons:
        *cells, verdict = line(comparison).cells
        table.add_row(*(Text(cell) for cell in cells), Text(verdict, style=_STYLES[comparison.verdict]))
    return table


def _reason(comparison: Comparison) -> Text:
    details = "; ".join(part for part in (about(comparison), method(comparison)) if part not in ("", "none", "limit"))
    reason = f"{visible(comparison.metric)}: {visible(comparison.reason)}"
    return Text.assemble(reason, (f" ({details})" if details else "", "dim"))
