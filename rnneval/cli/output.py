"""Results, printed and written to files whose endings say their format: JSON, CSV or Markdown."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from rnneval.cli.terminal import say

if TYPE_CHECKING:
    import pandas as pd

    from rnneval.records import Run
    from rnneval.render.document import Block

ENDINGS = (".json", ".csv", ".md")


class Tabular(Protocol):
    """A result that is a table as well."""

    def to_frame(self) -> "pd.DataFrame":
        """Return the table."""


def exit_of(run: "Run", *, quiet: bool, strict: bool = False) -> int:
    """Return 1 for a run that is not valid, with `strict` also for one with warnings, else 0.

    With `quiet`, where no document says it, the reason goes to standard error.
    """
    warned = ", ".join(sorted({warning.code for warning in run.warnings})) if strict else ""
    if run.valid and not warned:
        return 0
    if quiet:
        why = f"warnings with --strict: {warned}" if run.valid else f"not valid: {run.why_not_valid}"
        say(f"rnneval: {run.title}: {why}")
    return 1


def print_and_write(
    result: Tabular,
    encoded: str,
    document: "Callable[[], Iterable[Block]]",
    *,
    form: str,
    quiet: bool,
    out: Iterable[str],
) -> None:
    """Print a result, then write it to files, each completely or not at all: it is not lost if a file fails.

    Args:
        result: The result.
        encoded: The result as JSON.
        document: Function that makes the document which the terminal shows.
        form: `json` prints the JSON, `table` the document.
        quiet: Whether to print no document.
        out: The files: `.csv` gets the table of the result, `.md` the document, any other ending the JSON.

    Raises:
        RecordError: a file cannot be written.
    """
    from rnneval.records import write_text

    if form == "json":
        click.echo(encoded, nl=False)
    elif not quiet:
        from rnneval.render.terminal import print_document

        print_document(document())
    for path in out:
        ending = Path(path).suffix.lower()
        if ending == ".csv":
            text = str(result.to_frame().to_csv(index=False))
        elif ending == ".md":
            from rnneval.render.markdown import markdown

            text = markdown(document())
        else:
            text = encoded
        write_text(text, path)
