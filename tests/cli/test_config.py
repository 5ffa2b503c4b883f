"""`--config FILE`: defaults of options in TOML, checked as if they were typed, and never code."""

import json
from pathlib import Path

import click
import numpy as np
import pytest

from rnneval.cli import commands
from rnneval.cli.command import RUNS_CODE, Command
from rnneval.cli.main import rnneval_command, run
from rnneval.registry import module, names
from tests.gates.synthetic import ar_losses, make_run

ARGUMENTS = {
    "losses": ["l.parquet"],
    "checkpoint": ["m.keras"],
    "text": ["t.txt"],
    "folder": ["ckpts"],
    "records": ["r.json"],
    "what": ["m.keras"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    losses = ar_losses(128)
    make_run(losses, checkpoint="a").save("a.json")
    make_run(losses + 0.1, accuracy=np.linspace(0.5, 0.9, 128), checkpoint="b").save("b.json")
    return tmp_path


def params_of(name: str, *words: str) -> dict[str, object]:
    """The values that click gives a command, the required arguments and options being given."""
    command = module(commands.__name__, name).command
    needed = [word for param in command.params if isinstance(param, click.Argument) and param.required
              for word in ARGUMENTS[param.name]]  # fmt: skip
    parent = click.Context(rnneval_command, **rnneval_command.context_settings)
    return command.make_context(name, [*needed, *words], parent=parent).params


def config(text: str) -> str:
    Path("c.toml").write_text(text, encoding="utf-8")
    return "c.toml"


def test_a_section_sets_defaults(folder):
    assert (
        run(["compare", "a.json", "b.json", "-q", "--out", "typed.json", "--metric", "accuracy", "--blocks", "2"]) == 0
    )
    given = config('[compare]\nmetric = "accuracy"\nblocks = 2\nquiet = true\nout = ["read.json"]\n')
    assert run(["compare", "a.json", "b.json", "--config", given]) == 0
    assert json.loads(Path("read.json").read_text()) == json.loads(Path("typed.json").read_text())
    assert json.loads(Path("read.json").read_text())["metric"] == "accuracy"


def test_what_is_typed_wins_and_the_own_section_wins_over_the_shared_one(folder):
    given = config('[rnneval]\npart = "1:"\ntokens = "byte"\nseed = 1\n[evaluate]\npart = "2:"\nseed = 2\n')
    found = params_of("evaluate", "--config", given, "--seed", "3")
    assert (found["tokens"], found["part"], found["seed"]) == ("byte", "2:", 3)
    assert params_of("trace", "--config", given)["part"] == "1:"


def _sample(option: click.Option) -> tuple[list[str], str]:
    """A value of an option as it is typed, and as it is written in TOML."""
    flag = max(option.opts, key=len)
    if option.is_flag:
        return [flag], "true"
    if isinstance(option.type, click.Choice):
        word = option.type.choices[-1]
        return [flag, word], f'"{word}"'
    if option.type.name.startswith(("integer", "float")):
        return [flag, "7"], "7"
    return ([flag, "x", flag, "y"], '["x", "y"]') if option.multiple else ([flag, "x"], '"x"')


@pytest.mark.parametrize("name", names(commands.__name__))
def test_every_option_reads_from_a_file_as_from_the_command_line(name, folder):
    command = module(commands.__name__, name).command
    assert isinstance(command, Command)
    samples = {
        max(option.opts, key=len)[2:]: _sample(option)
        for option in command.params
        if isinstance(option, click.Option) and not option.is_eager
    }
    free = {key: sample for key, sample in samples.items() if key not in RUNS_CODE}
    assert len(free) >= 3
    typed = params_of(name, *(word for words, _ in free.values() for word in words))
    file = config(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, (_, value) in free.items()))
    assert params_of(name, "--config", file) == typed


@pytest.mark.parametrize("key", sorted(RUNS_CODE))
@pytest.mark.parametrize("section", ["rnneval", "trace"])
def test_what_runs_code_is_taken_from_the_command_line_alone(folder, refused, key, section):
    said = refused(
        "evaluate", "m.keras", "t.txt", "--config", config(f'[{section}]\n{key.replace("-", "_")} = "x.py:M"\n')
    )
    assert said.startswith(f"c.toml: [{section}] {key}: runs code")
    assert f"--{key}" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[evalute]\n", r"c.toml: [evalute]: no command of this name; did you mean evaluate"),
        ("[evaluate]\nprt = '90%:'\n", "c.toml: [evaluate] prt: no such option; did you mean part"),
        ("[trace]\nmetric = 'x'\n", "c.toml: [trace] metric: no such option"),  # checked though it is not run
        ("[evaluate]\nconfig = 'd.toml'\n", "c.toml: [evaluate] config: no such option"),
        ("part = '90%:'\n", "c.toml: part: stands in no section"),
        ("[evaluate]\nsegment = 2.5\n", "c.toml: [evaluate] segment: '2.5' is not a valid integer"),
        ("[evaluate]\npart = 2020-01-01\n", "c.toml: [evaluate] part: datetime.date"),
        ("[evaluate]\nstate = 'cary'\n", "c.toml: [evaluate] state: 'cary' is not one of"),
        ("[evaluate\n", "--config c.toml: is not TOML"),
        ("#" * 70_000, "--config c.toml: cannot be read: it has 70,000 bytes"),
    ],
)
def test_wrong_input_is_one_line_that_names_the_file(folder, refused, text, said):
    assert said in refused("evaluate", "m.keras", "t.txt", "--config", config(text))


def test_the_file_is_not_written_over(folder, refused):
    given = config("[compare]\nblocks = 1\n")
    said = refused("compare", "a.json", "b.json", "--config", given, "--out", given)
    assert "is the same file as --config c.toml" in said
    assert Path(given).read_text() == "[compare]\nblocks = 1\n"
