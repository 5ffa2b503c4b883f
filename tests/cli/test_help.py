"""Help that can be scanned: options in groups, each with its default; words that are close; completion."""

import subprocess
import sys

import click
import pytest

from rnneval.cli import commands
from rnneval.cli.command import by_heading
from rnneval.cli.main import rnneval_command, run
from rnneval.registry import module, names

NAMES = tuple(name.replace("_", "-") for name in names(commands.__name__))


def command_named(name: str) -> click.Command:
    command: click.Command = module(commands.__name__, name.replace("-", "_")).command
    return command


def headings(lines: list[str]) -> list[str]:
    return [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]


def test_the_options_of_evaluate_stand_in_groups(capsys):
    run(["evaluate", "--help"])
    text = capsys.readouterr().out
    lines = text[text.index("Model:") :].splitlines()
    assert headings(lines) == ["Model", "Text", "State", "Speed", "Scores", "Wiring", "Output", "Options"]
    places = {heading: lines.index(f"{heading}:") for heading in headings(lines)}
    for flag, heading in {"--vocab": "Model", "--part": "Text", "--segment": "State", "--jobs": "Speed"}.items():
        place = next(i for i, line in enumerate(lines) if line.split()[:1] == [flag])
        assert max((at, name) for name, at in places.items() if at < place)[1] == heading


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_shown_once_with_a_sentence_and_its_default(name, capsys):
    command = command_named(name)
    parent = click.Context(rnneval_command, info_name="rnneval", **rnneval_command.context_settings)
    context = click.Context(command, info_name=name, parent=parent)
    shown = [option for options in by_heading(command.get_params(context)).values() for option in options]
    assert len(shown) == len({option.name for option in shown})
    for option in shown:
        text = option.get_help_record(context)[1]
        assert text[0].isupper(), option.opts
        assert "." in text, option.opts
        assert "[required]" in text or not option.required, option.opts
        assert "[default: none]" not in text or option.default == "none", option.opts
    assert run([name, "--help"]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines() if "|" not in line)


@pytest.mark.parametrize(
    ("words", "close"),
    [
        (["evalute"], "Did you mean 'evaluate'?"),
        (["complain"], "Did you mean one of: 'compare', 'explain'?"),
        (["evaluate", "--vocb", "v"], "--vocab"),
        (["gate", "--requir", "x"], "--require"),
    ],
)
def test_a_word_that_is_close_is_suggested(refused, words, close):
    assert close in refused(*words)


def test_a_shell_completes_commands_options_and_paths():
    def completed(words: str, at: int) -> list[str]:
        environment = {"_RNNEVAL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        code = "import sys; from rnneval.cli.main import run; run([])"
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        assert ran.stderr == ""
        return ran.stdout.split()

    assert completed("rnneval ev", 1) == ["plain,evaluate"]
    assert "plain,--vocab-from" in completed("rnneval evaluate --voc", 2)
    assert completed("rnneval evaluate mod", 2) == ["file,mod"]
    assert completed("rnneval evaluate --vocab vo", 3) == ["file,vo"]
    assert completed("rnneval evaluate --state re", 3) == ["plain,reset"]


def test_seldom_used_options_are_shown_by_help_all_alone(capsys):
    flags = ["--tolerance", "--seed", "--streams", "--memory", "--scheduler", "--weight-map", "--max-order"]
    for name, more in (("evaluate", flags), ("sweep", ["--expect-sha256"]), ("gradients", ["--backend"])):
        run([name, "--help"])
        usual = capsys.readouterr().out
        run([name, "--help-all"])
        every = capsys.readouterr().out
        assert not any(f"  {flag} " in usual for flag in more)
        assert all(f"  {flag} " in every for flag in more)


def test_a_missing_argument_shows_the_example(capsys):
    assert run(["evaluate"]) == 2
    assert "Example: rnneval evaluate model.keras text.txt" in capsys.readouterr().err
