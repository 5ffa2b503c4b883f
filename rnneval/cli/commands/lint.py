"""`rnneval lint PATH…`: wrong state wiring, found by reading source."""

import sys
from functools import partial
from typing import Annotated

import click

from rnneval.cli.command import from_function
from rnneval.cli.output import OutputOptions, say
from rnneval.option import Options, option

STANDARD_INPUT = "-"


class LintOutput(OutputOptions):
    """Output of `rnneval lint`."""

    form: str = option("text", flag="--format", choices=("text", "json", "sarif", "github", "table"))
    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".json", ".sarif", ".txt"))
    """File to write the findings to as well: .json and .sarif are these formats, .txt is text."""


class LintOptions(Options):
    """Options of `rnneval lint`."""

    select: tuple[str, ...] = option((), metavar="RULES", repeated=True, unset="all")
    """Rules to apply, as codes or names with commas between them."""
    ignore: tuple[str, ...] = option((), metavar="RULES", repeated=True)
    """Rules to leave out, in the same form."""
    stdin_filename: str | None = option(None, metavar="NAME", unset=STANDARD_INPUT)
    """Name of standard input (-) in findings; with .ipynb it is read as a notebook."""
    strict: bool = option(False)
    """Exit with 1 on warnings as well."""


@from_function("train.py notebooks/")
def command(*, output: LintOutput, options: LintOptions, paths: Annotated[tuple[str, ...], "PATH..."] = ()) -> int:
    """Find wrong state wiring in source code, without running it.

    PATH is a file, a folder (searched, without what git ignores) or - for standard input; without any, the current
    folder. `# noqa: RNN001` and `# rnneval: ignore[shared-state]` silence a line. Exit code: 0 no error, 1 an error
    found, 2 usage.
    """
    from rnneval.lint.check import check_bytes, check_file
    from rnneval.lint.document import MOST_NOTEBOOK_BYTES
    from rnneval.lint.files import discover
    from rnneval.lint.rules import wanted
    from rnneval.render.lint_formats import lint_github, lint_json, lint_sarif, lint_summary, lint_text

    codes = wanted(options.select, options.ignore)
    files = discover([path for path in paths or (".",) if path != STANDARD_INPUT])
    found = [finding for file in files for finding in check_file(file)]
    if STANDARD_INPUT in paths:
        content = sys.stdin.buffer.read(MOST_NOTEBOOK_BYTES + 1)  # one byte too many shows that it is too long
        found = [*check_bytes(options.stdin_filename or STANDARD_INPUT, content), *found]
    findings = [finding for finding in found if finding.code in codes]
    count = len(files) + (STANDARD_INPUT in paths)
    made_by = {"sarif": lint_sarif, "github": lint_github, "json": lint_json, "text": lint_text, "table": lint_text}
    texts = {form: partial(make, findings) for form, make in made_by.items()}
    output.write(texts)
    readable = output.form in ("text", "table")
    if not (output.quiet and (readable or output.out)):
        click.echo(texts[output.form](), nl=False)
    if readable and not output.quiet and count and (not findings or sys.stderr.isatty()):
        say(lint_summary(findings, count))
    if not count:
        say(f"rnneval: warning: no Python file or notebook in {' '.join(paths) or 'this folder'}")
    return int(any(options.strict or finding.severity == "error" for finding in findings))
