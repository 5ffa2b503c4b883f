"""What was recognised of a checkpoint, as a terminal table."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rnneval.records.opened import Opened
from rnneval.render.run_table import describe
from rnneval.render.terminal import terminal
from rnneval.render.words import counted, visible


def print_opened(opened: Opened) -> None:
    """Print the table on standard output."""
    terminal().print(opened_table(opened))


def opened_table(opened: Opened) -> RenderableType:
    """Give the file, the model, its layers, its vocabulary and every assumption."""
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    facts.add_column("", style="dim")
    facts.add_column("", overflow="fold")
    facts.add_row("checkpoint", Text(visible(opened.checkpoint.path)))
    facts.add_row("sha256", Text(opened.checkpoint.sha256))
    facts.add_row("model", Text(describe(opened.checkpoint)))
    facts.add_row("in, out", Text(f"{opened.input.kind} in, {opened.output.kind} out, {opened.width} logits"))
    facts.add_row("vocabulary", Text(_vocabulary(opened)))
    for assumption in opened.assumptions:
        facts.add_row("assumed", Text(visible(assumption)))
    return Group(facts, _layers(opened))


def _vocabulary(opened: Opened) -> str:
    if opened.vocabulary is None:
        return f"none: {visible(opened.why_no_vocabulary or '')}"
    return f"{counted(opened.vocabulary.size, 'token')}, {visible(opened.vocabulary.source)}"


def _layers(opened: Opened) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2))
    for heading in ("layer", "path", "kind", "units", "slots"):
        table.add_column(heading)
    for layer in opened.checkpoint.layers:
        table.add_row(
            *map(Text, (visible(layer.name), visible(layer.path), layer.kind, str(layer.units), ", ".join(layer.slots)))
        )
    return table
