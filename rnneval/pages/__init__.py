"""The pages: one Markdown file for each rule, read by `explain`, the report, the findings and the docs.

The first line of a page is its title, `# NAME (KIND)` or `# NAME (KIND CODE)`; a line that sums it up follows, then the
sections.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

_TITLE = re.compile(r"# (?P<name>\S+) \((?P<kind>[a-z ]+?)(?: (?P<code>[A-Z]+\d+))?\)\n+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of a metric, a rule or a figure."""

    name: str
    kind: str  # Such as `metric` or `lint rule`.
    code: str  # Code of a rule, such as `RNN001`; "" if there is none.
    summary: str  # The first line of the text.
    text: str  # Markdown, without the title.

    def section(self, title: str) -> str:
        """Return the text of a section; "" if the page has none of this title."""
        found = re.search(rf"^## {re.escape(title)}\n+(.*?)(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else ""

    def paragraph(self, title: str) -> str:
        """Return the first paragraph of a section in one line."""
        return " ".join(re.split(r"\n\n|\n```", self.section(title), maxsplit=1)[0].split())


@cache
def page(name: str) -> Page:
    """Return the page of this name.

    Raises:
        FileNotFoundError: there is none.
    """
    return _read(files(__name__).joinpath(f"{name}.md"))


@cache
def all_pages() -> tuple[Page, ...]:
    """Return every page, in the order of the names."""
    found = (_read(file) for file in files(__name__).iterdir() if file.name.endswith(".md"))
    return tuple(sorted(found, key=lambda each: each.name))


def _read(file: Traversable) -> Page:
    written = file.read_text(encoding="utf-8")
    title = _TITLE.match(written)
    if title is None:
        raise ValueError(f"{file.name}: the first line of a page is `# NAME (KIND)` or `# NAME (KIND CODE)`")
    text = written[title.end() :].strip()
    return Page(
        name=title["name"], kind=title["kind"], code=title["code"] or "", summary=text.partition("\n")[0], text=text
    )
