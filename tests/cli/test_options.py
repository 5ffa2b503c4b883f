"""Every option is defined once: the command line, the Python functions and their docs agree with `rnneval.options`."""

from dataclasses import MISSING

import click
import pytest

import rnneval
from rnneval import options
from rnneval.cli.main import run
from rnneval.errors import UsageError
from rnneval.option import options_of
from rnneval.registry import module

COMMANDS = {
    "evaluate": (options.EvaluateOptions, options.OpenOptions, options.WorkerGroup),
    "trace": (options.TraceOptions, options.OpenOptions),
    "gradients": (options.GradientOptions, options.OpenOptions),
    "sweep": (options.SweepOptions, options.OpenOptions),
    "check": (options.CheckOptions, options.OpenOptions),
    "open": (options.OpenOptions,),
    "import": (options.ImportOptions,),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_options_of_its_groups(name: str) -> None:
    command = module("rnneval.cli.commands", name).command
    clicked = {param.opts[0]: param for param in command.params if isinstance(param, click.Option)}
    for group in COMMANDS[name]:
        for each, option in options_of(group):
            if option.flag:
                found = clicked[option.flag]
                assert found.help.startswith(option.off or option.help)
                assert found.required == (each.default is MISSING)
                if not found.is_flag and not found.multiple and each.default is not MISSING:
                    assert found.default == each.default


def test_a_keyword_that_is_not_known_is_refused_with_those_that_are() -> None:
    for wrong in (TypeError, UsageError):
        with pytest.raises(wrong, match="colour: not an option of evaluate; known are beside_reset, check, command"):
            rnneval.evaluate(None, "text.txt", colour="red")


def test_a_required_option_that_is_missing_is_named(capsys):
    assert run(["sweep", ".", "t.txt"]) == 2
    assert capsys.readouterr().err == "rnneval: error: Missing option '--out'.\n"
