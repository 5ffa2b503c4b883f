"""Every option is defined once: the command line, the Python functions and their docs agree with `rnneval.options`."""

import inspect
from dataclasses import MISSING, fields
from typing import Any

import click
import pytest

import rnneval
from rnneval import options
from rnneval.callbacks.histories import StateNormsOptions
from rnneval.cli.main import run
from rnneval.errors import UsageError, errors_name_flags
from rnneval.evaluate.opening import open as open_checkpoint
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
FUNCTIONS: dict[Any, type] = {
    rnneval.evaluate: options.EvaluateOptions,
    rnneval.trace: options.TraceOptions,
    rnneval.gradients: options.GradientOptions,
    rnneval.sweep: options.SweepOptions,
    rnneval.from_losses: options.ImportOptions,
    rnneval.StateNorms: StateNormsOptions,
    open_checkpoint: options.OpenOptions,
}
GROUPS = sorted({group for groups in COMMANDS.values() for group in groups}, key=lambda group: group.__name__)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_options_of_its_groups(name: str) -> None:
    command = module("rnneval.cli.commands", name).command
    clicked = {param.opts[0]: param for param in command.params if isinstance(param, click.Option)}
    for group in COMMANDS[name]:
        for option in options_of(group):
            if option.flag:
                found = clicked[option.flag]
                assert found.help.startswith(option.off or option.help)
                assert found.required == (option.default is MISSING)
                if not found.is_flag and not found.multiple and not found.required:
                    assert found.default == option.default


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_function_has_the_options_of_its_group(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    doc = inspect.getdoc(function.__init__ if isinstance(function, type) else function) or ""
    for each in fields(FUNCTIONS[function]):
        if each.init:
            assert parameters[each.name].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[each.name].default == (
                inspect.Parameter.empty if each.default is MISSING else each.default
            )
            assert f"    {each.name}: " in doc
    assert "options" not in parameters


def test_a_keyword_that_is_not_known_is_refused_with_those_that_are() -> None:
    for wrong in (TypeError, UsageError):
        with pytest.raises(wrong, match="colour: not an option of evaluate; known are beside_reset, check, command"):
            rnneval.evaluate(None, "text.txt", colour="red")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_values_that_are_not_allowed_are_refused(group: type) -> None:
    needed = {each.name: "x" for each in fields(group) if each.default is MISSING}
    for option in options_of(group):
        if option.choices:
            with (
                errors_name_flags(),
                pytest.raises(UsageError, match=f"{option.flag} 'other' is not known: give .*{option.choices[-1]}"),
            ):
                group(**needed, **{option.name: "other"})
        if option.least is not None:
            said = f"{option.flag} {option.least - 1} is not allowed: give at least {option.least}"
            with errors_name_flags(), pytest.raises(UsageError, match=said):
                group(**needed, **{option.name: option.least - 1})
        if option.endings:
            with errors_name_flags(), pytest.raises(UsageError, match=f"{option.flag} x.zip: .zip is not a format"):
                group(**needed, **{option.name: "x.zip"})


def test_a_required_option_that_is_missing_is_named(capsys):
    assert run(["sweep", ".", "t.txt"]) == 2
    assert capsys.readouterr().err.startswith("rnneval: error: Missing option '--out'.\nExample: rnneval sweep ")
