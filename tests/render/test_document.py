"""One document, several surfaces: each shows the same cells, and says no more than it has room for."""

import re

import msgspec
import pytest

from rnneval.gates import gate
from rnneval.render.document import (
    Fold,
    Found,
    KeyNumber,
    KeyNumbers,
    Paragraph,
    Picture,
    Subsection,
    TableBlock,
    TableCell,
    brief,
    row,
)
from rnneval.render.gate_document import gate_document, gate_markdown
from rnneval.render.html import fragment_of
from rnneval.render.report import Given, html_of, page_of
from rnneval.render.run_document import trace_document
from rnneval.render.terminal import as_text
from tests.render.reading import Reader
from tests.render.report.making import full_run, good_run, worse_run

TABLE = TableBlock(
    caption="A caption",
    head=("state", "mean norm of it", "question"),
    rows=(row("gru.h", TableCell(text="carried (1–3)", short="● 1–3"), "Is it?"),),
    right=(1,),
    extra=(2,),
    note="A note.",
)
VERDICT = gate(worse_run(), baseline=good_run())
CELLS = [
    cell.text for line in next(b for b in gate_document(VERDICT) if isinstance(b, TableBlock)).rows for cell in line
]


def test_a_brief_table_has_short_cells_and_no_extra_columns():
    (table,) = brief([TABLE])
    assert isinstance(table, TableBlock)
    assert (table.caption, table.note, table.head, table.right) == ("", None, ("state", "mean norm of it"), (1,))
    assert [[cell.text for cell in line] for line in table.rows] == [["gru.h", "● 1–3"]]


def test_a_brief_document_has_no_pictures_and_nothing_folded():
    picture = Picture(key="k", title="t", alt="a", reading="r", more="m")
    numbers = KeyNumbers(items=(KeyNumber(name="perplexity", value="5.3", unit="tokens"),))
    found = Found(kind="fail", rule="r", severity="error", message="m", about="## Long")
    fold = Fold(title="more", blocks=(Paragraph(text="folded"),))
    text = as_text([picture, numbers, fold, Subsection(anchor="", title="A part", blocks=(found, fold))], 80)
    assert text.splitlines() == ["perplexity    5.3 tokens", "", "A part", "error r", "  m"]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_table_that_is_too_wide_breaks_its_headings_and_no_number(width):
    document = list(trace_document(full_run()))
    lines = as_text(document, width).splitlines()
    assert all(len(line) <= width for line in lines)
    words = {word for line in lines for word in line.split()}
    for table in brief(document):
        if isinstance(table, TableBlock):
            assert {word for line in table.rows for cell in line for word in cell.text.split()} <= words
            assert {word for heading in table.head for word in heading.split()} <= words


def test_every_surface_shows_the_cells_of_a_verdict():
    assert len(CELLS) == 7
    terminal = as_text(gate_document(VERDICT), 200)
    notebook = Reader(fragment_of(gate_document(VERDICT))).said
    report = Reader(html_of(page_of([Given(name="gate.json", record=VERDICT)]), {})).said
    markdown = re.sub(r"\\(?=[^\w\s])", "", gate_markdown(VERDICT))
    for shown in (terminal, notebook, report, markdown):
        assert all(cell in shown for cell in CELLS)


def test_a_document_is_plain_values_that_read_back():
    document = list(gate_document(VERDICT))
    assert msgspec.json.decode(msgspec.json.encode(TABLE), type=TableBlock) == TABLE
    assert document == list(gate_document(VERDICT))
