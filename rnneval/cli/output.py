"""Printed and written results: files are checked before any work, and each is written completely or not at all."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnneval.cli.terminal import say
from rnneval.errors import RecordError, UsageError
from rnneval.option import Options, option

if TYPE_CHECKING:
    from rnneval.paths import Places
    from rnneval.render.document import Block

Forms = Mapping[str, Sequence[str]]
Texts = Mapping[str, Callable[[], str]]
"""Functions that make the text of a result, by its form."""
JSON: Forms = {".json": ["json"], "": ["json"]}
"""Forms of a result by the ending of its file; "" stands for no ending."""
RESULT: Forms = {".json": ["json"], ".csv": ["csv"], ".md": ["markdown"], "": ["json"]}
SUMMARY = "GITHUB_STEP_SUMMARY"
"""The environment variable that names the summary of a job of GitHub."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Options, heading="Output"):
    """Options that say how a result is printed, and to which files it is written."""

    form: str = option("table", flag="--format", choices=("table", "json"))
    """Format of what is printed."""
    out: Any = option(None, metavar="FILE")
    """File to write the record to as well, as JSON; only a complete one takes its place."""
    quiet: bool = option(False, short="-q")
    """Print no progress and no table; warnings still go to standard error."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files to write."""
        return (self.out,) if isinstance(self.out, str) else tuple(self.out or ())

    def require(self, inputs: "Places", forms: Forms, more: "Places | None" = None, *, flag: str = "--out") -> None:
        """Refuse files, also `more` outputs, that cannot be written, that are read, or whose ending has no form."""
        require_places({flag: self.files, **(more or {})}, inputs)
        require_ending(flag, self.files, *filter(None, forms))

    def deliver(
        self,
        result: Any,
        document: "Callable[[Any], Iterable[Block]]",
        forms: Forms = RESULT,
        **texts: Callable[[], str],
    ) -> None:
        """Print a record, or a result that has a table, too, then write it: it is not lost if a file fails.

        Warnings go to standard error, but for annotations of GitHub, which hold them. A text is made only where it is
        needed: a number that is not finite has no JSON, and still has a document. `texts` replace the usual ones.
        """
        from rnneval.records import encode
        from rnneval.render.document import Heading, is_warning

        blocks = tuple(document(result))

        def markdown() -> str:
            from rnneval.render.markdown import markdown

            title_first = sorted(blocks[:2], key=lambda block: not isinstance(block, Heading))  # then: not valid
            return markdown((*title_first, *blocks[2:]))

        def github() -> str:
            from rnneval.render.run_document import annotations

            return annotations(blocks)

        made: Texts = {
            "json": lambda: encode(result),
            "csv": lambda: str(result.to_frame().to_csv(index=False)),
            "markdown": markdown,
            "github": github,
            **texts,
        }
        if self.form != "table":
            click.echo(made[self.form](), nl=False)
        elif not self.quiet:
            from rnneval.render.terminal import print_document

            print_document(block for block in blocks if not is_warning(block))
        if self.form == "github":
            add_to_summary(made["markdown"]())
        for warning in filter(is_warning, blocks if self.form != "github" else ()):
            first, *more = warning.text.split("; ") if "wrong-wiring" in warning.title else [warning.text]
            for line in (f"rnneval: {warning.title}: {first}", *(f"  {sentence}" for sentence in more)):
                say(line)
        self.write(made, forms)

    def write(self, texts: Texts, forms: Forms) -> None:
        """Write a result to the files in the form of their endings; of several, in that of --format, else the first."""
        for path in self.files:
            from rnneval.paths import write_text

            allowed = forms[Path(path).suffix.lower()]
            write_text(texts[self.form if self.form in allowed else allowed[0]](), path)


@dataclass(frozen=True, kw_only=True)
class FilesOutput(OutputOptions):
    """Output to several files."""

    out: tuple[str, ...] = option((), metavar="FILE", repeated=True)
    """File to write the record to as well: .json is the record, .csv the scores, .md Markdown."""


@dataclass(frozen=True, kw_only=True)
class RunOutput(FilesOutput):
    """Output of a run record."""

    form: str = option("table", flag="--format", choices=("table", "json", "github"))
    """Format of what is printed; github prints annotations, and also writes the summary of the job."""


@dataclass(frozen=True, kw_only=True)
class Printed(OutputOptions):
    """Output of a command that adds an option --out of its own, or has none."""

    out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StrictGroup(Options):
    """Option of a command that measures."""

    strict: bool = option(False)
    """Exit with 1 on any warning."""


def add_to_summary(markdown: str) -> None:
    """Append to the summary of the job, to which other steps write as well; do nothing outside of GitHub."""
    if path := os.environ.get(SUMMARY):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(markdown)
        except OSError as error:
            raise RecordError(f"{SUMMARY}={path}: cannot be written: {error.strerror or error}") from error


def command_line() -> list[str]:
    """Return the command line of this process, as records hold it."""
    return ["rnneval", *sys.argv[1:]]


def require(condition: object, message: str) -> None:
    """Refuse a use of the command line."""
    if not condition:
        raise UsageError(message)


def require_places(outputs: "Places", inputs: "Places") -> None:
    """Refuse an output file that cannot be written, or that the command also reads, before any work."""
    if not any(outputs.values()):
        return
    from rnneval.paths import each_place, require_apart

    for _, path in each_place(outputs):
        folder, reason = Path(path).absolute().parent, ""
        if Path(path).is_dir():
            reason = "it is a folder: name a file in it"
        elif not folder.is_dir():
            reason = "its folder is not there: make it first"
        elif not os.access(path if os.path.lexists(path) else folder, os.W_OK):
            reason = "Permission denied"
        if reason:
            raise RecordError(f"{path}: cannot be written: {reason}")
    require_apart(outputs, inputs)


def require_ending(option: str, paths: str | os.PathLike[str] | Iterable[str] | None, *allowed: str) -> None:
    """Refuse a file whose ending promises another format than one of those that can be written.

    A path without an ending (/dev/stdout, a pipe of the shell) is no promise and passes.
    """
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths or ():
        ending = Path(path).suffix
        if ending and ending.lower() not in allowed:
            known = " or ".join(filter(None, [", ".join(allowed[:-1]), allowed[-1]]))
            raise UsageError(f"{option} {path}: {ending} is not a format of this output: give {known}")
