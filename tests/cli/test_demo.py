"""`rnneval demo`: a tiny recipe by default; the whole of it, as a person runs it, by marker."""

import json

import keras
import numpy as np
import pytest

from rnneval import records
from rnneval.cli.main import run
from rnneval.demo import models, text, training
from rnneval.demo.files import BUILDERS
from rnneval.demo.text import topics_text

TINY = training.Recipe(embedding_dim=8, rnn_units=6, rows=4, segment=8, steps=3)
LENGTH = 3000


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a demo with a short text and a tiny recipe in place of its own, and what it printed."""
    folder = tmp_path_factory.mktemp("the demo") / "its folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "topics_text", lambda: topics_text()[:LENGTH])
        patch.setattr(training, "recipe_for", lambda **_: TINY)
        assert run(["demo", "--out", str(folder), "--format", "json", "--quiet"]) == 0
    return folder


def record(folder, name):
    return records.read(folder / name)


def test_every_model_is_trained_saved_checked_and_measured(done):
    for name in BUILDERS:
        kept = {path.name.removeprefix(f"{name}.") for path in done.glob(f"{name}.*")}
        assert {"weights.h5", "training.parquet", "wiring.json", "run.json"} <= kept
        measured = record(done, f"{name}.run.json")
        assert (measured.text.part, measured.text.characters, measured.tokens.scored) == ("90%:", 300, 299)
        assert {layer.units for layer in measured.checkpoint.layers} == {6}


def test_the_folder_holds_text_vocabulary_and_code(done):
    written = (done / "topics.txt").read_text(encoding="utf-8")
    assert written == topics_text()[:LENGTH]
    assert json.loads((done / "vocab.json").read_text()) == sorted(set(written))
    assert "class WrongStack(keras.Model)" in (done / "models.py").read_text(encoding="utf-8")


def test_the_wrong_stack_fails_with_its_line_and_the_others_pass(done):
    verdicts = {name: record(done, f"{name}.wiring.json") for name in BUILDERS}
    assert {name: wiring.verdict for name, wiring in verdicts.items()} == {
        "one-layer": "pass", "wrong-stack": "fail", "right-stack": "pass",
    }  # fmt: skip
    first = next(found for found in verdicts["wrong-stack"].findings if found.severity == "error")
    lines = (done / "models.py").read_text(encoding="utf-8").splitlines()
    assert lines[first.line - 1].strip() == "x, states = self.gru_2(x, initial_state=states, training=training)"
    valid = {name: record(done, f"{name}.run.json").valid for name in BUILDERS}
    assert valid == {"one-layer": True, "wrong-stack": False, "right-stack": True}


def test_the_page_tells_of_all_three(done):
    page = (done / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert all(f"{name}.weights.h5" in page for name in BUILDERS)
    assert page.count("<img") >= 10
    verdict = page.partition('id="verdict"')[2].partition("</section>")[0]
    assert "The state is wired wrong" in verdict


def test_a_records_command_gives_its_numbers_again(done, capsys):
    first = record(done, "right-stack.run.json")
    assert run([*first.command[1:], "--quiet"]) == 0
    again = record(done, "right-stack.run.json")
    assert (again.total_nats, again.checkpoint.sha256) == (first.total_nats, first.checkpoint.sha256)


def test_five_lines_and_the_page(monkeypatch, tmp_path, capsys):
    from rnneval.demo import steps

    monkeypatch.setattr(text, "topics_text", lambda: topics_text()[:LENGTH])
    monkeypatch.setattr(training, "recipe_for", lambda **_: TINY)
    monkeypatch.setattr(steps, "steps", lambda *_: ())
    monkeypatch.setattr("rnneval.demo.lessons.lessons", lambda _: ("one", "two", "three", "four", "five"))
    assert run(["demo", "--out", str(tmp_path)]) == 0
    printed, warned = capsys.readouterr()
    assert warned == ""
    assert printed.split() == [
        "1.", "one", "2.", "two", "3.", "three", "4.", "four", "5.", "five",
        "The", "page:", (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    said = refused("demo", "--out", tmp_path / "file" / "below")
    assert "cannot be made: Not a directory: give another --out FOLDER" in said


def test_quick_is_the_same_with_less_training():
    whole, quick = (training.recipe_for(seed=3, quick=quick) for quick in (False, True))
    assert (whole.seed, quick.seed, whole.rnn_units, quick.rnn_units) == (3, 3, 128, 128)
    assert quick.steps * quick.rows * 10 < whole.steps * whole.rows


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(tmp_path):
    ids = np.arange(400, dtype=np.int32) % 7
    told = []

    def weights(progress=None):
        trained = training.train(models.RightStack, ids, 7, TINY, history=tmp_path / "history", progress=progress)
        return trained.get_weights()

    first_time = weights(lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    for one, two in zip(first_time, weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_the_whole_demo_learns(tmp_path, capsys):
    keras.backend.clear_session()
    assert run(["demo", "--out", str(tmp_path), "--quiet", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["learnt"]) == 5
    right, wrong = (record(tmp_path, f"{name}.run.json") for name in ("right-stack", "wrong-stack"))
    # Untrained: ln 103 = 4.6 nats; by the frequency of letters alone: 3.2.
    assert right.total_nats / right.tokens.scored < 2.0
    assert wrong.token_by_token.total_nats > 1.2 * wrong.total_nats
    assert record(tmp_path, "gate.json").comparisons[0].high < 0  # the second layer helps
