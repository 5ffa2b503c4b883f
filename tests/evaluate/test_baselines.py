"""n-gram baselines of a run: the same tokens as the model's, whatever a token is and whatever ran the model."""

import json
import math

import numpy as np
import pytest

import rnneval
from rnneval.errors import UsageError
from rnneval.evaluate.imported import from_losses
from rnneval.options import LARGEST_ORDER, EvaluateOptions
from rnneval.records.encoding import require_consistent
from rnneval.text import Vocabulary, encode
from tests.evaluate.small import LETTERS, WORDS, letters, sentences, stacked
from tests.metrics.slow_ngrams import slow_losses
from tests.text.subword import zoo


def uniform(vocabulary, width=None):
    """A step function that guesses among its tokens."""
    width = width or len(vocabulary)
    return rnneval.from_step(
        lambda ids, state: (np.zeros((*ids.shape, width)), state), lambda batch: np.zeros((batch, 1)),
        vocabulary=vocabulary,
    )  # fmt: skip


def poems(path, seed, documents=60):
    """Short documents of letters that depend on the one before."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(documents):
        at, line = 0, ""
        for _ in range(rng.integers(1, 40)):
            at = (at + int(rng.choice([1, 1, 1, 2, 5]))) % 7
            line += "abcdefg"[at]
        found.append(line)
    path.write_text("\n\n".join(found))
    return path


def documents_of(text, vocabulary, **options):
    with encode(text, vocabulary, rnneval.text.TextOptions(**options)) as encoded:
        return [encoded.ids(*one).tolist() for one in zip(encoded.document_starts, encoded.document_stops, strict=True)]


def expected(fitted, scored, size, order, unscored=1):
    losses, at, kept = slow_losses(fitted, scored, size, order), 0, []
    for document in scored:
        kept += losses[at + unscored : at + len(document)]
        at += len(document)
    return math.fsum(kept) / len(kept)


KINDS = {
    "char": lambda _: Vocabulary.from_tokens(list(LETTERS)),
    "byte": lambda _: Vocabulary.from_bytes(),
    "word": lambda _: Vocabulary.from_tokens(list(WORDS)),
    "subword": lambda folder: rnneval.text.given_vocabulary(zoo.write("gpt2", folder), None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_token_and_documents(tmp_path, kind):
    vocabulary = KINDS[kind](tmp_path)
    if kind == "word":
        fitted, scored = sentences(tmp_path, 700), tmp_path / "held_out.txt"
        scored.write_text("the cat sat on a dog\nso did the mat and the dog and the cat sat\n" * 3)
        options = {}
    else:
        fitted, scored = poems(tmp_path / "fitted.txt", 0), poems(tmp_path / "scored.txt", 1, 9)
        options = {"documents": "blank-line"}
    tokens = {"byte": {"tokens": "byte"}}.get(kind, {})
    lm = uniform(vocabulary, vocabulary.first_id + vocabulary.size)
    run = rnneval.evaluate(lm, scored, fit_on=fitted, max_order=3, check=False, states=False, **options, **tokens)
    ours = [documents_of(text, vocabulary, **options, **tokens) for text in (fitted, scored)]
    for order in (2, 3):
        assert run.baselines[f"ngram-{order}"] == pytest.approx(expected(*ours, lm.width, order), rel=1e-12)
    assert set(run.baselines) == {"uniform", "own-unigram", "unigram", "ngram-2", "ngram-3"}
    assert run.ngram.fitted_tokens == sum(map(len, ours[0]))
    assert len(run.ngram.nats) == len(run.blocks.bytes)
    assert math.fsum(run.ngram.nats) == pytest.approx(run.baselines[run.ngram.name] * run.tokens.scored, rel=1e-12)
    change = math.log(lm.width) - run.baselines[run.ngram.name]
    assert run.ngram.change.value == pytest.approx(change, abs=1e-6)


def test_every_backend_and_imported_losses_have_the_same_baselines(tmp_path):
    fitted, scored, losses = letters(tmp_path, 3000), letters(tmp_path, 40_000, seed=1), tmp_path / "losses.parquet"
    small = stacked("GRU", (8,))
    small.lm.model.save(tmp_path / "m.keras")
    (tmp_path / "vocab.json").write_text(json.dumps(list(LETTERS)))
    options = {"fit_on": fitted, "check": False, "states": False}
    runs = [
        rnneval.evaluate(rnneval.open(tmp_path / "m.keras", vocabulary=list(LETTERS), backend=backend), scored,
                         losses=losses, **options)
        for backend in ("keras", "numpy")
    ]  # fmt: skip
    runs.append(rnneval.evaluate(uniform(list(LETTERS)), scored, **options))
    runs.append(from_losses(losses, scored, state="carry", vocabulary=list(LETTERS), fit_on=fitted))
    assert [run.backend for run in runs] == ["keras", "numpy", "step", None]
    for run in runs:
        assert run.baselines == runs[0].baselines
        assert {**vars_of(run.ngram), "change": 0} == {**vars_of(runs[0].ngram), "change": 0}
        low, value, high = run.ngram.change.low, run.ngram.change.value, run.ngram.change.high
        assert low < value < high
        assert value == pytest.approx(run.scores["cross_entropy"].value - run.baselines[run.ngram.name], rel=1e-9)
        require_consistent("run", run)
    assert runs[3].ngram.change.value == pytest.approx(runs[1].ngram.change.value, rel=1e-9)


def vars_of(ngram):
    return {name: getattr(ngram, name) for name in ngram.__struct_fields__}


def test_a_held_out_text_of_which_much_stands_in_the_training_text_is_warned_of(tmp_path):
    fitted, scored = letters(tmp_path, 3000), tmp_path / "held_out.txt"
    text = fitted.read_text()
    drawn = "".join(np.random.default_rng(5).choice(list(LETTERS), 500))
    options = {"fit_on": fitted, "check": False, "states": False}
    scored.write_text(text[1000:1499] + drawn[0])
    run = rnneval.evaluate(uniform(list(LETTERS)), scored, **options)
    (said,) = [warning.message for warning in run.warnings if warning.code == "copied"]
    # Of 499 scored tokens, all but the first 30 and the last one, perhaps, end a run of 32.
    assert said.startswith("94 % of the scored tokens end a run of 32 tokens")
    scored.write_text(drawn)
    run = rnneval.evaluate(uniform(list(LETTERS)), scored, **options)
    assert "copied" not in {warning.code for warning in run.warnings}


@pytest.mark.parametrize("spare", ["", "\n", "\n\n"])  # an editor ends a file with a line feed
def test_a_held_out_file_that_is_a_piece_of_the_training_file_is_never_counted(tmp_path, spare):
    whole, held_out, left = letters(tmp_path, 5000), tmp_path / "held_out.txt", tmp_path / "left.txt"
    text = "a".join(whole.read_text()[at : at + 999] for at in range(0, 5000, 999))[:5000]
    whole.write_text(text)
    lm = uniform(Vocabulary.from_tokens(list(LETTERS)), len(LETTERS))
    known = uniform(Vocabulary.from_text(whole), len(LETTERS))
    for start, stop, rest in ((4000, 5000, text[:4000]), (0, 1000, text[1000:]), (1000, 2000, text[2000:])):
        held_out.write_text(text[start:stop] + spare)
        left.write_text(rest)
        run = rnneval.evaluate(known, held_out, check=False, states=False)
        assert run.ngram == rnneval.evaluate(lm, held_out, fit_on=left, check=False, states=False).ngram
        assert not {"copied", "training-text"} & {warning.code for warning in run.warnings}
        with pytest.raises(UsageError, match=r"fit_on=.*characters .* are scored too"):
            rnneval.evaluate(lm, held_out, fit_on=whole)
    held_out.write_text(text[:10])  # so little may stand anywhere
    assert rnneval.evaluate(lm, held_out, fit_on=whole, check=False, states=False).ngram is not None


def test_options_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="max_order=10 is not allowed: give 1 to 9"):
        EvaluateOptions(fit_on="a.txt", max_order=LARGEST_ORDER + 1)
    assert EvaluateOptions(fit_on="a.txt", max_order=LARGEST_ORDER).max_order == LARGEST_ORDER
    with pytest.raises(UsageError, match="fit_part :3 is a part of the training text: give it, fit_on=TEXT"):
        EvaluateOptions(fit_part=":3")
    table = {"token": [1], "byte_start": [1], "byte_end": [2], "nats": [0.5]}
    with pytest.raises(UsageError, match="fit_on needs the vocabulary"):
        from_losses(table, string="ab", fit_on=letters(tmp_path, 100))


def test_ngrams_are_fitted_to_what_is_not_scored_of_the_text_of_the_vocabulary(tmp_path):
    text, new = letters(tmp_path, 3000), letters(tmp_path, 200, seed=1)
    vocabulary = Vocabulary.from_text(text)
    lm = uniform(vocabulary, vocabulary.size)
    for scored, part, fit_part in ((text, "80%:", ":2400"), (text, ":500", "500:"), (new, None, None)):
        run = rnneval.evaluate(lm, scored, part=part)
        asked = rnneval.evaluate(lm, scored, part=part, fit_on=text, fit_part=fit_part)
        assert run.baselines == asked.baselines
        assert run.ngram == asked.ngram
    assert "ngram-2" not in rnneval.evaluate(lm, text).baselines  # nothing is left of it
    text.write_text(text.read_text() + "a")
    assert {*rnneval.evaluate(lm, new).baselines} == {"uniform", "own-unigram"}


def test_the_unigram_of_the_scored_text_itself(tmp_path):
    run = rnneval.evaluate(uniform(list(LETTERS)), string="aab")
    assert run.baselines["own-unigram"] == pytest.approx(math.log(2))  # "ab" is scored
