"""The page of cached models shows what its record says, its code prints what it says, and three classes come out so."""

import contextlib
import functools
import importlib.util
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from cached import tables  # noqa: E402 - found by the line above
from cached.rows import ROWS, caught  # noqa: E402

PAGE = (ROOT / "docs" / "cached-models.md").read_text(encoding="utf-8")
RECORD = json.loads((ROOT / "docs" / "records" / "cached_models.json").read_text(encoding="utf-8"))
FINDINGS = PAGE[PAGE.index("## Findings") : PAGE.index("## Other packages")]
BEGIN, *SNIPPETS = re.findall(r"```python\n(.*?)```", FINDINGS, flags=re.DOTALL)


def test_the_page_has_the_tables_that_the_record_gives() -> None:
    assert tables.put(PAGE, RECORD) == PAGE


def test_a_mark_without_text_and_one_with_other_text_get_the_same() -> None:
    empty = "<!-- generate A -->\n<!-- end -->\n\n<!-- generate B -->\nold\n<!-- end -->\n"
    page = "".join(f"<!-- table {name} -->\n<!-- end -->\n" for name in tables.tables(RECORD)) + empty
    filled = tables.put(page.replace(" A ", " Jamba ").replace(" B ", " Zamba "), RECORD)
    assert tables.put(filled, RECORD) == filled
    assert filled.count("<!-- end -->") == page.count("<!-- end -->")
    assert "old" not in filled.splitlines()


def test_every_class_was_read_by_the_loops() -> None:
    assert len(RECORD["now"]) == 29
    assert all({"float32", "float64"} <= entry.keys() for entry in RECORD["now"].values())


def test_the_record_names_no_folder_of_the_machine_that_wrote_it() -> None:
    assert re.findall(r'[\s"(]/(?:home|work|tmp|root)/\S*', json.dumps(RECORD)) == []


def test_every_loop_of_a_table_was_run_for_every_class() -> None:
    loops = {*tables.GENERATE.values(), *(loop for some in tables.COLUMNS.values() for loop in some)}
    missing = [(name, loops - entry["float64"].keys()) for name, entry in RECORD["now"].items()]
    assert not [(name, some) for name, some in missing if some]


def test_a_loop_that_differs_where_the_check_does_not_is_told() -> None:
    entry: dict[str, Any] = {"float32": {"ones-one": 0.5}, "float64": {}, "calls": {"tests": {}}}
    assert tables.disagreements(entry) == ["mask of ones: loops only"]
    entry["calls"]["tests"] = {"shapes": ["fail", 1.0, ["with a growing mask of ones, one token a call"]]}
    assert tables.disagreements(entry) == []
    entry["float32"] = {"ones-one": 1e-6}
    assert tables.disagreements(entry) == ["mask of ones: check only"]


def test_what_generate_is_hit_by_is_said_in_the_words_of_its_table() -> None:
    sizes = dict.fromkeys(tables.GENERATE.values(), 1e-7) | {"generate-beams": 0.5, "generate-lookup": "ValueError: no"}
    record = {"now": {"A": {"float32": {}, "float64": sizes}, "B": {"float32": {}, "float64": {**sizes}}}}
    assert tables.generate_of(record, "A", "B") == (
        "`generate` of A, B differs in *beams*, and raises in *prompt lookup*."
    )


def test_each_class_that_differs_has_a_finding_and_no_other() -> None:
    words = re.findall(r"[\w.-]+", " ".join(re.findall(r"^### (.*)$", FINDINGS, flags=re.MULTILINE)))
    assert {name for name in RECORD["now"] if name in words} == {*tables.differing(RECORD), "Mamba2"}
    assert tables.wrong(RECORD["now"]["Mamba2"], "generate-on-whole")


@pytest.mark.parametrize(
    ("heading", "column", "others"),
    [
        ("Calls of several tokens after a state", "several tokens a call", {"MiniMax", "RecurrentGemma"}),
        ("A mask of ones, one token a call", "mask of ones", set()),
        ("Steps of time are limited in long calls only", "one token a call", set()),
        ("One token for several rows", "two rows", set()),
        ("A mask that is not used", "left padding", {"MiniMax", "RecurrentGemma"}),
        ("batch_select_indices leaves a state", "batch_select_indices", set()),
    ],
)
def test_a_finding_names_the_classes_of_its_column(heading: str, column: str, others: set[str]) -> None:
    named = re.search(f"^### {heading}: (.*)$", PAGE, flags=re.MULTILINE)
    differ = {name for name, entry in RECORD["now"].items() if tables.worst(entry, tables.COLUMNS[column])}
    assert named is not None
    assert {*named[1].split(", ")} | others == differ


def test_the_prose_of_the_findings_has_no_size_that_no_line_prints() -> None:
    prose = re.sub(r"```python\n.*?```|<!-- .*? -->|\(https:.*?\)", "", FINDINGS, flags=re.DOTALL)
    assert re.findall(r"\d+\.\d+", prose) == []


def test_the_planted_faults_are_those_of_their_record() -> None:
    planted = json.loads((ROOT / "benchmarks" / "planted_faults.json").read_text(encoding="utf-8"))
    assert planted["summary"] == {"faults": 220, "right": 220, "alarms on right models": 0}
    assert len(planted["right models"]) == 11
    assert "220 faults were planted into eleven tiny models" in " ".join(PAGE.split())


def test_the_check_names_a_fault_by_its_pattern_alone() -> None:
    (row,) = (row for row in ROWS if row.key.startswith("#46084"))
    tests = {"shapes": ["fail", 2.5, ["in calls of more than one token after a state"]]}
    assert caught(row, {"checks": {"Mamba2": {"tests": tests}}})
    assert not caught(row, {"checks": {"Mamba2": {"tests": {"shapes": ["fail", 2.5, ["in padded rows"]]}}}})
    assert not caught(row, {})


@pytest.mark.torch
def test_the_models_are_as_small_as_the_page_says() -> None:
    pytest.importorskip("torch")
    from cached.configurations import CLASSES

    arguments = [each for _, _, each in CLASSES.values()]
    assert {len(each.get("layers_block_type", ())) or each["num_hidden_layers"] for each in arguments} == {2, 3, 4, 6}
    assert {each["hidden_size"] for each in arguments} == {32, 64}
    assert {each[key] for each in arguments for key in each if key.endswith(("chunk_size", "block_size"))} == {8}


@pytest.mark.torch
def test_a_size_is_that_of_log_probabilities_in_quartiles_of_the_second() -> None:
    torch = pytest.importorskip("torch")
    from cached.loops import distance

    # probabilities 1/2, 1/4, 1/8, 1/8 and another order of them: log-probabilities differ by ln 4 at most, and the
    # quartiles of -ln 2, -ln 4, -ln 8, -ln 8 are -ln 8 and -(ln 2 + 3 ln 4) / 4, ln 8 - 7 ln 2 / 4 = 5 ln 2 / 4 apart
    seen, wanted = (torch.tensor([[each]]).double().log() for each in ([4.0, 2, 1, 1], [1.0, 2, 1, 4]))
    assert distance((seen, wanted)) == pytest.approx(2 / 1.25)
    assert distance((seen, wanted[:, :, :2])) == float("inf")


def require_release_of_the_record() -> None:
    """Skip where another release is installed: later ones mend what the page found."""
    release = RECORD["versions"]["transformers"]
    if pytest.importorskip("transformers").__version__ != release:
        pytest.skip(f"the page was made with transformers {release}")


@pytest.mark.torch
@pytest.mark.parametrize("name", ["Bamba", "LFM2", "Mamba"])
def test_a_class_comes_out_as_the_record_says(name: str) -> None:
    require_release_of_the_record()
    from cached.configurations import build
    from cached.loops import measure

    entry = RECORD["now"][name]
    loops = (
        *("calls-of-one", "calls-of-several", "unplaced-one", "ones-one", "pads-left-one", "pads-right-then-one"),
        *("reset", "generate-one-row", "generate-padded", "generate-on-whole"),
    )
    again = {"float32": measure(build(name), loops), "float64": {}}
    assert [tables.wrong(again, loop) for loop in loops] == [tables.wrong(entry, loop) for loop in loops]


@functools.cache
def _names() -> dict[str, Any]:
    """Return the names that the code of the findings begins with."""
    names: dict[str, Any] = {}
    exec(BEGIN, names)  # noqa: S102 - the code of the page itself
    return names


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="wants transformers")
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_code_of_a_finding_prints_what_stands_behind_it(number: int) -> None:
    torch = pytest.importorskip("torch")
    require_release_of_the_record()
    expected = re.findall(r"^print\(.*\)  # (.*)$", SNIPPETS[number], flags=re.MULTILINE)
    printed = io.StringIO()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad(), contextlib.redirect_stdout(printed):
            exec(SNIPPETS[number], {**_names()})  # noqa: S102 - the code of the page itself
    finally:
        torch.set_num_threads(threads)
    lines = printed.getvalue().splitlines()
    assert [_without_sizes(each) for each in lines] == [_without_sizes(each) for each in expected], lines
    for line, wanted in zip(lines, expected, strict=True):
        assert _sizes(line) == pytest.approx(_sizes(wanted), rel=2e-3, abs=1e-4), line
    assert len(expected) == SNIPPETS[number].count("\nprint(")


_SIZE = re.compile(r"\d+\.\d*(?:e-\d+)?")


def _sizes(line: str) -> list[float]:
    return [float(size) for size in _SIZE.findall(line)]


def _without_sizes(line: str) -> str:
    return _SIZE.sub("SIZE", line)
