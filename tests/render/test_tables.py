"""Tables: what must be in them, at any width, and nothing that drives a terminal."""

import msgspec
import pytest

from rnneval import records
from rnneval.records.run import Warning as RunWarning
from rnneval.render.phrasing import counted, figure, listed, visible
from rnneval.render.run_document import run_document
from rnneval.render.terminal import as_text, terminal


@pytest.fixture
def run(record):
    return records.read(record)


def shown(document, width=120):
    return as_text(document, width)


def changed(run, **fields):
    return msgspec.structs.replace(run, **fields)


def test_every_score_is_a_row(run):
    text = shown(run_document(run))
    rows = {line.split()[0]: line.split()[1] for line in text.splitlines() if line.split()}
    assert run.scores
    assert all(rows[name] == figure(score.value) for name, score in run.scores.items())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_signature_is_whole_at_any_width(run, width):
    assert run.signature in "".join(shown(run_document(run), width).split())


def test_a_run_that_is_not_valid_says_so_before_anything_else(run):
    assert shown(run_document(changed(run, valid=False))).startswith("not valid: ")


def test_warnings_are_shown_with_their_codes(run):
    text = shown(run_document(changed(run, warnings=(RunWarning(code="lossy", message="no [bold]round trip[/bold]"),))))
    assert "warning lossy: no [bold]round trip[/bold]" in text


HOSTILE = "a\x1b[2J\x07\r\nb\u202ec[red]d"
SAFE = "a\\x1b[2J\\x07\\r\\nb\\u202ec[red]d"


def test_names_out_of_files_cannot_drive_the_terminal_nor_the_markup(run):
    layers = tuple(msgspec.structs.replace(layer, name=HOSTILE) for layer in run.checkpoint.layers)
    checkpoint = msgspec.structs.replace(run.checkpoint, path=HOSTILE, layers=layers)
    files = tuple(msgspec.structs.replace(file, path=HOSTILE) for file in run.text.files)
    vocabulary = msgspec.structs.replace(run.vocabulary, source=HOSTILE)
    hostile = changed(
        run, checkpoint=checkpoint, text=msgspec.structs.replace(run.text, files=files, part=HOSTILE),
        vocabulary=vocabulary, warnings=(RunWarning(code="x", message=HOSTILE),),
    )  # fmt: skip
    text = shown(run_document(hostile), width=400)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.count(SAFE) >= 6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (2.718281828, "2.7183"),
        (9999.96, "10,000"),
        (-12345.6, "−12,346"),
        (15609234.0, "15,609,000"),
        (1e9, "1e+09"),
        (1e-5, "1e-05"),
    ],
)
def test_figures(value, text):
    assert figure(value) == text


def test_words():
    assert visible("größe 中 😀") == "größe 中 😀"
    assert visible("\x9b1m\u2028\ud800") == "\\x9b1m\\u2028\\ud800"
    assert [counted(n, "word") for n in (0, 1, 2, 1234)] == ["0 words", "1 word", "2 words", "1,234 words"]
    assert listed("abc", most=3) == "a, b, c"
    assert listed("abcde", most=3) == "a, b, c and 2 more"
    assert listed([]) == ""


def test_no_colour_where_it_is_not_wanted(monkeypatch, capsys):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal().print("[bold red]x[/]", markup=True)
    assert capsys.readouterr().out == "x\n"
