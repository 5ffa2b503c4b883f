"""What was recognised of a checkpoint, as a terminal table."""

from rich.console import Group, RenderableType

from rnneval.records.opened import Opened
from rnneval.render.run_table import describe
from rnneval.render.terminal import Grid, inert, show
from rnneval.render.words import counted


def print_opened(opened: Opened) -> None:
    """Print the table on standard output."""
    show(opened_table(opened))


def opened_table(opened: Opened) -> RenderableType:
    """Give the file, the model, its layers, its vocabulary and every assumption."""
    facts = Grid(show_header=False)
    facts.add_column("", style="dim")
    facts.add_column("", overflow="fold")
    facts.add_row("checkpoint", inert(opened.checkpoint.path))
    facts.add_row("sha256", inert(opened.checkpoint.sha256))
    facts.add_row("model", inert(describe(opened.checkpoint)))
    facts.add_row("in, out", inert(f"{opened.input.kind} in, {opened.output.kind} out, {opened.width} logits"))
    facts.add_row("vocabulary", inert(_vocabulary(opened)))
    for assumption in opened.assumptions:
        facts.add_row("assumed", inert(assumption))
    return Group(facts, _layers(opened))


def _vocabulary(opened: Opened) -> str:
    if opened.vocabulary is None:
        return f"none: {opened.why_no_vocabulary or ''}"
    return f"{counted(opened.vocabulary.size, 'token')}, {opened.vocabulary.source}"


def _layers(opened: Opened) -> Grid:
    table = Grid("layer", "path", "kind", "units", "slots")
    for layer in opened.checkpoint.layers:
        table.add_row(layer.name, layer.path, layer.kind, str(layer.units), ", ".join(layer.slots))
    return table
