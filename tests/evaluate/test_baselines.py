"""n-gram baselines of a run: the same tokens as the model's, whatever a token is and whatever ran the model."""

import json
import math
import sys

import keras
import numpy as np
import pytest

import rnneval
from rnneval.cli.main import run as command
from rnneval.errors import UsageError
from rnneval.evaluate import baselines
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


def test_orders_are_tried_until_two_above_the_best(tmp_path):
    fitted, scored = poems(tmp_path / "fitted.txt", 0), poems(tmp_path / "scored.txt", 1)
    lm, options = uniform(list(LETTERS)), {"check": False, "states": False}
    run = rnneval.evaluate(lm, scored, fit_on=fitted, **options)
    best = run.ngram.order
    assert set(run.baselines) == {
        "uniform",
        "own-unigram",
        "unigram",
        *(f"ngram-{order}" for order in range(2, best + 3)),
    }
    assert min(run.baselines, key=run.baselines.get) == run.ngram.name
    assert len(run.ngram.discounts) == best < LARGEST_ORDER - 2
    every = rnneval.evaluate(lm, scored, fit_on=fitted, max_order=LARGEST_ORDER, **options)
    assert every.ngram == run.ngram
    assert {name: every.baselines[name] for name in run.baselines} == run.baselines
    assert f"ngram-{LARGEST_ORDER}" in every.baselines
    none = rnneval.evaluate(lm, scored, fit_on=fitted, max_order=1, **options)
    assert (set(none.baselines), none.ngram) == ({"uniform", "own-unigram", "unigram"}, None)


def test_a_held_out_text_that_stands_in_the_training_text_is_warned_of(tmp_path):
    fitted, scored = letters(tmp_path, 3000), tmp_path / "held_out.txt"
    text = fitted.read_text()
    options = {"fit_on": fitted, "check": False, "states": False}
    scored.write_text(text[1000:1500])
    run = rnneval.evaluate(uniform(list(LETTERS)), scored, **options)
    (said,) = [warning.message for warning in run.warnings if warning.code == "copied"]
    # Of 499 scored tokens, all but the first 30 end a run of 32.
    assert said.startswith("94 % of the scored tokens end a run of 32 tokens")
    assert f"{run.ngram.name} is {math.log(9) - run.baselines[run.ngram.name]:.3g} nats a token below the model" in said
    scored.write_text("".join(np.random.default_rng(5).choice(list(LETTERS), 500)))
    run = rnneval.evaluate(uniform(list(LETTERS)), scored, **options)
    assert "copied" not in {warning.code for warning in run.warnings}


def test_a_text_too_long_is_refused_before_the_model_runs(tmp_path, monkeypatch):
    fitted, scored = letters(tmp_path, 300), letters(tmp_path, 200, seed=1)
    monkeypatch.setattr(baselines, "MOST_TOKENS", 299)
    lm, ran = uniform(list(LETTERS)), []
    monkeypatch.setattr(sys.modules["rnneval.evaluate.run"], "measure", lambda *_, **__: ran.append("the model"))
    with pytest.raises(UsageError, match=r"the fit_on text has 300 tokens.* up to 299.*\(fit_part\), or max_order=1"):
        rnneval.evaluate(lm, scored, fit_on=fitted, check=False, states=False)
    with pytest.raises(UsageError, match=r"the scored text has 300 tokens.*\(part\), or max_order=1"):
        rnneval.evaluate(lm, fitted, fit_on=scored, check=False, states=False)
    assert ran == []
    monkeypatch.undo()
    monkeypatch.setattr(baselines, "MOST_TOKENS", 299)
    run = rnneval.evaluate(lm, scored, fit_on=fitted, max_order=1, check=False, states=False)
    assert "unigram" in run.baselines


def test_a_second_checkpoint_on_the_same_texts_costs_nothing(tmp_path, monkeypatch):
    fitted, scored = letters(tmp_path, 900), letters(tmp_path, 2000, seed=1)
    options = {"check": False, "states": False}
    first = rnneval.evaluate(uniform(list(LETTERS)), scored, fit_on=fitted, **options)
    counted = []
    real = baselines.losses_by_order
    monkeypatch.setattr(baselines, "losses_by_order", lambda *a, **k: counted.append(1) or real(*a, **k))
    again = rnneval.evaluate(uniform(list(LETTERS)), scored, fit_on=fitted, **options)
    assert (again.baselines, again.ngram, counted) == (first.baselines, first.ngram, [])
    fitted.write_text(fitted.read_text()[::-1])
    other = rnneval.evaluate(uniform(list(LETTERS)), scored, fit_on=fitted, **options)
    assert counted == [1]
    assert other.baselines["unigram"] == first.baselines["unigram"]
    assert other.baselines["ngram-2"] != first.baselines["ngram-2"]
    for change in ({"max_order": 2}, {"part": "10:"}):
        rnneval.evaluate(uniform(list(LETTERS)), scored, fit_on=fitted, **options, **change)
    assert counted == [1, 1, 1]


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


def test_options_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="max_order=10 is not allowed: give 1 to 9"):
        EvaluateOptions(fit_on="a.txt", max_order=LARGEST_ORDER + 1)
    assert EvaluateOptions(fit_on="a.txt", max_order=LARGEST_ORDER).max_order == LARGEST_ORDER
    with pytest.raises(UsageError, match="fit_part :3 is about the text that fit_on names"):
        EvaluateOptions(fit_part=":3")
    table = {"token": [1], "byte_start": [1], "byte_end": [2], "nats": [0.5]}
    with pytest.raises(UsageError, match="fit_on needs the vocabulary"):
        from_losses(table, string="ab", fit_on=letters(tmp_path, 100))


def test_the_command_names_the_ngram_that_the_model_is_as_good_as(tmp_path, monkeypatch, capsys):
    """A model of 9 letters, trained on nothing, on text in which letters depend on those before."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    stacked("GRU", (8,)).lm.model.save("m.keras")
    (tmp_path / "vocab.json").write_text(json.dumps(list(LETTERS)))
    poems(tmp_path / "all.txt", 0, 4000)
    arguments = ["evaluate", "m.keras", "all.txt", "--part", "50%:", "--fit-on", "all.txt", "--fit-part", ":50%",
                 "--vocab", "vocab.json", "--max-order", "3", "--out", "run.json"]  # fmt: skip
    assert command(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "n-grams worse than u" in out
    assert "nats a token beside ngram-" in out
    assert command(["gate", "run.json", "--better-than-counting"]) == 1
    assert "beyond the margin" in capsys.readouterr().out
    assert command([*arguments[:-4], "--fit-part", ":51%", "--max-order", "3"]) == 2
    assert "are scored too" in capsys.readouterr().err
