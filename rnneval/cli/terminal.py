"""What the terminal shows while a command works: progress on standard error, and nothing of TensorFlow's chatter."""

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import click

from rnneval.errors import RnnevalError


@contextmanager
def chatter_held() -> Iterator[None]:
    """Hold back what C++ libraries write to file descriptor 2, and Python's warnings and logs, while the block runs.

    TensorFlow and absl write start-up lines there whatever TF_CPP_MIN_LOG_LEVEL says. Python's own standard error
    keeps going to the terminal. What was held is shown only where the block fails for a reason that is not a person's
    input: then it may say why.
    """
    sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # no standard error at all: nothing to hold
        yield
        return
    writer = _Terminal(terminal)
    with tempfile.TemporaryFile(prefix="rnneval-") as held:
        os.dup2(held.fileno(), 2)
        before, sys.stderr = sys.stderr, writer
        logging.captureWarnings(capture=True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # compiled steps are no mistake of the user
        try:
            yield
        except (RnnevalError, click.ClickException, KeyboardInterrupt):
            raise
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            writer.leave()
            sys.stderr = before
            logging.captureWarnings(capture=False)
            os.dup2(terminal, 2)
            os.close(terminal)


def say(message: str) -> None:
    """Print one line on standard error, whatever stands in it, and go on where nobody reads it."""
    from rnneval.render.phrasing import one_line

    with suppress(OSError):
        click.echo(one_line(message), err=True)


def tell(text: str) -> None:
    """Print lines on standard output, each harmless, whatever stands in it."""
    from rnneval.render.phrasing import not_a_command, visible

    click.echo("\n".join(not_a_command(visible(line)) for line in text.split("\n")))


class _Terminal(io.TextIOWrapper):
    """A text file for `sys.stderr` that goes to the terminal, until it is left.

    Loggers that were made meanwhile (absl's) keep it and may write at exit: what comes then is dropped.
    """

    def __init__(self, descriptor: int) -> None:
        binary = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - as long as the text file
        super().__init__(binary, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._left = False

    def write(self, text: str) -> int:
        """Write to the terminal, or nowhere once it is left."""
        return len(text) if self._left else super().write(text)

    def flush(self) -> None:
        """Pass on what was written."""
        if not self._left:
            super().flush()

    def leave(self) -> None:
        """Write what is waiting, and nothing from then on."""
        self.flush()
        self._left = True


Progress = Callable[[int, int], None]


def progress_bar(what: str, *, quiet: bool, unit: str = "tokens") -> AbstractContextManager[Progress | None]:
    """Give a function that shows work done of work in all, with speed and time left; only on a terminal."""
    if quiet or not sys.stderr.isatty():
        return nullcontext(None)
    return _bar(what, unit)


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    speed = TextColumn("{task.fields[speed]}")
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), speed, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, speed="")

        def show(done: int, total: int) -> None:
            rate = bar.tasks[task].speed
            bar.update(task, completed=done, total=total, speed=f"{_rate(rate)} {unit}/s" if rate else "")

        yield show


def _rate(each_second: float) -> str:
    """Write a speed: whole numbers, but where these would say 0 checkpoints a second."""
    return f"{each_second:,.0f}" if each_second >= 10 else f"{each_second:.2g}"


def silence_warnings() -> None:
    """Keep other packages' deprecation warnings from a person's terminal; test suites see them."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
