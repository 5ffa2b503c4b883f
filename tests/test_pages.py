"""Pages are read with their title, their sections and the first paragraph of one, and are in the package."""

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


@pytest.mark.parametrize("each", all_pages(), ids=lambda each: each.name)
def test_every_page_has_the_name_of_its_file_and_one_line_that_sums_it_up(each):
    assert page(each.name) == each
    assert files("rnneval.pages").joinpath(f"{each.name}.md").is_file()
    assert each.summary.endswith(".")
    assert not each.summary.startswith("#")
