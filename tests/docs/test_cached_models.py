"""The page of cached models shows what its record says, and three of its classes come out the same."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from cached import tables  # noqa: E402 - found by the line above
from cached.rows import ROWS, caught  # noqa: E402

PAGE = (ROOT / "docs" / "cached-models.md").read_text(encoding="utf-8")
RECORD = json.loads((ROOT / "docs" / "records" / "cached_models.json").read_text(encoding="utf-8"))


def test_the_page_has_the_tables_that_the_record_gives() -> None:
    assert tables.put(PAGE, RECORD) == PAGE


def test_every_class_was_read_by_the_loops() -> None:
    assert len(RECORD["now"]) == 29
    assert all({"float32", "float64"} <= entry.keys() for entry in RECORD["now"].values())


def test_the_check_names_a_fault_by_its_pattern_alone() -> None:
    (row,) = (row for row in ROWS if row.key.startswith("#46084"))
    tests = {"shapes": ["fail", 2.5, ["in calls of more than one token after a state"]]}
    assert caught(row, {"checks": {"Mamba2": {"tests": tests}}})
    assert not caught(row, {"checks": {"Mamba2": {"tests": {"shapes": ["fail", 2.5, ["in padded rows"]]}}}})
    assert not caught(row, {})


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Bamba", "LFM2", "Mamba2"])
def test_a_class_comes_out_as_the_record_says(name: str) -> None:
    pytest.importorskip("transformers", minversion=RECORD["versions"]["transformers"])
    from cached.configurations import build
    from cached.loops import measure

    entry = RECORD["now"][name]
    loops = ("single", "several", "left-padding", "right-padding-then-on", "reset")
    again = {"float32": measure(build(name), loops), "float64": {}}
    assert [tables.wrong(again, loop) for loop in loops] == [tables.wrong(entry, loop) for loop in loops]


def _blocks() -> list[str]:
    """Return the code of the findings: what all of them begin with, then that of each."""
    return re.findall(r"```python\n(.*?)```", PAGE[PAGE.index("## Findings") :], flags=re.DOTALL)


@pytest.mark.torch
@pytest.mark.parametrize("number", range(1, len(_blocks())))
def test_the_code_of_a_finding_shows_it(number: int) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers", minversion=RECORD["versions"]["transformers"])
    begin, *findings = _blocks()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(begin + findings[number - 1], {})  # noqa: S102 - the code of the page itself
    finally:
        torch.set_grad_enabled(True)
    seen = printed.getvalue().strip()
    assert seen == "torch.Size([2, 2, 61])" or float(re.findall(r"[\d.]+(?:e-\d+)?", seen)[0]) > 1e-3
