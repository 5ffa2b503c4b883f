"""The terminal: whole words at any width, and what goes into a pipe."""

import re

import pytest
from rich.text import Text

from rnneval.gates import gate
from rnneval.records.wiring import WiredLayer
from rnneval.render.document import Fact, FactList, Paragraph, TableBlock, row
from rnneval.render.gate_document import gate_document
from rnneval.render.run_document import gradients_document, run_document, trace_document
from rnneval.render.terminal import as_text, inert, print_document, show
from rnneval.render.wiring_document import wiring_document
from tests.render.report.making import full_run, good_run, gradients, worse_run, wrong_wiring

MANY = tuple(WiredLayer(name=f"layer_{k}", path=f"layer_{k}", kind="GRU", slots=("h",)) for k in range(9))
DOCUMENTS = {
    "run": lambda: run_document(full_run(vocabulary="v")),
    "trace": lambda: trace_document(full_run()),
    "gradients": lambda: gradients_document(gradients(good_run())),
    "gate": lambda: gate_document(
        gate(worse_run(), baseline=good_run(), allow={"word_perplexity_eos": "+1%", "calibration_error": "+0.01"})
    ),
    "wiring": lambda: wiring_document(wrong_wiring()),
    "many layers": lambda: wiring_document(wrong_wiring(layers=MANY)),
}


def words(text):
    return set(text.split())


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_word_is_broken_and_no_line_is_too_long(name, width):
    document = list(DOCUMENTS[name]())
    text = as_text(document, width)
    assert all(len(line) <= width for line in text.splitlines())
    whole = {word for word in words(as_text(document, 1000)) if len(word) <= width}
    assert {word for word in whole if word not in words(text) and not re.search("[/|]", word)} == set()


def test_a_long_word_ends_a_line_at_a_stroke_and_loses_no_letter():
    signature = "tok:char|norm:none|newlines:keep|state:carry"
    lines = as_text([FactList(rows=(Fact(name="signature", text=signature),))], 35).splitlines()
    assert lines == ["signature    tok:char|norm:none|", "             newlines:keep|", "             state:carry"]
    path = "a" * 50
    assert "".join(as_text([FactList(rows=(Fact(name="x", text=path),))], 20).split()) == f"x{path}"


def test_a_number_keeps_its_per_cent_sign_on_the_line():
    text = "the bounds are -5.25 % and +7.32 %, allowed 6 %"
    for width in range(12, 30):
        lines = as_text([Paragraph(text=text)], width).splitlines()
        assert " ".join(lines) == text
        assert [line for line in lines if line.startswith("%")] == []


def test_a_table_without_room_becomes_a_list_that_says_the_same():
    rows = (row("word_perplexity_eos", "1.5", "it is long"), row("accuracy", "0.5", ""))
    table = TableBlock(caption="", head=("score", "value", "what"), rows=rows, right=(1,))
    assert as_text([table], 40).splitlines()[1].split() == ["word_perplexity_eos", "1.5", "it", "is", "long"]
    assert as_text([table], 26).splitlines() == [
        "score word_perplexity_eos",
        "  value  1.5",
        "  what   it is long",
        "score accuracy",
        "  value  0.5",
    ]


def test_into_a_pipe_no_line_ends_with_spaces(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    for document in DOCUMENTS.values():
        print_document(document())
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert 80 < max(map(len, lines)) <= 120


@pytest.mark.parametrize("columns", [60, 90, 200])
def test_a_pipe_is_as_wide_as_columns_says(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_document([FactList(rows=(Fact(name="x", text="word " * 100),))])
    assert columns - 5 <= max(map(len, capsys.readouterr().out.splitlines())) <= columns


@pytest.mark.parametrize("columns", ["", "0", "-5", "wide"])
def test_columns_that_is_no_width_is_not_followed(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    show(inert("word " * 100))
    assert 110 < max(map(len, capsys.readouterr().out.splitlines())) <= 120


def test_coloured_spaces_at_the_end_of_a_line_stay(monkeypatch):
    from rich.console import Console

    from rnneval.render.terminal import _Lines

    console = Console(width=40, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(_Lines(Text("a  ", style="on red")))
    assert "a  " in captured.get()
