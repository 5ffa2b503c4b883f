"""What the terminal shows while a command works: progress on standard error, and nothing of TensorFlow's chatter."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

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
    with tempfile.TemporaryFile(prefix="rnneval-") as held:
        os.dup2(held.fileno(), 2)
        before, sys.stderr = sys.stderr, _writer(terminal)
        logging.captureWarnings(capture=True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        try:
            yield
        except (RnnevalError, click.ClickException, KeyboardInterrupt):
            raise
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            sys.stderr.flush()
            sys.stderr = before
            logging.captureWarnings(capture=False)
            os.dup2(terminal, 2)
            os.close(terminal)


def _writer(descriptor: int) -> Any:
    """A text file for `sys.stderr` that goes to the terminal; closing it leaves the descriptor open."""
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


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
            bar.update(task, completed=done, total=total, speed=f"{rate:,.0f} {unit}/s" if rate else "")

        yield show


def silence_warnings() -> None:
    """Keep other packages' deprecation warnings from a person's terminal; test suites see them."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
