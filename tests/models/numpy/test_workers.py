"""Blocks of rows in several processes: the same digits, and no process that is left or waited for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rnneval.errors import CheckpointError
from rnneval.models.numpy import network
from rnneval.models.numpy import scorer as scoring
from rnneval.models.numpy.lm import NumpyLM, open_numpy
from rnneval.models.protocol import Shape
from tests.models.numpy.made import ids_of, stack_file

ROWS, SEGMENT = 11, 20
IDS = ids_of(ROWS, SEGMENT + 1)


@pytest.fixture
def lm(tmp_path, monkeypatch) -> NumpyLM:
    monkeypatch.setattr(scoring, "ROWS", 2)  # blocks of 2, 2, 2, 2, 2 and 1 rows
    monkeypatch.setattr(scoring, "cores", lambda: 3)
    return open_numpy(stack_file(tmp_path / "model.h5", "LSTM")[0])


def step(scorer, lm):
    return scorer.score(IDS[:, :-1], IDS[:, 1:], np.tile(lm.start(), (ROWS, 1)), ROWS)


def until_ready(scorer, lm):
    """Steps until both workers take part."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        step(scorer, lm)
        workers = scorer._team.workers
        if len(workers) == 2 and all(worker.ready for worker in workers):
            return step(scorer, lm)
        time.sleep(0.05)
    raise AssertionError("no worker became ready")


def assert_same(found, wanted) -> None:
    for ours, theirs in zip(found.predicted, wanted.predicted, strict=True):
        assert ours.tolist() == theirs.tolist()
    assert found.states.tolist() == wanted.states.tolist()
    assert [part.rows for part in found.seen] == [part.rows for part in wanted.seen]
    for ours, theirs in zip(found.seen, wanted.seen, strict=True):
        for key in theirs.states:
            assert ours.states[key].states.tolist() == theirs.states[key].states.tolist()
            assert ours.states[key].before.tolist() == theirs.states[key].before.tolist()
        assert {key: values.tolist() for key, values in ours.inputs.items()} == {
            key: values.tolist() for key, values in theirs.inputs.items()
        }


def scorer_of(lm, **more):
    return lm.scorer(Shape(rows=ROWS, segment=SEGMENT), **more)


@pytest.mark.parametrize("sees", ["losses", "states", "gates"])
def test_every_digit_is_that_of_one_process(lm, sees) -> None:
    wanted = step(scorer_of(lm, sees=sees, parallel=False), lm)
    scorer = scorer_of(lm, sees=sees)
    assert_same(until_ready(scorer, lm), wanted)


def test_a_worker_that_is_killed_is_left_out(lm) -> None:
    scorer = scorer_of(lm, sees="states")
    wanted = until_ready(scorer, lm)
    predicted = [array.copy() for array in wanted.predicted]
    os.kill(scorer._team.workers[0]._process.pid, signal.SIGKILL)
    found = step(scorer, lm)
    assert len(scorer._team.workers) == 1
    assert [array.tolist() for array in found.predicted] == [array.tolist() for array in predicted]


def test_a_worker_that_hangs_is_left_out(lm, monkeypatch) -> None:
    scorer = scorer_of(lm)
    wanted = until_ready(scorer, lm)
    monkeypatch.setattr(scoring, "_PATIENCE", 0.2)
    stopped = scorer._team.workers[1]
    os.kill(stopped._process.pid, signal.SIGSTOP)
    assert_same(step(scorer, lm), wanted)
    assert stopped not in scorer._team.workers
    assert is_gone(stopped._process.pid)


def test_workers_end_with_their_scorer(lm) -> None:
    scorer = scorer_of(lm)
    until_ready(scorer, lm)
    pids = [worker._process.pid for worker in scorer._team.workers]
    del scorer
    assert all(map(is_gone, pids))


def test_an_error_in_a_step_ends_the_workers(lm, monkeypatch) -> None:
    """Else an answer to this step would be taken for that to the next."""
    scorer = scorer_of(lm)
    until_ready(scorer, lm)

    def fails(rooms, helper):
        raise ZeroDivisionError

    monkeypatch.setattr(scorer, "_score_here", fails)
    with pytest.raises(ZeroDivisionError):
        step(scorer, lm)
    assert scorer._team.workers == []


def test_a_second_thread_changes_no_digit(tmp_path, monkeypatch) -> None:
    """One row has no second block: a part of its logits is made by another thread."""
    monkeypatch.setattr(scoring, "_MANY", 0)
    monkeypatch.setattr(network, "_STEPS", 3)  # logits of some steps are made beside the states of the next
    monkeypatch.setattr(scoring, "cores", lambda: 2)
    lm = open_numpy(stack_file(tmp_path / "model.h5", "GRU")[0])
    wanted = step(scorer_of(lm, parallel=False), lm)
    scorer = scorer_of(lm)
    helped = []
    submit = scorer._helper.submit
    monkeypatch.setattr(scorer._helper, "submit", lambda *given: helped.append(given) or submit(*given))
    assert_same(step(scorer, lm), wanted)
    assert len(helped) == 7  # of 20 steps
    with pytest.raises(CheckpointError):
        scorer.score(IDS * 0 + 7, IDS, np.tile(lm.start(), (ROWS, 1)), ROWS)


def test_workers_that_do_not_pay_are_ended(lm, monkeypatch) -> None:
    scorer = scorer_of(lm)
    wanted = until_ready(scorer, lm)
    monkeypatch.setattr(scoring, "_TRIED", 0.0)
    monkeypatch.setattr(scorer._alone, "tokens", 1 << 60)  # as if this process alone had been fast
    assert_same(step(scorer, lm), wanted)
    assert scorer._team.workers == []
    monkeypatch.setattr(scorer._alone, "tokens", 1)
    assert_same(step(scorer, lm), wanted)
    assert scorer._team.workers == []  # for good


def test_workers_that_pay_stay(lm, monkeypatch) -> None:
    scorer = scorer_of(lm)
    until_ready(scorer, lm)
    monkeypatch.setattr(scoring, "_TRIED", 0.0)
    monkeypatch.setattr(scorer._alone, "tokens", 1)
    step(scorer, lm)
    assert len(scorer._team.workers) == 2


def test_few_rows_start_nothing(lm, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "ROWS", ROWS)
    scorer = scorer_of(lm)
    step(scorer, lm)
    assert scorer._team.workers == []
    assert scorer_of(lm, parallel=False)._team is None


def test_no_process_can_be_started(lm, monkeypatch) -> None:
    def refused(*arguments, **named):
        raise OSError("no more processes")

    monkeypatch.setattr(scoring.subprocess, "Popen", refused)
    scorer = scorer_of(lm)
    wanted = step(scorer_of(lm, parallel=False), lm)
    assert_same(step(scorer, lm), wanted)
    assert_same(step(scorer, lm), wanted)
    assert scorer._team.count == 0


def test_a_file_in_place_of_memory_without_a_name(lm, monkeypatch) -> None:
    """Where the system has no memfd."""
    wanted = step(scorer_of(lm, parallel=False), lm)
    monkeypatch.delattr(scoring.os, "memfd_create", raising=False)
    assert_same(until_ready(scorer_of(lm), lm), wanted)


def test_blocks_depend_on_rows_and_model_alone(lm) -> None:
    assert scoring.blocks_of(11, lm.network) == (2, 2, 2, 2, 2, 1)
    assert scoring.blocks_of(1, lm.network) == (1,)


def test_few_rows_of_a_wide_model_are_two_blocks(lm, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "ROWS", 64)
    assert scoring.blocks_of(64, lm.network) == (64,)
    monkeypatch.setattr(scoring, "_WIDE", 10)
    assert scoring.blocks_of(64, lm.network) == (32, 32)
    assert scoring.blocks_of(254, lm.network) == (64, 64, 63, 63)
    assert scoring.blocks_of(16, lm.network) == (16,)


def is_gone(pid: int) -> bool:
    """True as soon as no such process runs, or it is a zombie that only its parent can remove."""
    for _ in range(200):
        if state_of(pid) in {"", "Z"}:
            return True
        time.sleep(0.05)
    return False


def state_of(pid: int) -> str:
    """The letter for the state of a process; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


SCRIPT = """
import sys, time, numpy as np
open("imported", "a").write("x")
from rnneval.models.numpy import scorer as scoring
from rnneval.models.numpy.lm import open_numpy
from rnneval.models.protocol import Shape
from rnneval.errors import CheckpointError
scoring.ROWS, scoring.cores = 2, lambda: 2
lm = open_numpy(sys.argv[1])
scorer = lm.scorer(Shape(rows=4, segment=5))
ids = np.ones((4, 5), np.int32)
while True:
    scorer.score(ids, ids, np.tile(lm.start(), (4, 1)), 4)
    workers = scorer._team.workers
    if workers and workers[0].ready:
        break
    time.sleep(0.02)
print(workers[0]._process.pid, flush=True)
time.sleep(100 if sys.argv[2:] else 0)
"""


@pytest.fixture
def folder(tmp_path):
    """A script and a module `numpy.py` in the current folder, which no worker may import."""
    stack_file(tmp_path / "model.h5", "GRU")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "script.py").write_text(SCRIPT)
    for name in ("h5py", "msgspec", "pickletools", "rnneval_x"):
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / "__init__.py").write_text("raise SystemExit('imported from the current folder')")
    return tmp_path


def test_a_worker_imports_neither_the_script_nor_the_folder(folder) -> None:
    ran = subprocess.run(
        [sys.executable, folder / "run" / "script.py", folder / "model.h5"],
        cwd=folder / "work", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (folder / "work" / "imported").read_text() == "x"
    assert is_gone(int(ran.stdout))


def test_a_worker_ends_when_its_parent_is_killed(folder) -> None:
    with subprocess.Popen(
        [sys.executable, folder / "run" / "script.py", folder / "model.h5", "stay"],
        cwd=folder / "work", stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert state_of(pid) not in {"", "Z"}
        parent.kill()
        parent.wait()
        assert is_gone(pid)


def test_the_number_of_processes_is_bounded(lm, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "cores", lambda: 100)
    assert scoring.Team(lm.recipe, lm.network).count == 7
