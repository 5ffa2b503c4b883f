"""Records in one line, as tables, and with the score that is usual for their tokens marked."""

from pathlib import Path

import pytest

import rnneval
from rnneval import compare
from rnneval.errors import RecordError, TextError, VocabularyError
from rnneval.records import read
from rnneval.text import Vocabulary, final_text
from tests.gates.synthetic import ar_losses, make_run

RECORDS = Path(__file__).resolve().parents[1] / "docs" / "records"
RUN = make_run(ar_losses(128))


def test_a_run_that_is_not_valid_shows_no_score():
    shown = repr(make_run(ar_losses(128), valid=False))
    assert shown.startswith("<Run not valid (no reason given): ")
    assert "perplexity" not in shown
    assert "bits_per_char" not in shown


@pytest.mark.parametrize("name", ["run", "trace", "wiring", "gate", "gradients"])
def test_every_record_is_one_short_line(name):
    line = repr(read(RECORDS / f"{name}.json"))
    assert line.isprintable()
    assert line.startswith("<")
    assert len(line) < 250


def test_a_name_out_of_a_file_cannot_break_the_line():
    hostile = make_run(ar_losses(128), checkpoint="a\x1b[2J\n\u202eb" + "c" * 1000)
    assert repr(hostile).isprintable()
    assert len(repr(hostile)) < 400
    assert repr(compare([hostile, RUN])).isprintable()


TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n" * 50


@pytest.mark.parametrize("given", [TEXT, "a\nb"])
@pytest.mark.parametrize(
    ("error", "reading"),
    [(TextError, final_text), (VocabularyError, Vocabulary.from_file), (RecordError, rnneval.read)],
    ids=["text", "vocabulary", "record"],
)
def test_a_text_in_place_of_a_path_is_not_printed_whole(given, error, reading):
    with pytest.raises(error) as refused:
        reading(given)
    assert f"({len(given):,} characters)" in str(refused.value)
    assert len(str(refused.value)) < 200
    if error is TextError:
        assert "it looks like the text itself" in str(refused.value)
