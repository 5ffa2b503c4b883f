"""Dispatch: find the command, run it, turn every error into one line and an exit code."""

import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

import rnneval
from rnneval.cli import commands
from rnneval.errors import RnnevalError

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130

# The order of a person's work, for the list in --help; a command that is not named here comes after these.
_ORDER = ("evaluate", "open", "check", "lint", "trace", "gradients", "compare", "gate", "plot", "report", "sweep")


class _ReaderLeftError(Exception):
    """Whoever read our standard output has closed it."""


@contextmanager
def _closed_pipe_told() -> Iterator[None]:
    """Tell a closed pipe before click and rich make exit code 1 of it, each in a way of its own."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        raise _ReaderLeftError from error
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):
            raise _ReaderLeftError from error
        raise


class Commands(click.Group):
    """The files of `commands/`, each imported only when it is asked for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments, which prints the help where that is asked for."""
        with _closed_pipe_told():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _closed_pipe_told():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of a person's work."""
        names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
        return sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"rnneval.cli.commands.{cmd_name}").command
        return command


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: rnneval evaluate model.keras held_out.txt --part 90%:",
)
@click.version_option(rnneval.__version__, prog_name="rnneval")
def rnneval_command() -> None:
    """Evaluate recurrent language models: wiring, held-out perplexity, and whether a change helped."""


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code.

    Bad input is one line on standard error and 2; an interrupt is 130; a defect of rnneval is one line too, with the
    traceback where RNNEVAL_DEBUG is set.
    """
    try:
        result = rnneval_command.main(arguments, prog_name="rnneval", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        click.echo("rnneval: interrupted", err=True)
        return EXIT_INTERRUPTED
    except _ReaderLeftError:
        # `rnneval … | head`: nothing to say, and Python must not say it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _refuse(error)
    return result if isinstance(result, int) else 0


def _refuse(error: Exception) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 0
    if os.environ.get("RNNEVAL_DEBUG"):
        traceback.print_exception(error)
    click.echo(f"rnneval: error: {_visible(' '.join(_message(error).split()))}", err=True)
    return EXIT_INPUT


def _visible(text: str) -> str:
    """Show control characters as escapes: a name out of a file must not drive a terminal."""
    from rnneval.render.words import visible

    return visible(text)


def _message(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, RnnevalError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory: a smaller --segment or fewer --streams need less"
    return f"this is a defect of rnneval ({type(error).__name__}: {error}); RNNEVAL_DEBUG=1 shows where"
