"""A verdict as a terminal table."""

from rich.console import Group, RenderableType
from rich.text import Text

from rnneval.records import Gate
from rnneval.records.gate import Comparison
from rnneval.render.gate_words import HEADINGS, about, headline, line, method
from rnneval.render.terminal import Grid, as_text, inert, show

_STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "not comparable": "bold magenta"}
_PLAIN_WIDTH = 110


def print_gate(gate: Gate) -> None:
    """Print the table on standard output; colour only on a terminal, and not with NO_COLOR."""
    show(gate_table(gate))


def plain_gate(gate: Gate) -> str:
    """Give the table as plain text, for a log or the message of an assertion."""
    return as_text(gate_table(gate), _PLAIN_WIDTH)


def gate_table(gate: Gate) -> RenderableType:
    """Give the comparisons, the reason of each, what to know besides, and the verdict."""
    parts: list[RenderableType] = [inert(headline(gate))] if headline(gate) else []
    parts.append(_table(gate))
    parts += [_reason(comparison) for comparison in gate.comparisons]
    parts += [inert(("warning: ", "yellow"), warning) for warning in gate.warnings]
    return Group(*parts, inert(gate.verdict, style=_STYLES[gate.verdict]))


def _table(gate: Gate) -> Grid:
    table = Grid()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("", "verdict") else "right", overflow="fold")
    for comparison in gate.comparisons:
        *cells, verdict = line(comparison).cells
        table.add_row(*cells, inert(verdict, style=_STYLES[comparison.verdict]))
    return table


def _reason(comparison: Comparison) -> Text:
    details = "; ".join(part for part in (about(comparison), method(comparison)) if part not in ("", "none", "limit"))
    reason = f"{comparison.metric}: {comparison.reason}"
    return inert(reason, (f" ({details})" if details else "", "dim"))
