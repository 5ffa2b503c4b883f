"""The docs: whatever the code has is there, what they link to exists, and what they quote is current."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest

from rnneval import __version__, records
from rnneval.cli.commands.explain import entries
from rnneval.cli.main import rnneval_command
from rnneval.pages import Page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not {"changelog.d", "_build"} & set(path.parts))
CONTEXT = click.Context(rnneval_command)
CODE = re.compile(r"^( *)(`{3,}).*?^\1\2$", re.MULTILINE | re.DOTALL)


def _load(path: Path) -> ModuleType:
    """Load a file by its path: pyarrow 17 installs a package that is called `benchmarks` too."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


from_code = _load(DOCS / "_ext" / "from_code.py")
FILLED = {path: from_code.fill(path.read_text(encoding="utf-8")) for path in PAGES}
WHOLE = "\n".join(FILLED.values())


def _name(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


def _label(entry: Page) -> str:
    return f"{entry.kind} {entry.name}".replace(" ", "-").replace("_", "-")


@pytest.mark.parametrize("entry", entries(), ids=_label)
def test_every_metric_baseline_and_rule_has_its_section(entry: Page) -> None:
    head = f"({_label(entry)})=\n## {entry.name}"
    if entry.kind == "figure":
        assert len(re.findall(rf"\({_label(entry)}\)=\n## .+ \(`{entry.name}`\)\n", WHOLE)) == 1
    else:
        assert WHOLE.count(f"{head}\n") + WHOLE.count(f"{head} ({entry.code})\n") == 1
    assert entry.summary in WHOLE


@pytest.mark.parametrize("name", rnneval_command.list_commands(CONTEXT))
def test_every_command_has_its_section_with_all_options(name: str) -> None:
    section = WHOLE.partition(f"(command-{name})=\n")[2].partition("\n(command-")[0]
    command = rnneval_command.get_command(CONTEXT, name)
    assert command is not None
    shown = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert f"\n```sh\nrnneval {name} " in section
    assert [option.opts for option in shown if f"`{max(option.opts, key=len)}`" not in section] == []


@pytest.mark.parametrize("schema", records.schema_names())
def test_the_json_schemas_are_the_generated_ones(schema: str) -> None:
    found = re.search(rf"^## {re.escape(schema)}\n\n```json\n(.*?)^```$", WHOLE, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert json.loads(found.group(1)) == records.json_schema(schema)


@pytest.mark.parametrize("schema", records.schema_names())
def test_every_key_of_a_record_is_in_its_table(schema: str) -> None:
    definitions = records.json_schema(schema)["$defs"]
    keys = {key for value in definitions.values() for key in value.get("properties", {})}
    rows = set(re.findall(r"^\| `(\w+)` \|", WHOLE, re.MULTILINE))
    assert keys - rows == set()


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_resolve(path: Path) -> None:
    text = CODE.sub("", FILLED[path])
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)", text)
    labels = set(re.findall(r"^\(([\w-]+)\)=$", WHOLE, re.MULTILINE))
    assert [link for link in links if not (path.parent / link).exists() and link not in labels] == []


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_links_into_the_glossary_find_their_word(path: Path) -> None:
    anchors = {_anchor(word) for word in re.findall(r"^## (.+)$", (DOCS / "glossary.md").read_text(), re.MULTILINE)}
    assert set(re.findall(r"\]\((?:\.\./)?glossary\.md#([^)]+)\)", FILLED[path])) <= anchors
    if path.name == "glossary.md":
        assert set(re.findall(r"\]\(#([^)]+)\)", FILLED[path])) <= anchors


def _anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_output_is_made_by_running_the_command() -> None:
    filled = from_code.fill("<!-- from code: output explain perplexity -->")
    assert filled.startswith("```sh\nrnneval explain perplexity\n```\n\n```text\n")
    assert "exp(" in filled
    with pytest.raises(ValueError, match="exit code 2"):
        from_code.fill("<!-- from code: output gate nowhere.json --baseline base.json -->")


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_the_index_leads_to_every_page(path: Path) -> None:
    page = path.relative_to(DOCS).with_suffix("").as_posix()
    assert page == "index" or page in FILLED[DOCS / "index.md"].splitlines()


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_commands_that_a_page_shows_exist(path: Path) -> None:
    lines = [
        words
        for block in re.findall(r"^```sh\n(.*?)^```$", FILLED[path], re.MULTILINE | re.DOTALL)
        for words in re.findall(r"^(?:\$ )?rnneval ([a-z]+)(.*)$", block.replace("\\\n", " "), re.MULTILINE)
    ]
    for name, rest in lines:
        command = rnneval_command.get_command(CONTEXT, name)
        assert command is not None, f"rnneval {name}"
        known = {opt for parameter in command.params for opt in parameter.opts} | {"--help"}
        used = set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest))
        assert used <= known


def test_headings_go_down_and_comments_in_code_stay() -> None:
    assert from_code.demoted("Text.\n\n## Why\n\n```python\n# a comment\n```\n\n# Top") == (
        "Text.\n\n### Why\n\n```python\n# a comment\n```\n\n## Top"
    )


def test_a_docstring_becomes_restructured_text() -> None:
    lines = ["Where |Δ| ≤ `a|b`:", "", ">>> f(1 | 2)", "'a|b'", "", "Then `x`."]
    assert from_code.restructured(lines) == [
        r"Where \|Δ\| ≤ ``a|b``:", "", ">>> f(1 | 2)", "'a|b'", "", "Then ``x``.",
    ]  # fmt: skip


def test_a_part_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError):
        from_code.fill("<!-- from code: nothing -->")


@pytest.mark.parametrize("part", [pytest.param(part, id=name) for name, part in from_code.PARTS.items()])
def test_parts_are_text_or_nothing(part: Callable[[], str]) -> None:
    text = part()
    assert text == text.strip()
    assert "None" not in re.findall(r"^\| `\w+` \| `?(\w+)", text, re.MULTILINE)


def test_the_changelog_has_one_section_a_version_and_a_date_only_where_it_is_released() -> None:
    headings = re.findall(r"^## (\S+) \((\S+)\)$", (DOCS / "changelog.md").read_text(encoding="utf-8"), re.MULTILINE)
    dates = dict(headings)
    assert len(dates) == len(headings) > 0
    version, _, in_development = __version__.partition(".dev")
    if in_development:
        assert dates.pop(version, "unreleased") == "unreleased"
    else:
        assert version in dates
    assert [date for date in dates.values() if not re.fullmatch(r"\d{4}-\d\d-\d\d", date)] == []
