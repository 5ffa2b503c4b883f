"""`rnneval explain`: the text of a metric, a baseline, a warning, a rule or a figure.

The texts are the pages of `rnneval/pages`: nothing is imported, so neither NumPy nor TensorFlow costs time.
"""

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

import click

from rnneval.cli.command import from_function
from rnneval.cli.output import Forms, OutputOptions
from rnneval.errors import UsageError
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
_FORMS: Forms = {".md": ["table"], ".txt": ["table"], ".json": ["json"], "": ["table", "json"]}


@from_function(
    "perplexity",
    texts={
        "out": "File to write the text to as well: .md and .txt are text, .json is JSON.",
        "quiet": "Print nothing.",
    },
)
def command(*, output: OutputOptions, name: str | None = None) -> None:
    """Explain a metric, a warning, a rule or a figure.

    It says what a metric means, what to do about a warning or a fault, how to read a figure. NAME is a metric
    (perplexity), a baseline (unigram), a warning (drift), a rule (shared-state) or its code (RNN001), or a figure
    (gates); without it, all are listed by kind.
    """
    output.require({}, _FORMS)
    chosen = entries() if name is None else find(name, entries())

    texts = {
        "json": lambda: json.dumps([asdict(entry) for entry in chosen], ensure_ascii=False, indent=2) + "\n",
        "table": lambda: (listing(chosen) if name is None else pages(chosen)) + "\n",
    }
    output.write(texts, _FORMS)
    if output.quiet:
        return
    if output.form == "json" or name is None or not sys.stdout.isatty():
        click.echo(texts[output.form](), nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(texts["table"]()), width=min(console.width, _WIDTH))


def entries() -> tuple[Page, ...]:
    """Read every text of the package, by kind and then by name."""
    order = [*_HEADINGS]
    return tuple(sorted(all_pages(), key=lambda entry: (order.index(entry.kind), entry.name)))


def find(name: str, known: Sequence[Page]) -> tuple[Page, ...]:
    """Return the entries of this name or code; capitals do not matter, nor whether `-` or `_` joins words."""
    spellings = {_key(word): word for entry in known for word in (entry.name, entry.code) if word}
    wanted = _key(name)
    if wanted in spellings:
        return tuple(entry for entry in known if wanted in (_key(entry.name), _key(entry.code)))
    close = [spellings[key] for key in difflib.get_close_matches(wanted, spellings)]
    hint = f"close are {', '.join(close)}; " if close else ""
    raise UsageError(
        f"no metric, baseline, warning, rule or figure is named {name!r}: {hint}`rnneval explain` lists all names"
    )


def listing(known: Sequence[Page]) -> str:
    """Return a heading for each kind, and one line for each entry: name, code if any, first line of its text."""
    width = max((len(_label(entry)) for entry in known), default=0)
    parts = []
    for kind, entries_of_kind in groupby(known, key=lambda entry: entry.kind):
        lines = [f"  {_label(entry):<{width}}  {entry.summary}".rstrip() for entry in entries_of_kind]
        parts.append("\n".join([_HEADINGS[kind], *lines]))
    return "\n\n".join(parts)


def _label(entry: Page) -> str:
    return f"{entry.name} {entry.code}".rstrip()


def pages(chosen: Sequence[Page]) -> str:
    """Return each entry's text under its name, as one Markdown text."""
    titles = (f"# {entry.name} ({entry.kind} {entry.code}".rstrip() + ")" for entry in chosen)
    return "\n\n".join(f"{title}\n\n{entry.text}" for title, entry in zip(titles, chosen, strict=True))


def _key(word: str) -> str:
    return word.strip().lower().replace("_", "-")
