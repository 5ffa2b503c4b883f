"""`rnneval evaluate` as a person calls it: the number, the record, and every input that it must refuse."""

import csv
import io
import json
import re
import signal

import jsonschema
import keras
import numpy as np
import pytest

from rnneval import records
from rnneval.cli import checkpoint
from rnneval.cli.main import run
from tests.shelf import LETTERS


@pytest.fixture
def evaluated(shelf, tmp_path, capsys):
    """Evaluate something of the shelf; give exit code, record and what was printed."""

    def evaluated(checkpoint, *more, text=None):
        out = tmp_path / "run.json"
        code = run([str(a) for a in ("evaluate", checkpoint, text or shelf.text, "--out", out, *more)])
        captured, found = capsys.readouterr(), records.read(out)
        # Warnings are there whatever is printed and written, and on standard error alone.
        assert captured.err == "".join(f"rnneval: warning {each.code}: {each.message}\n" for each in found.warnings)
        assert "warning " not in captured.out
        return code, found, captured.out

    return evaluated


def test_the_record_says_what_was_measured(record, shelf):
    found = records.read(record)
    assert found.total_nats == pytest.approx(shelf.total_nats, rel=1e-6)
    assert found.scores["perplexity"].value == pytest.approx(np.exp(shelf.total_nats / 239), rel=1e-6)
    assert found.scores["bits_per_char"].value == pytest.approx(shelf.total_nats / 239 / np.log(2), rel=1e-6)
    assert found.baselines["uniform"] == pytest.approx(np.log(10))
    assert (found.valid, found.checkpoint.format, found.vocabulary.size) == (True, "keras", 10)
    assert found.command[:2] == ("rnneval", *found.command[1:2])
    jsonschema.validate(json.loads(record.read_text()), records.json_schema("rnneval.run/1"))


def test_files_are_written_as_their_endings_say(shelf, tmp_path, monkeypatch):
    outs = [tmp_path / f"run.{ending}" for ending in ("json", "csv", "md")]
    given = ["evaluate", shelf / "flat.keras", shelf.text, "--backend", "keras", "--no-check", "--part", "10:", "-q"]
    words = [str(word) for word in (*given, *(word for out in outs for word in ("--out", out)))]
    monkeypatch.setattr("sys.argv", ["rnneval", *words])
    assert run(words) == 0
    found = records.read(outs[0])
    assert found.command == ("rnneval", *words)  # as it was typed
    assert (found.text.part, found.tokens.total, found.wiring) == ("10:", 230, None)
    rows = list(csv.DictReader(io.StringIO(outs[1].read_text())))
    assert {row["score"]: float(row["value"]) for row in rows} == {n: score.value for n, score in found.scores.items()}
    assert [row["score"] for row in rows if row["usual"] == "True"] == ["bits_per_char"]
    assert "the usual metric" in outs[2].read_text()


def saved(path, *, head=None, dense_weights=None):
    """A model of one layer whose end is made for the test."""
    ids = keras.Input((None,), dtype="int32")
    dense = keras.layers.Dense(len(LETTERS))
    x = dense(keras.layers.GRU(3, return_sequences=True)(keras.layers.Embedding(len(LETTERS), 3)(ids)))
    model = keras.Model(ids, head(x) if head else x)
    dense.set_weights(dense_weights)
    model.save(path)
    (path.parent / "vocab.json").write_text(json.dumps(list(LETTERS)))
    return path


def test_losses_that_are_not_finite_make_the_run_not_valid(evaluated, tmp_path):
    """Every weight is finite, but the difference of two logits is beyond float32: all but 'b' have infinite losses."""
    bias = np.full(10, -3e38)
    bias[LETTERS.index("b")] = 3e38
    path = saved(tmp_path / "m.keras", dense_weights=[np.zeros((3, 10)), bias])
    text = tmp_path / "t.txt"
    text.write_text("abbbabc")
    code, found, printed = evaluated(path, "--no-check", "--out", tmp_path / "m.md", text=text)
    assert (code, found.valid, found.total_nats, found.scores) == (1, False, None, {})
    assert re.match(r"## .*m\.keras on .*\n\n- ⚠️ \*\*not valid", (tmp_path / "m.md").read_text())
    said = next(warning.message for warning in found.warnings if warning.code == "not-finite")
    assert said.startswith("the loss of token 4 (byte 4 of the text) is inf")
    assert printed.startswith("not valid: not-finite; none of this is a perplexity")


def test_a_probability_of_zero_is_refused_with_its_position(refused, tmp_path):
    """Softmax of logits (0, …, 0, 1000 for the last letter): p = 0 for every other letter. The first to come is 'a'."""
    bias = np.zeros(10)
    bias[9] = 1000.0
    path = saved(tmp_path / "m.keras", head=keras.ops.softmax, dense_weights=[np.zeros((3, 10)), bias])
    text = tmp_path / "t.txt"
    text.write_text("ahhhah")
    said = refused("evaluate", path, text, "--no-check")
    assert "the model gives probability 0 to token 4 (byte 4 of the text): its loss is infinite" in said


TEXTS = {
    "missing": (None, "t.txt: no such file: give the path of a UTF-8 text"),
    "not UTF-8": (b"abc\xff", "byte 0xFF at offset 3"),
    "unknown": (b"abcXaXZ", "3 characters the vocabulary lacks"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts_that_cannot_be_scored(refused, shelf, tmp_path, case):
    content, said = TEXTS[case]
    text = tmp_path / "t.txt"
    if content is not None:
        text.write_bytes(content)
    assert said in refused("evaluate", shelf / "flat.keras", text, "--no-check")


def test_without_a_vocabulary_it_says_what_to_give(refused, shelf, tmp_path):
    (tmp_path / "m.keras").write_bytes((shelf / "flat.keras").read_bytes())
    said = refused("evaluate", tmp_path / "m.keras", shelf.text)
    assert "give --vocab FILE (JSON map or list, or one token a line) or --vocab-from TRAINING_TEXT" in said


USAGE = {
    "state": (("--state", "sometimes"), "'sometimes' is not one of 'carry', 'reset'"),
    "reset": (("--state", "reset"), "--state reset needs --segment N"),
}


@pytest.mark.parametrize("case", USAGE)
def test_options_that_cannot_be(refused, shelf, case):
    more, said = USAGE[case]
    text = [] if case == "no text" else [shelf.text]
    assert said in refused("evaluate", shelf / "flat.keras", *text, *more)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_the_old_record_and_130(shelf, tmp_path, monkeypatch, capsys):
    from contextlib import nullcontext

    seen = []

    def interrupting(done, total):
        seen.append((done, total))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(checkpoint, "progress_bar", lambda *_, **__: nullcontext(interrupting))
    out, losses = tmp_path / "run.json", tmp_path / "losses.parquet"
    out.write_text("old")
    arguments = ["evaluate", shelf / "flat.keras", shelf.text, "--no-check", "--out", out, "--losses", losses]
    assert run([str(a) for a in arguments]) == 130
    assert seen
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "\nrnneval: interrupted\n")  # on a line of its own, after ^C
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert out.read_text() == "old"
