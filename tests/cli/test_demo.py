"""`rnneval demo`: a tiny recipe, and the whole of it, as a person runs it."""

import json
from contextlib import nullcontext

import pytest

from rnneval import records
from rnneval.cli.main import run
from rnneval.demo import files as demo_files
from rnneval.demo import text, work
from rnneval.demo.files import BUILDERS, DemoRecipe
from rnneval.demo.text import topics_text
from tests.evaluate.pools import Shuffled

TINY = DemoRecipe(embedding_dim=8, rnn_units=6, rows=4, segment=8, steps=3)
LENGTH = 3000


def small(patch, pool):
    """Let a demo have a short text and a tiny recipe, and a pool in place of its processes."""
    patch.setattr(text, "topics_text", lambda: topics_text()[:LENGTH])
    patch.setattr(demo_files, "recipe_for", lambda **_: TINY)
    patch.setattr(work, "connected", lambda *_, **__: nullcontext(pool))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a small demo whose steps ran in this process."""
    folder = tmp_path_factory.mktemp("the demo") / "its folder"
    with pytest.MonkeyPatch.context() as patch:
        small(patch, Shuffled(1, 0))
        assert run(["demo", "--out", str(folder), "--format", "json", "--quiet"]) == 0
    return folder


def record(folder, name):
    return records.read(folder / name)


@pytest.mark.slow  # .ci/run has the wheel do the same
def test_every_model_is_trained_saved_checked_and_measured(done):
    for name in BUILDERS:
        kept = {path.name.removeprefix(f"{name}.") for path in done.glob(f"{name}.*")}
        assert {"weights.h5", "training.parquet", "wiring.json", "run.json"} <= kept
        measured = record(done, f"{name}.run.json")
        assert (measured.text.part, measured.text.characters, measured.tokens.scored) == ("90%:", 300, 299)
        assert {layer.units for layer in measured.checkpoint.layers} == {6}


@pytest.mark.slow  # .ci/run has the wheel do the same
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


@pytest.mark.slow  # .ci/run has the wheel do the same
def test_the_page_tells_of_all_three(done):
    page = (done / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert all(f"{name}.weights.h5" in page for name in BUILDERS)
    assert page.count("<img") >= 10
    verdict = page.partition('id="verdict"')[2].partition("</section>")[0]
    assert "The state is wired wrong" in verdict


@pytest.mark.slow  # .ci/run has the wheel do the same
def test_a_records_command_gives_its_numbers_again(done, capsys):
    first = record(done, "right-stack.run.json")
    assert run([*first.command[1:], "--quiet"]) == 0
    again = record(done, "right-stack.run.json")
    assert (again.total_nats, again.checkpoint.sha256) == (first.total_nats, first.checkpoint.sha256)


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    said = refused("demo", "--out", tmp_path / "file" / "below")
    assert "cannot be made: Not a directory: give another --out FOLDER" in said


@pytest.mark.slow
def test_the_whole_demo_learns(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path), "--quiet", "--format", "json"]) == 0
    assert "The state is wired wrong in wrong-stack" in json.loads(capsys.readouterr().out)["learnt"][0]
    right, wrong = (record(tmp_path, f"{name}.run.json") for name in ("right-stack", "wrong-stack"))
    # Untrained: ln 103 = 4.6 nats; by the frequency of letters alone: 3.2.
    assert right.total_nats / right.tokens.scored < 2.0
    assert wrong.token_by_token.total_nats > 1.2 * wrong.total_nats
    assert record(tmp_path, "gate.json").comparisons[0].high < 0  # the second layer helps
