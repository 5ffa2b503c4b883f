"""The docs are plain Markdown that a code host and Sphinx show alike, and what they quote from the code is current."""

import ast
import doctest
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rnneval import __version__, records
from rnneval.cli.commands.explain import entries
from rnneval.cli.main import rnneval_command
from rnneval.pages import page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CONTEXT = click.Context(rnneval_command)


def _load(path: Path) -> ModuleType:
    """Load a file by its path: pyarrow 17 installs a package that is called `benchmarks` too."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


from_code = _load(DOCS / "_ext" / "from_code.py")
PAGES = [ROOT / "README.md", *from_code.pages()]
GUIDES = sorted(DOCS.glob("*.md"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_page = pytest.mark.parametrize("path", PAGES, ids=_name)


@cache
def tokens(path: Path) -> tuple[Token, ...]:
    """Parse a page as CommonMark with tables."""
    return tuple(MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8")))


def _inline(path: Path) -> Iterator[Token]:
    for token in tokens(path):
        yield from token.children or ()


@cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors of the headings, as a code host and MyST make them; a second of one kind gets `-1`."""
    seen: dict[str, int] = {}
    found = set()
    for before, token in zip(tokens(path), tokens(path)[1:], strict=False):
        if before.type == "heading_open":
            anchor = from_code.anchor("".join(part.content for part in token.children or ()))
            count = seen[anchor] = seen.get(anchor, -1) + 1
            found.add(f"{anchor}-{count}" if count else anchor)
    return frozenset(found)


def _links(path: Path) -> Iterator[tuple[str, str]]:
    """Yield target and text of each link."""
    target, text = "", ""
    for token in _inline(path):
        if token.type == "link_open":
            target, text = str(token.attrs["href"]), ""
        elif token.type == "link_close":
            yield target, text
            target = ""
        elif target:
            text += token.content


@each_page
def test_links_have_a_text_and_lead_somewhere(path: Path) -> None:
    wrong = []
    for target, text in _links(path):
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        if re.match(r"https?:|mailto:", target):
            good = True
        elif not there.exists():
            good = False
        else:
            good = not anchor or anchor in anchors(there.resolve())
        wrong += [(text, target)] if not (good and text.strip()) else []
    assert wrong == []


@each_page
def test_pictures_exist_and_have_a_text(path: Path) -> None:
    html = "\n".join(token.content for token in (*tokens(path), *_inline(path)) if token.type.startswith("html"))
    shown = [(str(token.attrs["src"]), token.content) for token in _inline(path) if token.type == "image"]
    shown += re.findall(r'<img src="([^"]+)" alt="([^"]*)"', html)
    assert len(re.findall("<img", html)) == len(re.findall('<img src="[^"]+" alt="', html))
    shown += [(source, "dark") for source in re.findall(r'srcset="([^"]+)"', html)]
    assert [source for source, text in shown if not text or not (path.parent / source).is_file()] == []


@each_page
def test_every_fence_has_a_language_and_parses(path: Path) -> None:
    for token in tokens(path):
        if token.type == "fence":
            _parse(token.info, token.content)


def _parse(language: str, code: str) -> None:
    """Parse the code of a fence; … stands for what an example leaves out."""
    assert code.strip()
    assert not code.startswith(":"), code
    match language:
        case "python" if "# RNN000" in code:
            with pytest.raises(SyntaxError):
                ast.parse(code)
        case "python" if ">>>" in code:
            assert doctest.DocTestParser().get_examples(code)
        case "python":
            ast.parse(re.sub(r"\A( +)", "if True:\n\\1", code).replace("…", "..."))
        case "json":
            json.loads(code)
        case "toml":
            tomllib.loads(code)
        case "yaml":
            yaml.safe_load(code)
        case "sh" | "bash":
            shlex.split(code, comments=True)
        case "console":
            commands = re.findall(r"^\$ ((?:.*\\\n)*.*)$", code, re.MULTILINE)
            assert [shlex.split(command) for command in commands]
        case _:
            assert language in {"text", "markdown"}, language


@pytest.mark.parametrize("path", from_code.pages(), ids=_name)
def test_what_is_made_from_code_is_current(path: Path) -> None:
    """`python docs/_ext/from_code.py` puts it right."""
    if path.name == "python.md":
        pytest.importorskip("torch")  # the page has from_torch, too
    assert path.read_text(encoding="utf-8") == from_code.current(path)


def test_every_page_of_the_package_has_its_section_and_warnings_their_page() -> None:
    whole = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    for entry in entries():
        head = f" (`{entry.name}`)\n" if entry.kind == "figure" else f"\n## {from_code._title(entry)}\n"
        assert whole.count(head) == 1, entry.name
        assert entry.summary in whole
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rnneval").rglob("*.py"))
    codes = re.findall(
        r'Warn(?:ing|ed)\(code="([a-z-]+)"|said\["([a-z-]+)"\]|warnings\.append\(\("([a-z-]+)", ', sources
    )
    names = {name for found in codes for name in found if name}
    assert len(names) > 20
    assert {name for name in names if page(name).kind != "warning"} == set()


@pytest.mark.parametrize("schema", records.schema_names())
def test_schemas_and_tables_have_every_key_of_a_record(schema: str) -> None:
    text = (DOCS / "reference" / "schemas.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(schema)}\n\n```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert json.loads(found.group(1)) == records.json_schema(schema)
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "reference" / "records.md").read_text(encoding="utf-8"), re.MULTILINE)
    definitions: Any = records.json_schema(schema)["$defs"]
    assert {key for value in definitions.values() for key in value.get("properties", {})} <= set(rows)


def test_the_index_leads_to_every_page() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for target, _ in _links(DOCS / "index.md")}
    assert {path for path in from_code.pages() if path not in linked} == {DOCS / "index.md"}
    assert from_code.contents((DOCS / "index.md").read_text(encoding="utf-8")).count("{toctree}") == 4


@each_page
def test_commands_that_a_page_shows_exist(path: Path) -> None:
    code = "\n".join(token.content for token in tokens(path) if token.info in {"sh", "console", "bash"})
    for name, rest in re.findall(
        r"^(?:\$ )?rnneval ([a-z-]+)(.*)$", code.replace("\\\n", " ").replace("&& ", "\n"), re.MULTILINE
    ):
        command = rnneval_command.get_command(CONTEXT, name)
        assert command is not None, f"rnneval {name}"
        known = {opt for parameter in command.params for opt in parameter.opts} | {"--help"}
        assert set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest)) <= known


def test_the_guides_stay_short() -> None:
    guides = [path.read_text(encoding="utf-8") for path in GUIDES if path.stem not in from_code.NO_GUIDES]
    assert sum(len(text.splitlines()) for text in guides) <= 2700
    assert sum(len(text.split()) for text in guides) <= 27_000


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
