"""Output of commands: results and their files, standard output and standard error, progress bars."""

import codecs
import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnneval.errors import RecordError, RnnevalError, UsageError
from rnneval.option import Options, option

if TYPE_CHECKING:
    from rnneval.options import Progress
    from rnneval.paths import AnyPath, Places
    from rnneval.records import Gate
    from rnneval.render.document import Block

Texts = Mapping[str, Callable[[], str]]  # Functions that make the text of a result, by its form.
FORMS: Mapping[str, Sequence[str]] = {
    ".json": ("json", "sarif"),  # SARIF is JSON, too
    ".csv": ("csv",),
    ".md": ("markdown", "table"),
    ".xml": ("junit",),
    ".sarif": ("sarif",),
    ".txt": ("text", "table", "github"),
}
"""Forms of a result by the ending of its file: that of --format if it is among them, else the first."""
VERDICT_FORMS = ("table", "json", "junit", "github", "markdown")
EXIT_CODES = {"pass": 0, "fail": 1, "inconclusive": 3, "not comparable": 3, "not tested": 3}
"""Exit code of each verdict."""


class OutputOptions(Options, heading="Output"):
    """Options that say how a result is printed, and to which files it is written."""

    form: str = option("table", flag="--format", choices=("table", "json"))
    """Format of what is printed."""
    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".json",))
    """File to write the record to as well, as JSON; only a complete one takes its place."""
    quiet: bool = option(False, short="-q")
    """Print no progress and no result; warnings still go to standard error."""

    def deliver(self, result: Any, document: "Callable[[Any], Iterable[Block]]", **texts: Callable[[], str]) -> None:
        """Print a result, its warnings on standard error, then write it; `texts` replace the usual ones.

        A text is made only where it is needed: a number that is not finite has no JSON, and still has a document.
        """
        from rnneval.records import encode
        from rnneval.render.document import Heading, is_warning
        from rnneval.render.markdown import markdown
        from rnneval.render.run_document import annotations

        blocks = tuple(document(result))
        title_first = sorted(blocks[:2], key=lambda block: not isinstance(block, Heading))  # then: not valid
        made = {
            "json": lambda: encode(result),
            "csv": lambda: str(result.to_frame().to_csv(index=False)),
            "markdown": lambda: markdown((*title_first, *blocks[2:])),
            "github": lambda: annotations(blocks),
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
        self.write(made)

    def write(self, texts: Texts) -> None:
        """Write a result to each file in the form of its ending; without one, in that of --format, else the first."""
        for path in self.out:
            from rnneval.paths import write_text

            allowed = [form for form in FORMS.get(Path(path).suffix.lower(), texts) if form in texts]
            write_text(texts[self.form if self.form in allowed else allowed[0]](), path)


class TableOutput(OutputOptions):
    """Output of a result that has a table."""

    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".json", ".csv", ".md"))
    """File to write the result to as well: .json is the record, .csv a row for each score or run, .md Markdown."""


class RunOutput(TableOutput):
    """Output of a run record."""

    form: str = option("table", flag="--format", choices=("table", "json", "github"))
    """Format of what is printed; github prints annotations, and also writes the summary of the job."""


class VerdictOutput(OutputOptions):
    """Output of a verdict that continuous integration reads."""

    form: str = option("table", flag="--format", choices=VERDICT_FORMS)
    """Format of what is printed."""
    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".json", ".xml", ".md"))
    """File to write the result to as well: .json is the record, .xml JUnit, .md Markdown."""


class Printed(OutputOptions):
    """Output of a command that adds an option --out of its own, or has none."""

    out: tuple[str, ...] = ()


class StrictGroup(Options):
    """Option of a command that measures."""

    strict: bool = option(False)
    """Exit with 1 on any warning."""


def verdict_texts(gate: "Gate", *, strict: bool = False) -> dict[str, Callable[[], str]]:
    """Return what makes the text of a verdict as continuous integration reads it, by its form."""
    from rnneval.render.gate_document import gate_github, gate_junit

    return {"junit": lambda: gate_junit(gate, datetime.now(UTC)), "github": lambda: gate_github(gate, strict=strict)}


def add_to_summary(markdown: str) -> None:
    """Append to the summary of the job, to which other steps write as well; do nothing outside of GitHub."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(markdown)
        except OSError as error:
            raise RecordError(f"GITHUB_STEP_SUMMARY={path}: cannot be written: {error.strerror or error}") from error


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
    beside = not {"--vocab", "--vocab-from"} & inputs.keys()
    read: dict[str, list[AnyPath]] = {name: [] for name in inputs}
    for name, path in each_place(inputs):
        read[name] += _files_read(name, path, beside=beside)
    require_apart(outputs, read)


def _files_read(name: str, path: str, *, beside: bool) -> "Iterator[AnyPath]":
    """Yield the files behind a path: code before `:NAME`, records in a folder, a checkpoint's parts and vocabulary."""
    code = path.rpartition(":")[0]
    yield code if code.endswith((".py", ".ipynb")) else path
    if name.startswith("RECORD"):
        from rnneval.paths import record_files

        yield from record_files([path])
    if name.startswith("CHECKPOINT"):
        from rnneval.paths import checkpoint_files
        from rnneval.text import siblings

        yield from checkpoint_files(path)
        yield from siblings(path) if beside else ()


@contextmanager
def broken_pipes_ignored() -> Iterator[None]:
    """Let a command go on printing after the reader of its pipe has closed it.

    `rnneval gate … | head -1` still ends with the verdict's exit code. Characters that the output's encoding lacks are
    written as escapes.
    """
    _open_closed_streams()
    stream: Any = sys.stdout
    if hasattr(stream, "reconfigure"):
        ascii_alone = codecs.lookup(stream.encoding).name == "ascii"  # click replaces it as well
        stream.reconfigure(encoding="utf-8" if ascii_alone else stream.encoding, errors="backslashreplace")
    output = _Output(stream)
    sys.stdout = output
    try:
        yield
        output.flush()
    finally:
        sys.stdout = stream
    if output.failure is not None:
        reason = output.failure.strerror or output.failure
        raise RecordError(f"standard output cannot be written: {reason}") from output.failure


class _Output:
    """Text stream that ignores a broken pipe, and keeps any other failure, which click and rich would swallow."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, action: Callable[..., Any], *arguments: str) -> None:
        try:
            action(*arguments)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.failure = self.failure or error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # so that Python's flush at exit cannot fail
            os.close(nowhere)


def _open_closed_streams() -> None:
    """Open standard streams that are closed, or the next file that is opened would get what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the file gets the lowest free number, which is that of the stream
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process


@contextmanager
def chatter_held() -> Iterator[None]:
    """Hold back what C++ libraries write to file descriptor 2, and Python's warnings and logs, while the block runs.

    Python's own standard error still goes to the terminal. What was held back is shown if the block fails for a reason
    other than the user's input.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    binary = open(terminal, "wb", closefd=False)  # noqa: SIM115 - as long as the text file
    writer = _Terminal(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)
    with tempfile.TemporaryFile(prefix="rnneval-") as held:
        os.dup2(held.fileno(), 2)
        before, sys.stderr = sys.stderr, writer
        logging.captureWarnings(capture=True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # retracing is no mistake of the user
        try:
            yield
        except (RnnevalError, click.ClickException, KeyboardInterrupt):
            raise
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            writer.flush()
            writer.left = True
            sys.stderr = before
            logging.captureWarnings(capture=False)
            os.dup2(terminal, 2)
            os.close(terminal)


class _Terminal(io.TextIOWrapper):
    """Text file for `sys.stderr` that drops what is written after it is left: absl's loggers write at exit."""

    left = False

    def write(self, text: str) -> int:
        return len(text) if self.left else super().write(text)

    def flush(self) -> None:
        if not self.left:
            super().flush()


def say(message: str) -> None:
    """Print one line on standard error, control characters escaped; a closed pipe is ignored."""
    from rnneval.render.phrasing import one_line

    with suppress(OSError):
        click.echo(one_line(message), err=True)


def tell(text: str) -> None:
    """Print lines on standard output, with control characters and workflow commands escaped."""
    from rnneval.render.phrasing import not_a_command, visible

    click.echo("\n".join(not_a_command(visible(line)) for line in text.split("\n")))


@contextmanager
def progress_bar(what: str, *, quiet: bool, unit: str = "tokens") -> "Iterator[Progress | None]":
    """Let the block have a function that shows work done, speed and time left; without a terminal, None."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    speed = TextColumn("{task.fields[speed]}")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), speed, TimeRemainingColumn())
    with Bar(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=None, speed="")

        def show(done: int, total: int) -> None:
            rate = bar.tasks[task].speed or 0
            shown = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
            bar.update(task, completed=done, total=total, speed=f"{shown} {unit}/s" if rate else "")

        yield show
