"""Our own table of losses comes back as the run that wrote it: text, tokens, sums, scores, blocks, signature."""

from pathlib import Path

import pandas as pd
import pytest

import rnneval
from rnneval.evaluate.imported import from_losses
from rnneval.gates.sides import difference_between
from tests.evaluate.small import LETTERS, WORDS, codes, letters, on_numpy, sentences, stacked

OF_LOSSES = {"cross_entropy", "perplexity", "bits_per_char", "bits_per_byte", "word_perplexity", "word_perplexity_eos"}
NOT_OF_LOSSES = {"accuracy", "accuracy_top5", "calibration_error"}


@pytest.fixture(scope="module")
def of_letters():
    return on_numpy(stacked("GRU", (8,)))


@pytest.fixture(scope="module")
def of_words():
    return on_numpy(stacked("GRU", (8,), WORDS))


def poems(folder: Path) -> Path:
    """Documents parted by blank lines, two of them of one character and side by side."""
    path = folder / "poems.txt"
    path.write_text("abc abc\n\n" + "a\n\n" * 2 + "bad cafe\ngab\n\n" * 300 + "fab")
    return path


def same(run, back):
    """What a table of losses tells is the same in both."""
    assert back.text == run.text
    assert back.tokens == run.tokens
    assert back.total_nats == run.total_nats
    assert {name: run.scores[name] for name in OF_LOSSES & set(run.scores)} == back.scores
    assert set(run.scores) >= NOT_OF_LOSSES
    assert back.interval == run.interval
    for name in ("bytes", "document", "scored_bytes", "tokens", "characters", "words", "unknown"):
        assert getattr(back.blocks, name) == getattr(run.blocks, name), name
    assert back.blocks.sums == {name: run.blocks.sums[name] for name in ("nats", "newlines")}
    assert back.signature == run.signature
    absent = ("checkpoint", "input", "output", "streams", "states", "wiring", "timing", "token_by_token")
    assert [name for name in absent if getattr(back, name) is not None] == []
    assert not difference_between(run, back)


def evaluated(small, text, losses, **options):
    """Evaluate without the wiring check, and write the losses."""
    return rnneval.evaluate(small.lm, text, check=False, states=False, losses=losses, **options)


def written_as(losses: Path, ending: str) -> Path:
    """The same table in another form."""
    path, frame = losses.with_suffix(ending), pd.read_parquet(losses)
    if ending == ".csv":
        frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def long_run(of_letters, tmp_path_factory):
    """A run that is long enough for intervals, its text and its losses."""
    folder = tmp_path_factory.mktemp("long")
    text, losses = letters(folder, 40_000), folder / "losses.parquet"
    return evaluated(of_letters, text, losses), text, losses


@pytest.mark.parametrize("given", [None, list(LETTERS)], ids=["alone", "with the vocabulary"])
@pytest.mark.parametrize("ending", [".parquet", ".csv", "frame", "dict"])
def test_characters_in_every_form_of_table(long_run, ending, given):
    run, text, losses = long_run
    table = {"frame": pd.read_parquet(losses), "dict": dict(pd.read_parquet(losses))}.get(ending)
    back = from_losses(written_as(losses, ending) if table is None else table, text, state="carry", vocabulary=given)
    same(run, back)
    assert run.interval is not None  # 40 kB have intervals
    assert back.baselines == ({} if given is None else run.baselines)
    assert ("no-vocabulary" in codes(back)) == (given is None)
    if given is not None:
        assert back.vocabulary.sha256 == run.vocabulary.sha256


@pytest.mark.parametrize("vocabulary", [None, list(LETTERS)], ids=["alone", "with the vocabulary"])
@pytest.mark.parametrize("options", [{"state": "reset", "segment": 100}, {"documents": "blank-line"}], ids=str)
def test_documents_of_one_token_and_a_state_that_is_reset(of_letters, tmp_path, options, vocabulary):
    text, losses = poems(tmp_path), tmp_path / "losses.parquet"
    run = evaluated(of_letters, text, losses, **options)
    state = "reset-100" if "state" in options else "carry"
    documents = options.get("documents", "one")
    back = from_losses(losses, text, state=state, documents=documents, vocabulary=vocabulary)
    same(run, back)
    assert run.tokens.unscored == (304 if "documents" in options else 1)


def test_words_with_ends_of_lines_and_unknown_ones(of_words, tmp_path):
    text, losses = sentences(tmp_path, 9000), tmp_path / "losses.parquet"
    text.write_text(text.read_text().replace("dog", "frog"))
    run = evaluated(of_words, text, losses, unknown="a")
    assert run.tokens.unknown > 100
    back = from_losses(losses, text, state="carry", vocabulary=list(WORDS), unknown="a")
    same(run, back)
    assert back.signature.startswith("tok:word+eos|")
    alone = from_losses(losses, text, state="carry")
    assert alone.total_nats == run.total_nats
    assert alone.signature.startswith("tok:spans-")
    assert {*difference_between(run, alone)} == {
        "signature.tok",
        "signature.unk",
    }  # it cannot be known without the vocabulary
