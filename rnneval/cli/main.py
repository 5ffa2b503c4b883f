"""Entry point of the command line: find the command, run it, turn every error into one line and an exit code."""

import os
import traceback

import click

import rnneval
from rnneval.cli import commands
from rnneval.cli.terminal import broken_pipes_ignored, say
from rnneval.errors import RnnevalError
from rnneval.registry import module, names

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130

# Order of the commands in --help; a command that is not named here comes after these.
_ORDER = (
    "evaluate", "open", "check", "lint", "trace", "gradients", "compare", "gate", "plot", "report", "sweep", "import",
)  # fmt: skip


class Commands(click.Group):
    """Group of the commands in `commands/`, each imported only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of --help."""
        return sorted(
            names(commands.__name__), key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = module(commands.__name__, cmd_name).command
        return command


@click.command(
    cls=Commands,
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
    try:
        with broken_pipes_ignored():
            result = rnneval_command.main(arguments, prog_name="rnneval", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        say("rnneval: interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        return _refuse(error)
    return result if isinstance(result, int) else 0


def _refuse(error: Exception) -> int:
    if os.environ.get("RNNEVAL_DEBUG"):
        traceback.print_exception(error)
    say(f"rnneval: error: {_message(error)}")
    return EXIT_INPUT


def _message(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, RnnevalError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory: a smaller --segment or fewer --streams need less"
    return f"this is a defect of rnneval ({type(error).__name__}: {error}); RNNEVAL_DEBUG=1 shows where"
