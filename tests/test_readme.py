"""The README says nothing that is not there: commands, options, links, output, and two blocks for a first try."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def _quick_start() -> str:
    found = re.search(r"^## Quick start\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


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
