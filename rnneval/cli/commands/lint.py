"""`rnneval lint PATH…`: wrong state wiring, found by reading source."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnneval.cli.command import Command
from rnneval.cli.options import (
    format_option,
    out_option,
    quiet_option,
    repeated_option,
    require_ending,
    require_places,
    unused_seed,
)
from rnneval.cli.terminal import say

if TYPE_CHECKING:
    from rnneval.linter.discover import Settings
    from rnneval.linter.finding import LintFinding
    from rnneval.records.paths import Named

STANDARD_INPUT = "-"
# Formats that a file may have by its ending; SARIF is JSON, too.
_BY_ENDING = {".json": ("json", "sarif"), ".sarif": ("sarif",), ".txt": ("text", "table", "github")}


@click.command("lint", cls=Command, epilog="Example: rnneval lint train.py notebooks/")
@click.argument("paths", metavar="PATH...", nargs=-1)
@format_option("text", "json", "sarif", "github", "table")
@out_option("File to write the findings to as well: .json and .sarif are these formats, .txt is text.")
@quiet_option()
@repeated_option("--select", "RULES", "Rules to apply, as codes or names with commas between them.", unset="all")
@repeated_option("--ignore", "RULES", "Rules to leave out, in the same form.")
@click.option(
    "--stdin-filename",
    metavar="NAME",
    help="Name of standard input (-) in findings; with .ipynb it is read as a notebook. [default: -]",
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Number of processes. [default: one per core]")
@click.option("--strict", is_flag=True, help="Exit with 1 on warnings as well.")
@unused_seed
def command(
    *,
    paths: tuple[str, ...],
    form: str,
    out: str | None,
    quiet: bool,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    stdin_filename: str | None,
    jobs: int | None,
    strict: bool,
) -> int:
    """Find wrong state wiring in source code, without running it.

    PATH is a file, a folder (searched; .gitignore is honoured) or - for standard input; without any, the current
    folder. `# noqa: RNN001` and `# rnneval: ignore[shared-state]` silence a line; [tool.rnneval.lint] in
    pyproject.toml holds select, ignore, exclude and per-file-ignores. Exit code: 0 no error, 1 an error found, 2 usage.
    """
    from rnneval.linter.check import lint_files
    from rnneval.linter.discover import discover, read_settings
    from rnneval.processes import cores
    from rnneval.records import write_text
    from rnneval.records.paths import named

    settings = read_settings().replaced(select, ignore)
    files = discover([path for path in paths or (".",) if path != STANDARD_INPUT], settings)
    require_places(named("--out", out), _read_for(files, settings) if out is not None else [])
    require_ending("--out", out, *_BY_ENDING)
    streamed = _from_standard_input(settings, stdin_filename) if STANDARD_INPUT in paths else ()
    findings = (*streamed, *lint_files(files, settings, jobs or cores()))
    count = len(files) + (STANDARD_INPUT in paths)
    text = _rendered(form, findings)
    if out is not None:
        write_text(_rendered(_form_of(out, form), findings), out)
    if form not in ("text", "table"):
        click.echo(text, nl=False)
    elif not quiet:
        click.echo(text, nl=False)
        if count and sys.stderr.isatty():
            from rnneval.render.lint_formats import lint_summary

            say(lint_summary(findings, count))
    if not count:
        say(f"rnneval: warning: no Python file or notebook in {' '.join(paths) or 'this folder'}")
    return exit_code(findings, strict=strict)


def exit_code(findings: "Sequence[LintFinding]", *, strict: bool) -> int:
    """Return 1 if a finding is an error, or with `strict` if there is any finding; else 0."""
    return int(any(strict or finding.severity == "error" for finding in findings))


def _read_for(files: "Sequence[str]", settings: "Settings") -> "list[Named]":
    """Return the source files and the files that decide which of them are linted."""
    from rnneval.records.paths import named

    ignoring = {str(Path(file).with_name(".gitignore")) for file in files}
    return [*named("PATH", files), *named("the settings", settings.root / "pyproject.toml"), *named("PATH", ignoring)]


def _from_standard_input(settings: "Settings", name: str | None) -> "tuple[LintFinding, ...]":
    from rnneval.linter.check import check_bytes, wanted
    from rnneval.linter.document import MOST_NOTEBOOK_BYTES

    content = sys.stdin.buffer.read(MOST_NOTEBOOK_BYTES + 1)  # one byte too many shows that it is too long
    return wanted(check_bytes(name or STANDARD_INPUT, content), settings)


def _form_of(path: str, form: str) -> str:
    """Return the format of a file by its ending; --format decides between those that the ending allows."""
    allowed = _BY_ENDING.get(Path(path).suffix.lower(), (form,))
    return form if form in allowed else allowed[0]


def _rendered(form: str, findings: "Sequence[LintFinding]") -> str:
    if form == "sarif":
        from rnneval.render.lint_formats import lint_sarif

        return lint_sarif(findings)
    if form == "github":
        from rnneval.render.lint_formats import lint_github

        return lint_github(findings)
    from rnneval.render.lint_formats import lint_json, lint_text

    return lint_json(findings) if form == "json" else lint_text(findings)
