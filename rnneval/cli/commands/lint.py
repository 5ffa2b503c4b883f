"""`rnneval lint PATH…`: wrong state wiring, found by reading source."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnneval.cli import shared
from rnneval.cli.command import Command
from rnneval.cli.terminal import say

if TYPE_CHECKING:
    from rnneval.lint.check import LintFinding

STANDARD_INPUT = "-"
# Formats that a file may have by its ending, of which --format decides, else the first; SARIF is JSON, too.
_BY_ENDING = {".json": ("json", "sarif"), ".sarif": ("sarif",), ".txt": ("text", "table", "github")}


@click.command("lint", cls=Command, epilog="Example: rnneval lint train.py notebooks/")
@click.argument("paths", metavar="PATH...", nargs=-1)
@shared.output_options(
    formats=("text", "json", "sarif", "github", "table"),
    out="File to write the findings to as well: .json and .sarif are these formats, .txt is text.",
)
@shared.repeated_option("--select", "RULES", "Rules to apply, as codes or names with commas between them.", unset="all")
@shared.repeated_option("--ignore", "RULES", "Rules to leave out, in the same form.")
@click.option(
    "--stdin-filename",
    metavar="NAME",
    help="Name of standard input (-) in findings; with .ipynb it is read as a notebook. [default: -]",
)
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings as well.")
@shared.unused_seed
def command(
    *,
    paths: tuple[str, ...],
    output: shared.Output,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    stdin_filename: str | None,
    strict: bool,
) -> int:
    """Find wrong state wiring in source code, without running it.

    PATH is a file, a folder (searched, without what git ignores) or - for standard input; without any, the current
    folder. `# noqa: RNN001` and `# rnneval: ignore[shared-state]` silence a line; [tool.rnneval.lint] in
    pyproject.toml holds select, ignore, exclude and per-file-ignores. Exit code: 0 no error, 1 an error found, 2 usage.
    """
    from rnneval.lint.check import check_bytes, check_file
    from rnneval.lint.document import MOST_NOTEBOOK_BYTES
    from rnneval.lint.files import discover, read_settings

    settings = read_settings().replaced(select, ignore)
    files = discover([path for path in paths or (".",) if path != STANDARD_INPUT], settings)
    if output.out:
        shared.require_places({"--out": output.out}, {"PATH": files, "the settings": settings.root / "pyproject.toml"})
    shared.require_ending("--out", output.out, *_BY_ENDING)
    findings: tuple[LintFinding, ...] = ()
    if STANDARD_INPUT in paths:
        content = sys.stdin.buffer.read(MOST_NOTEBOOK_BYTES + 1)  # one byte too many shows that it is too long
        findings = check_bytes(stdin_filename or STANDARD_INPUT, content)
    findings = (*findings, *(finding for file in files for finding in check_file(file)))
    findings = tuple(finding for finding in findings if settings.wants(finding.code, finding.path))
    count = len(files) + (STANDARD_INPUT in paths)
    text = _rendered(output.form, findings)
    for path in output.out:
        from rnneval.records import write_text

        allowed = _BY_ENDING.get(Path(path).suffix.lower(), (output.form,))
        write_text(_rendered(output.form if output.form in allowed else allowed[0], findings), path)
    readable = output.form in ("text", "table")
    if not (readable and output.quiet):
        click.echo(text, nl=False)
    if readable and not output.quiet and count and sys.stderr.isatty():
        from rnneval.render.lint_formats import lint_summary

        say(lint_summary(findings, count))
    if not count:
        say(f"rnneval: warning: no Python file or notebook in {' '.join(paths) or 'this folder'}")
    return int(any(strict or finding.severity == "error" for finding in findings))


def _rendered(form: str, findings: "Sequence[LintFinding]") -> str:
    from rnneval.render.lint_formats import lint_github, lint_json, lint_sarif, lint_text

    formats = {"sarif": lint_sarif, "github": lint_github, "json": lint_json}
    return formats.get(form, lint_text)(findings)
