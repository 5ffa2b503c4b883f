"""Records in one line, as tables, and with the score that is usual for their tokens marked."""

from pathlib import Path

import pandas as pd
import pytest

import rnneval
from rnneval.errors import RecordError, TextError, VocabularyError, named_in_message
from rnneval.gates import compare, gate
from rnneval.records import read
from rnneval.render.document import Paragraph
from rnneval.render.gate_document import ranking_document
from rnneval.render.markdown import markdown
from rnneval.render.run_document import run_document, scores_table
from rnneval.text import Vocabulary, final_text
from tests.gates.synthetic import SIGNATURE, ar_losses, make_run

RECORDS = Path(__file__).resolve().parents[1] / "docs" / "records"
RUN = make_run(ar_losses(128))
WORSE = make_run(ar_losses(128) + 0.1, checkpoint="worse")
WORDS = SIGNATURE.replace("tok:char", "tok:word+eos")


def test_a_run_in_one_line_is_model_text_usual_score_and_signature():
    bits = RUN.scores["bits_per_char"].value
    assert repr(RUN) == f"<Run 'model.keras' on 'text.txt': bits_per_char {bits:.5g}, {SIGNATURE}>"
    words = make_run(ar_losses(128), signature=WORDS)
    assert f": word_perplexity_eos {words.scores['word_perplexity_eos'].value:.5g}, {WORDS}>" in repr(words)
    other = SIGNATURE.replace("tok:char", "tok:word")
    assert f": perplexity {RUN.scores['perplexity'].value:.5g}, " in repr(make_run(ar_losses(128), signature=other))


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


def test_verdicts_and_comparisons_are_one_line():
    assert repr(gate(WORSE, baseline=RUN)).startswith("<Gate fail: 'perplexity: worse than")
    value = RUN.scores["perplexity"].value
    assert repr(compare([WORSE, RUN])) == f"<Ranking of 2 runs by perplexity: best is 'model.keras' with {value:.5g}>"


def test_a_name_out_of_a_file_cannot_break_the_line():
    hostile = make_run(ar_losses(128), checkpoint="a\x1b[2J\n\u202eb" + "c" * 1000)
    assert repr(hostile).isprintable()
    assert len(repr(hostile)) < 400
    assert repr(compare([hostile, RUN])).isprintable()


def test_the_frame_of_a_run_has_a_row_for_each_score_and_they_can_be_joined():
    frame = pd.concat([RUN.to_frame(), WORSE.to_frame()])
    assert len(frame) == 2 * len(RUN.scores)
    values = frame[frame.source == "worse"].set_index("score")["value"]
    assert values.to_dict() == {name: score.value for name, score in WORSE.scores.items()}
    assert frame[frame.usual]["score"].tolist() == ["bits_per_char"] * 2
    assert set(frame.signature) == {SIGNATURE}


def test_the_frame_of_a_comparison_has_its_rows():
    ranking = compare([WORSE, RUN])
    frame = ranking.to_frame().set_index("run")
    assert frame.index.tolist() == ["model.keras", "worse"]
    assert frame.loc["worse", "difference"] == pytest.approx(0.1)  # by construction
    assert frame.loc["worse", ["low", "high"]].tolist() == [ranking.rows[1].low, ranking.rows[1].high]


@pytest.mark.parametrize(
    ("tokens", "marked"),
    [("char", "bits_per_char"), ("byte", "bits_per_byte"), ("word+eos", "word_perplexity_eos"), ("word", None),
     ("subword-01234567", None)],
)  # fmt: skip
def test_the_usual_score_alone_is_marked(tokens, marked):
    run = make_run(ar_losses(128), signature=SIGNATURE.replace("tok:char", f"tok:{tokens}"))
    cells = {row[0].text: row[4].text for row in scores_table(run).rows}
    assert [name for name, mark in cells.items() if mark] == ([marked] if marked else [])
    assert all(mark.startswith("usual for ") for mark in cells.values() if mark)
    assert markdown(run_document(run)).count("usual for ") == (1 if marked else 0)


TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n" * 50


@pytest.mark.parametrize("given", [TEXT, TEXT.replace("\n", " "), "a\nb"])
@pytest.mark.parametrize(
    ("error", "reading"),
    [
        (TextError, final_text),
        (VocabularyError, Vocabulary.from_file),
        (RecordError, rnneval.read),
    ],
    ids=["text", "vocabulary", "record"],
)
def test_a_text_in_place_of_a_path_is_not_printed_whole(given, error, reading):
    with pytest.raises(error) as refused:
        reading(given)
    assert f"({len(given):,} characters)" in str(refused.value)
    assert len(str(refused.value)) < 200
    if error is TextError:
        assert "it looks like the text itself" in str(refused.value)


@pytest.mark.parametrize("path", ["held_out.txt", "a" * 255, "folder/with spaces.txt"])
def test_a_path_that_may_be_one_is_printed_whole(path):
    assert named_in_message(path) == path
    with pytest.raises(TextError) as refused:
        final_text(path)
    assert path in str(refused.value)
    assert "text itself" not in str(refused.value)


@pytest.mark.parametrize(("signature", "usual"), [(SIGNATURE, "bits_per_char"), (WORDS, "word_perplexity_eos")])
def test_a_comparison_names_the_usual_score(signature, usual):
    runs = [make_run(ar_losses(128) + more, signature=signature, checkpoint=str(more)) for more in (0.0, 0.1)]
    one, other = (run.scores[usual].value for run in runs)
    ranking = compare(runs)
    assert (ranking.usual, [row.usual for row in ranking.rows]) == (usual, [one, other])
    said = f"the usual score for these tokens is {usual}"
    shown = [block.text for block in ranking_document(ranking) if isinstance(block, Paragraph)]
    assert shown[0] == f"{said}: {one:.5g} (0.0), {other:.5g} (0.1)"
    by_it = ranking_document(compare(runs, metric=usual))
    assert next(block.text for block in by_it if isinstance(block, Paragraph)) == said
