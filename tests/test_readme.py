"""The README says nothing that is not there: commands, options, links, output, and two blocks for a first try."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rnneval.cli.main import rnneval_command

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def _quick_start() -> str:
    found = re.search(r"^## Quick start\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def _command_lines() -> Iterator[list[str]]:
    """Every line of a shell block that runs rnneval, as its words."""
    for block in FENCED.finditer(README):
        if block["language"] != "sh":
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\|", line):
                words = shlex.split(part, comments=True)
                if words and Path(words[0]).name == "rnneval":
                    yield words[1:]


def _options(command: str) -> set[str]:
    found = rnneval_command.get_command(click.Context(rnneval_command), command)
    assert found is not None, f"the README names rnneval {command}, which is not there"
    return {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def test_quick_start_is_two_commands_for_a_machine_with_python_alone() -> None:
    blocks = [(block["language"], block["body"].strip()) for block in FENCED.finditer(_quick_start())]
    assert [language for language, _ in blocks] == ["sh", "sh"]
    for _, body in blocks:
        assert body.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert body.count("\n") == 0
    assert blocks[0][1].endswith(" && .venv/bin/rnneval demo")
    assert "pytest" in blocks[1][1]


@pytest.mark.parametrize(
    ("command", "made"),
    [
        ("rnneval evaluate model.keras held_out.txt --out run.json", "record base.json"),
        ("rnneval gate new.json --baseline base.json", "output gate new.json --baseline base.json"),
    ],
)
def test_what_a_command_prints_is_what_it_prints_today(command: str, made: str) -> None:
    """Line by line, for the records of docs/records; … stands for what is left out."""
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    from from_code import part

    printed = [" ".join(line.split()) for line in part(made).splitlines()]
    block = README.partition(f"```sh\n{command}\n```\n\n```text\n")[2].partition("\n```")[0]
    shown = [" ".join(line.split()) for line in block.splitlines() if line != "…"]
    assert len(shown) > 1
    assert shown == [line for line in printed if line in shown]


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for words in _command_lines()])
def test_a_command_and_its_options_exist(words: list[str]) -> None:
    options = {word.partition("=")[0] for word in words if word.startswith("-") and not word[1:2].isdigit()}
    assert words
    assert options <= _options(words[0])


def test_links_resolve() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
