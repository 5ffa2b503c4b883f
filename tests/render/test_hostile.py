"""Names, paths and messages out of files, in every renderer: nothing runs, nothing breaks out, nothing is lost."""

import json
import re
from datetime import UTC, datetime
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace as changed
from rich.console import Console

from rnneval import gate
from rnneval.gates.ranking import compare
from rnneval.gates.sides import NamedRecord
from rnneval.lint.check import LintFinding
from rnneval.metrics import by_name
from rnneval.records import Opened
from rnneval.render.gate_document import gate_document, gate_github, gate_junit, gate_markdown, ranking_document
from rnneval.render.html import fragment_of
from rnneval.render.lint_formats import lint_github, lint_sarif, lint_text
from rnneval.render.phrasing import one_line, visible
from rnneval.render.run_document import gradients_document, opened_document, run_document, trace_document
from rnneval.render.terminal import as_text, print_document
from rnneval.render.wiring_document import wiring_document
from tests.render.report.making import RUN, good_run, gradients, planted, run_with, wiring_with, worse_run

HOSTILE = (
    "\x1b[2J\x1b[31mred", "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "\x9b31m", "a\rb", "a\nb", "a\r\n::error::x",
    "\u202egnp.exe", "\u2066x\u2069", "\u200b", "\ufeff", "a|b|c", "`code`", "```\n", "<script>alert(1)</script>",
    "]]>", "<!-- ", "&lt;", "::error file=a::x", " ::add-mask::x", "%0A::error::x", "##[error]x", "##vso[task.x]y",
    "##teamcity[x]", "[red]x[/red]", "[link=http://evil]x[/link]", ":smile:", "\udcff\ud800", "\x00", "\x7f", "\uffff",
    "- a", "1. a", "# a", "> a", "    a", "a\n===", "a\n---\nb", "![x](http://evil)", "[x](http://evil)", "$x$",
    "<http://evil>", "x" * 10_000, "::" * 3_000, "é 中 😀", "\\n \\x1b", "", " ",
)  # fmt: skip
ANY = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.text(alphabet="|`*_[]<>\\:#%\n\r\x1b\u202e& -1.=+"))
FEW = settings(max_examples=20, deadline=None)
VERDICT = gate(worse_run(), baseline=good_run(), allow={"perplexity": "+1%", "accuracy": "0.01"})
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def hostile_to(function):
    """Every text of the list, and what hypothesis makes of them."""
    for text in HOSTILE:
        function = example(text)(function)
    return FEW(given(ANY)(function))


def gate_with(text):
    failed = changed(planted(VERDICT.comparisons[0], text), verdict="fail")
    return changed(planted(VERDICT, text), verdict="fail", comparisons=(failed, failed), warnings=(text,))


def opened_with(text):
    fields = {name: getattr(RUN, name) for name in ("checkpoint", "input", "output")}
    return planted(Opened(**fields, width=3, why_no_vocabulary="x", assumptions=("x",)), text)


def ranking_with(text):
    return compare([NamedRecord(name=text, record=RUN), NamedRecord(name=f"{text}2", record=changed(RUN, valid=False))])


def finding_with(text) -> LintFinding:
    return LintFinding(
        rule="shared-state", code="RNN001", severity="error", path=text or "x", line=1, column=2, end_line=1,
        end_column=3, message=text,
    )  # fmt: skip


TABLES = {
    "run": lambda text: run_document(run_with(text)),
    "gate": lambda text: gate_document(gate_with(text)),
    "wiring": lambda text: wiring_document(wiring_with(text)),
    "trace": lambda text: trace_document(run_with(text)),
    "gradients": lambda text: gradients_document(planted(gradients(good_run()), text)),
    "opened": lambda text: opened_document(opened_with(text)),
    "ranking": lambda text: ranking_document(ranking_with(text)),
}


def assert_harmless(printed: str) -> None:
    assert all(line.isprintable() for line in printed.split("\n"))
    assert not re.search(r"^\s*::", printed, re.MULTILINE)
    assert not re.search(r"##\w*\[", printed)


@pytest.mark.parametrize("name", TABLES)
@hostile_to
def test_a_table_is_plain_text_whatever_stands_in_it(name, text):
    assert_harmless(as_text(TABLES[name](text), 60))


def test_on_a_terminal_the_only_escape_sequences_are_its_own_colours(monkeypatch, capsys):
    monkeypatch.setattr("rnneval.render.terminal.terminal", lambda: Console(force_terminal=True, width=100))
    for text in HOSTILE:
        for table in TABLES.values():
            print_document(table(text))
    printed = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert_harmless(printed)


@pytest.mark.parametrize("name", TABLES)
@hostile_to
def test_a_notebook_gets_html_whose_only_elements_are_its_own(name, text):
    found = re.sub(r"<style>.*?</style>", "", fragment_of(TABLES[name](text)), flags=re.DOTALL)
    assert all(line.isprintable() for line in found.split("\n"))
    own = "div|p|span|strong|code|em|ul|li|dl|dt|dd|table|thead|tbody|tr|th|td"
    assert not re.search(rf"<(?!/?({own})\b[^<>]*>)", found)
    ET.fromstring(found)  # noqa: S314 - our own; every element is closed, every & is an entity


@hostile_to
def test_an_error_is_one_line(text):
    line = one_line(f"rnneval: error: {text}: not found")
    assert_harmless(line)
    assert "\n" not in line
    assert len(line) <= 4100


# --- Markdown: read by another library ---

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def read_inline(tokens) -> str:
    """The text as it would be shown; an element that is no text is an error."""
    kinds = {token.type for token in tokens}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, kinds
    return "".join(token.content for token in tokens)


@hostile_to
def test_markdown_keeps_its_columns_and_shows_the_text(text):
    written = gate_markdown(gate_with(text))
    assert all(line.isprintable() for line in written.split("\n"))
    tokens = MARKDOWN.parse(written)
    assert [token.type for token in tokens if token.level == 0 and token.nesting == 1] == [
        "heading_open", "table_open", "bullet_list_open",
    ]  # fmt: skip
    shown = [read_inline(token.children) for token in tokens if token.type == "inline"]
    cells = [read_inline(after.children) for token, after in pairwise(tokens) if token.type == "td_open"]
    # A row with one cell too many loses its last one, which is the verdict.
    assert cells[6::7] == ["fail", "fail"]
    if len(text) < 1000:
        assert shown[0] == f"❌ rnneval gate: fail: {visible(text)} against {visible(text)}".strip()
        name = text if text in by_name() else f"{visible(text)} ({visible(text)})"  # a known metric needs no unit
        assert [cell.strip() for cell in cells[0::7]] == [name.strip()] * 2
        assert shown[-1].strip() == f"⚠️ {visible(text)}".strip()


# --- files for machines ---


@hostile_to
def test_junit_parses_and_holds_the_text(text):
    written = gate_junit(gate_with(text), WHEN)
    assert all(line.isprintable() for line in written.split("\n"))
    root = ET.fromstring(written.encode())  # noqa: S314 - our own
    assert root.find(".//failure").get("message") == visible(text)
    assert root.find(".//testcase").get("name") == f"{visible(text)} ({visible(text)} against {visible(text)})"
    assert (root.find(".//system-out").text or "") == visible(text)
    assert [element.tag for element in root[0]] == ["properties", "testcase", "testcase", "system-out", "system-err"]


@hostile_to
def test_sarif_parses_and_holds_the_text(text):
    written = lint_sarif([finding_with(text)])
    assert all(line.isprintable() for line in written.split("\n"))
    result = json.loads(written.encode())["runs"][0]["results"][0]
    assert result["message"]["text"] == visible(text)
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert re.fullmatch(r"[\w.~%/:-]*", uri, re.ASCII)


@hostile_to
def test_a_lint_finding_is_one_line_and_no_command(text):
    written = lint_text([finding_with(text)])
    assert_harmless(written)
    assert written.count("\n") == 1
    assert written.endswith(f": RNN001 {visible(text)}\n") or "##" in text


def unescaped(text: str) -> str:
    """As GitHub's runner reads an annotation's message."""
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",").replace("%25", "%")


@hostile_to
def test_github_gets_one_command_a_finding(text):
    for written in (lint_github([finding_with(text)]), gate_github(gate_with(text))):
        for line in written.removesuffix("\n").split("\n"):
            assert line.isprintable()
            command, properties, message = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line).groups()
            assert command in ("error", "warning", "notice")
            assert all("=" in pair for pair in properties.split(","))
            assert unescaped(message).startswith("\n".join(map(visible, text.split("\n"))))
