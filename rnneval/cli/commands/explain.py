"""`rnneval explain`: the text of a metric, a baseline, a warning, a rule or a figure.

The texts are the pages of `rnneval/pages`: nothing is imported, so neither NumPy nor TensorFlow costs time.
"""

import difflib
import json
import sys
from dataclasses import asdict
from itertools import groupby

import click

from rnneval.cli.command import from_function
from rnneval.cli.output import OutputOptions
from rnneval.errors import UsageError
from rnneval.option import option
from rnneval.pages import Page, all_pages

_HEADINGS = {
    "metric": "Metrics",
    "baseline": "Baselines",
    "warning": "Warnings of runs",
    "rule": "Rules of check, and findings of diagnostics",
    "lint rule": "Rules of lint alone",
    "loading rule": "Rules of loading",
    "figure": "Figures",
}
"""Headings of the list, by kind and in their order."""
_WIDTH = 100


class ExplainOutput(OutputOptions):
    """Output of `rnneval explain`."""

    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".md", ".txt", ".json"))
    """File to write the text to as well: .md and .txt are text, .json is JSON."""


@from_function("perplexity")
def command(*, output: ExplainOutput, name: str | None = None) -> None:
    """Explain a metric, a warning, a rule or a figure.

    It says what a metric means, what to do about a warning or a fault, how to read a figure. NAME is a metric
    (perplexity), a baseline (unigram), a warning (drift), a rule (shared-state) or its code (RNN001), or a figure
    (flow_matrix); without it, all are listed by kind.
    """
    chosen = entries() if name is None else _named(name)
    text = _listing(chosen) if name is None else "\n\n".join(map(_whole, chosen))
    texts = {
        "table": lambda: f"{text}\n",
        "json": lambda: json.dumps([asdict(entry) for entry in chosen], ensure_ascii=False, indent=2) + "\n",
    }
    output.write(texts)
    if output.quiet:
        return
    if output.form == "json" or name is None or not sys.stdout.isatty():
        click.echo(texts[output.form](), nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(text), width=min(console.width, _WIDTH))


def entries() -> list[Page]:
    """Read every text of the package, by kind and then by name."""
    return sorted(all_pages(), key=lambda entry: list(_HEADINGS).index(entry.kind))


def _named(name: str) -> list[Page]:
    """Return the entries of this name or code; capitals do not matter, nor whether `-` or `_` joins words."""
    wanted = _plain(name)
    if found := [entry for entry in entries() if wanted in map(_plain, (entry.name, entry.code or entry.name))]:
        return found
    names = {_plain(entry.name): entry.name for entry in entries()}
    close = ", ".join(names[key] for key in difflib.get_close_matches(wanted, names))
    said = f"no metric, baseline, warning, rule or figure is named {name!r}: {f'close are {close}; ' if close else ''}"
    raise UsageError(f"{said}`rnneval explain` lists all names")


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _listing(pages: list[Page]) -> str:
    """Return a heading for each kind, and one line for each entry: name, code if any, first line of its text."""
    names = {entry: f"{entry.name} {entry.code}".rstrip() for entry in pages}
    width = max(map(len, names.values()))
    parts = []
    for kind, group in groupby(pages, key=lambda entry: entry.kind):
        lines = [f"  {names[entry]:<{width}}  {entry.summary}".rstrip() for entry in group]
        parts.append("\n".join([_HEADINGS[kind], *lines]))
    return "\n\n".join(parts)


def _whole(entry: Page) -> str:
    kind = f"{entry.kind} {entry.code}".rstrip()
    return f"# {entry.name} ({kind})\n\n{entry.text}"
