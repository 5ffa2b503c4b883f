"""Pages are read with their title, their sections and the first paragraph of one, and are in the package."""

import subprocess
import sys
from importlib.resources import files

import pytest

from rnneval import pages
from rnneval.pages import all_pages, page

WRITTEN = """# some-fault (rule RNN099)

Something is wrong.

## What it finds
One line
and another.

More of it.

## Example
```python
x = 1  # RNN099
```

## Empty
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "files", lambda _: tmp_path)
    page.cache_clear()
    all_pages.cache_clear()
    yield tmp_path
    page.cache_clear()
    all_pages.cache_clear()


def test_a_page_has_a_title_sections_and_paragraphs(folder):
    (folder / "some-fault.md").write_text(WRITTEN, encoding="utf-8")
    (folder / "a-metric.md").write_text("# a-metric (metric)\n\nShare of tokens.\n", encoding="utf-8")
    found = page("some-fault")
    assert (found.name, found.kind, found.code, found.summary) == (
        "some-fault", "rule", "RNN099", "Something is wrong.",
    )  # fmt: skip
    assert found.text.startswith("Something is wrong.\n\n## What it finds\n")
    assert found.section("What it finds") == "One line\nand another.\n\nMore of it."
    assert found.paragraph("What it finds") == "One line and another."
    assert found.section("Example") == "```python\nx = 1  # RNN099\n```"
    assert found.section("Empty") == found.section("No such part") == found.paragraph("No such part") == ""
    assert [(each.name, each.kind, each.code) for each in all_pages()] == [
        ("a-metric", "metric", ""), ("some-fault", "rule", "RNN099"),
    ]  # fmt: skip


def test_a_page_without_a_title_is_an_error(folder):
    (folder / "wrong.md").write_text("Something is wrong.\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"wrong\.md: the first line of a page is"):
        page("wrong")
    with pytest.raises(FileNotFoundError):
        page("missing")


@pytest.mark.parametrize("each", all_pages(), ids=lambda each: each.name)
def test_every_page_has_the_name_of_its_file_and_one_line_that_sums_it_up(each):
    assert page(each.name) == each
    assert files("rnneval.pages").joinpath(f"{each.name}.md").is_file()
    assert each.summary.endswith(".")
    assert not each.summary.startswith("#")


def test_pages_are_read_without_docstrings(tmp_path):
    """`python -OO` has no docstrings."""

    def run(*arguments):
        command = [sys.executable, "-OO", "-m", "rnneval", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    explained = run("explain", "RNN010")
    assert explained.returncode == 0, explained.stderr
    assert explained.stdout.startswith("# stateful-shuffle (lint rule RNN010)\n\nA stateful model is trained on shuff")
    source = (
        "import keras\na = keras.layers.GRU(3, return_sequences=True, return_state=True)\n"
        "b = keras.layers.GRU(3, return_sequences=True, return_state=True)\n"
        "x, s = a(x)\nx, s = b(x, initial_state=s)\n"
    )
    (tmp_path / "wrong.py").write_text(source, encoding="utf-8")
    linted = run("lint", "wrong.py", "--format", "sarif")
    assert linted.returncode == 1, linted.stderr
    assert "## Why it is wrong" in linted.stdout
    assert '"ruleId": "RNN001"' in linted.stdout
