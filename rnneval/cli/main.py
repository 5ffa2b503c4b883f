"""Entry point of the command line: find the command, run it, turn every error into one line and an exit code."""

import errno
import os
import traceback
from contextlib import suppress
from itertools import chain, pairwise
from typing import Any

import click

import rnneval
from rnneval.cli import commands
from rnneval.cli.output import add_to_summary, broken_pipes_ignored, say
from rnneval.errors import RnnevalError, errors_name_flags, named_in_message
from rnneval.registry import module, names

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130
_NO_LIMIT = 1000

# The commands in the groups and in the order of --help.
_GROUPS = {
    "Measure": ["evaluate", "sweep", "trace", "gradients", "import"],
    "Judge": ["check", "check-server", "lint", "compare", "gate"],
    "Look": ["open", "plot", "report", "explain"],
    "Try": ["demo"],
}
_NAMES = tuple(name.replace("_", "-") for name in names(commands.__name__))


def _command(name: str) -> click.Command:
    """Import a command's module, whose name has `_` for `-`."""
    command: click.Command = module(commands.__name__, name.replace("-", "_")).command
    return command


class Commands(click.Group):
    """Group of the commands in `commands/`, each imported only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of --help."""
        return list(chain(*_grouped().values()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        return _command(cmd_name) if cmd_name in self.commands else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; click would take the end of a file that is cut off for an interrupt."""
        try:
            return super().invoke(ctx)
        except EOFError as error:
            raise RuntimeError(f"the end of a file came too soon: {error}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, each with the first sentence of its help."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, members in _grouped().items():
            helps = {name: _command(name).get_short_help_str(_NO_LIMIT) for name in members}
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in helps.items()])


def _grouped() -> dict[str, list[str]]:
    """Return the names of the commands that there are, by group; one that was added stands under Other."""
    others = [name for name in _NAMES if name not in chain(*_GROUPS.values())]
    return {**_GROUPS, "Other": others} if others else _GROUPS


@click.command(
    cls=Commands,
    commands={name: click.Command(name) for name in _NAMES},  # for words that are close
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: rnneval evaluate model.keras held_out.txt --part 90%:",
)
@click.version_option(rnneval.__version__, prog_name="rnneval")
@click.pass_context
def rnneval_command(ctx: click.Context) -> None:
    """Evaluate recurrent language models: wiring, held-out perplexity, and whether a change helped."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code.

    Bad input is one line on standard error and 2; an interrupt is 130; a defect of rnneval is one line as well, with
    the traceback if RNNEVAL_DEBUG is set.
    """
    with errors_name_flags():
        try:
            with broken_pipes_ignored():
                result = rnneval_command.main(arguments, prog_name="rnneval", standalone_mode=False)
        except (KeyboardInterrupt, click.Abort):
            say("rnneval: interrupted")
            return EXIT_INTERRUPTED
        except Exception as error:
            if os.environ.get("RNNEVAL_DEBUG"):
                traceback.print_exception(error)
            lines = _message(error)
            for line in [f"rnneval: error: {lines[0]}", *lines[1:]]:
                say(line)
            if "--format=github" in arguments or ("--format", "github") in pairwise(arguments):
                _show_on_github(lines)
            return EXIT_INPUT
    return result if isinstance(result, int) else 0


def _message(error: Exception) -> list[str]:
    """Return what is said of an error: one line; after a missing argument the example, after some errors the help."""
    if isinstance(error, click.ClickException):
        lines = [error.format_message()]
        if isinstance(error, click.MissingParameter) and error.ctx is not None:
            lines.append(f"{error.ctx.command.epilog} (rnneval {error.ctx.info_name} --help shows the options)")
        return lines
    if isinstance(error, RnnevalError) and error.cause:
        return [str(error.args[0]), f"  cause: {error.cause}", f"  help: {error.advice}"]
    if isinstance(error, RnnevalError):
        return [str(error)]
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return [f"{named_in_message(os.fsdecode(error.filename or ''))}: {error.strerror}: give a shorter path"]
    if isinstance(error, MemoryError):
        return ["out of memory: a smaller --segment or fewer --streams need less"]
    return [f"this is a defect of rnneval ({type(error).__name__}: {error}); RNNEVAL_DEBUG=1 shows where"]


def _show_on_github(lines: list[str]) -> None:
    """Show an error as an annotation, and in the summary of the job."""
    from rnneval.render.markdown import escaped
    from rnneval.render.phrasing import annotation, one_line

    with suppress(OSError, RnnevalError):  # where it cannot be written, standard error has it
        click.echo(annotation("error", "\n".join(map(one_line, lines)), title="rnneval: error"))
        said = escaped(f"❌ rnneval: error: {' '.join(map(one_line, lines))}")
        add_to_summary(f"\n{said}\n")  # a table may stand above, which an empty line ends
