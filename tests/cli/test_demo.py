"""`rnneval demo`: a tiny recipe by default; the whole of it, as a person runs it, by marker."""

import json
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import psutil
import pytest

from rnneval import records
from rnneval.cli.main import run
from rnneval.demo import files as demo_files
from rnneval.demo import models, page, steps, text, work
from rnneval.demo.files import BUILDERS, Files, Recipe, prepare, recipe_for
from rnneval.demo.text import topics_text
from rnneval.errors import UsageError
from rnneval.evaluate.executor import Done, WorkerDiedError
from tests.evaluate.pools import Shuffled

TINY = Recipe(embedding_dim=8, rnn_units=6, rows=4, segment=8, steps=3)
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
    for module, part in ((work, "measure"), (page, "compare"), (page, "report")):
        monkeypatch.setattr(module, part, lambda *_: None)
    monkeypatch.setattr(work, "connected", lambda *_, **__: nullcontext(None))
    monkeypatch.setattr("rnneval.demo.page.lessons", lambda _: ("one", "two", "three", "four", "five"))
    assert run(["demo", "--out", str(tmp_path)]) == 0
    printed, warned = capsys.readouterr()
    assert warned == ""
    assert printed.split() == [
        "1.", "one", "2.", "two", "3.", "three", "4.", "four", "5.", "five",
        "The", "page:", (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip


def test_figures_of_a_worker_that_dies_are_drawn_here(done):
    class Deadly:
        def run(self, waiting):
            yield Done(key=waiting.popleft().key, error=WorkerDiedError("2 processes died of it"))

    before = (done / "report.html").read_text(encoding="utf-8").count("<img")
    page.report(Files(folder=done), Deadly())
    assert (done / "report.html").read_text(encoding="utf-8").count("<img") == before


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").touch()
    said = refused("demo", "--out", tmp_path / "file" / "below")
    assert "cannot be made: Not a directory: give another --out FOLDER" in said


def test_an_error_of_a_step_is_one_line(refused, monkeypatch, tmp_path):
    def full(_):
        raise UsageError("one-layer.weights.h5: cannot be written: No space left on device")

    small(monkeypatch, Shuffled(1, 0))
    monkeypatch.setattr(steps.Steps, "train", full)
    assert "No space left on device" in refused("demo", "--out", tmp_path / "demo")


def test_a_process_that_dies_is_one_line(refused, monkeypatch, tmp_path):
    class Deadly:
        def run(self, waiting):
            yield Done(key=waiting.popleft().key, error=WorkerDiedError("2 processes died of it"))

    small(monkeypatch, Deadly())
    said = refused("demo", "--out", tmp_path / "demo")
    assert "right-stack: the process died twice in the step 'train': is there enough memory?" in said


def test_each_step_is_told_and_comes_after_those_before_it(monkeypatch, tmp_path):
    ran, told = [], []
    small(monkeypatch, Shuffled(2, 0))
    monkeypatch.setattr(work, "_run_step", lambda *given: ran.append((given[3], given[0])))
    with work.workers() as pool:
        work.measure(pool, Files(folder=tmp_path), TINY, lambda done, total: told.append((done, total)))
    assert told == [(count, 9) for count in range(1, 10)]
    for name in BUILDERS:
        assert [step for of, step in ran if of == name] == ["train", "check", "measure"]


def test_quick_is_the_same_with_less_training():
    whole, quick = (recipe_for(seed=3, quick=quick) for quick in (False, True))
    assert (whole.seed, quick.seed, whole.rnn_units, quick.rnn_units) == (3, 3, 128, 128)
    assert quick.steps * quick.rows * 10 < whole.steps * whole.rows


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(tmp_path):
    ids = np.arange(400, dtype=np.int32) % 7

    def weights():
        return steps.train(models.RightStack, ids, 7, TINY, history=tmp_path / "history").get_weights()

    for one, two in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_processes_give_what_this_one_gives(done, tmp_path):
    """Weights byte for byte; numbers up to the order in which several threads add."""
    files = prepare(tmp_path / "demo", topics_text()[:LENGTH])
    with work.workers() as pool:
        work.measure(pool, files, TINY)
        page.compare(files)
        page.report(files, pool)
    assert files.page.read_text(encoding="utf-8").count("<img") == (done / "report.html").read_text().count("<img")
    for name in BUILDERS:
        assert files.of(name).weights.read_bytes() == (done / files.of(name).weights.name).read_bytes()
        here, there = (record(folder, f"{name}.run.json") for folder in (done, files.folder))
        assert there.total_nats == pytest.approx(here.total_nats, rel=1e-12)
        assert there.scores.keys() == here.scores.keys()
        here, there = (record(folder, f"{name}.wiring.json") for folder in (done, files.folder))
        assert [found.message for found in there.findings] == [found.message for found in here.findings]
    here, there = (record(folder, "gate.json") for folder in (done, files.folder))
    assert (there.verdict, there.comparisons) == (here.verdict, here.comparisons)


@pytest.mark.slow
def test_interrupted_it_leaves_no_process(tmp_path):
    command = [sys.executable, "-m", "rnneval", "demo", "--out", str(tmp_path / "demo")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (workers := psutil.Process(demo.pid).children(recursive=True)):
        time.sleep(0.1)
    time.sleep(5)
    demo.send_signal(signal.SIGINT)
    printed, said = demo.communicate(timeout=60)
    assert (demo.returncode, printed, said.strip()) == (130, "", "rnneval: interrupted")
    assert not any(worker.is_running() for worker in workers)


@pytest.mark.slow
def test_the_whole_demo_learns(tmp_path, capsys):
    assert run(["demo", "--out", str(tmp_path), "--quiet", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["learnt"]) == 5
    right, wrong = (record(tmp_path, f"{name}.run.json") for name in ("right-stack", "wrong-stack"))
    # Untrained: ln 103 = 4.6 nats; by the frequency of letters alone: 3.2.
    assert right.total_nats / right.tokens.scored < 2.0
    assert wrong.token_by_token.total_nats > 1.2 * wrong.total_nats
    assert record(tmp_path, "gate.json").comparisons[0].high < 0  # the second layer helps
