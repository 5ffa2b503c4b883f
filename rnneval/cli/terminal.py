"""Standard output and standard error of a command: broken pipes, TensorFlow's messages, progress bars."""

import codecs
import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from rnneval.errors import RecordError, RnnevalError

if TYPE_CHECKING:
    from rnneval.options import Progress


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
