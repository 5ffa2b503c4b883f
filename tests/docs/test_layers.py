"""The study of depth: its page says what its record says, its intervals are those of the gate, and it resumes."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rnneval.gates.noninferiority import assess

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))

import layers  # noqa: E402 - found by the line above
import layers_answer  # noqa: E402
import layers_page  # noqa: E402

RECORD = json.loads(layers_page.RECORD.read_text(encoding="utf-8"))
SIZE = RECORD["sizes"][0]


def test_the_page_is_the_one_that_the_record_gives():
    assert layers_page.page(RECORD) == layers_page.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["layers-depth", "layers-training"])
def test_the_figures_are_of_the_same_runs(name):
    drawn = (layers_page.FIGURES / f"{name}.svg").read_text(encoding="utf-8")
    assert f"runs {layers_page.fingerprint(RECORD)}" in drawn


def test_all_arms_have_the_same_seeds_and_size():
    arms = {name: layers_answer.of_arm(RECORD, name, SIZE) for name in (*layers_answer.ARMS, layers_page.WRONG)}
    seeds = [run["seed"] for run in arms["gru-1"]]
    for runs in arms.values():
        assert [run["seed"] for run in runs] == seeds
        assert all(abs(run["parameters"] - SIZE) <= 0.02 * SIZE for run in runs)
        assert all(math.isclose(sum(run["nats"]), run["total_nats"], rel_tol=1e-7) for run in runs)
    assert {name: runs[0]["valid"] for name, runs in arms.items() if not runs[0]["valid"]} == {"gru-2-shared": False}


def test_a_difference_is_that_of_the_means():
    """By hand: mean loss of each arm, Welch's error of it, and the spread over eight passages of the text."""
    for answer in layers_answer.answers(RECORD, SIZE):
        sides = [layers_answer.of_arm(RECORD, arm, SIZE) for arm in (answer.shallow, answer.deep)]
        shallow, deep = (np.array([sum(run["nats"]) / run["tokens"] for run in side]) for side in sides)
        assert answer.difference == pytest.approx(deep.mean() - shallow.mean(), abs=1e-7)
        welch = shallow.var(ddof=1) / shallow.size + deep.var(ddof=1) / deep.size
        assert answer.se_seeds == pytest.approx(math.sqrt(welch), rel=1e-4)
        nats = [np.mean([run["nats"] for run in side], axis=0) for side in sides]
        tokens = np.array(RECORD["blocks"]["tokens"])
        passages = [
            part.sum() / count.sum()
            for part, count in zip(np.array_split(nats[1] - nats[0], 8), np.array_split(tokens, 8), strict=True)
        ]
        assert answer.se_text == pytest.approx(np.std(passages, ddof=1) / math.sqrt(8), rel=0.03)
        assert answer.low < answer.difference < answer.high


def test_simulated_studies_are_judged_as_real_ones():
    rng = np.random.default_rng(0)
    shallow, deep = rng.normal(1.6, 0.02, (2, 1, 3, 8))
    value, se, df = (part[0] for part in layers_answer.compared(shallow, deep))
    blocks = {"tokens": [1600] * 128, "bytes": list(range(1600, 128 * 1600 + 1, 1600))}
    runs = [[{"nats": np.repeat(row * 1600, 16).tolist()} for row in side[0]] for side in (shallow, deep)]
    tested = assess(layers_answer.PERPLEXITY, *layers_answer.paired({"blocks": blocks}, *runs))
    assert (value, se, df) == pytest.approx((tested.value, tested.se, tested.df))


def test_answers_are_rarely_false_without_a_difference():
    rows = RECORD["calibration"]["rows"]
    assert RECORD["calibration"]["studies"] >= 2000
    assert [row["false_answers"] for row in rows if row["text"] == "same recipe" and row["false_answers"] > 5] == []
    assert {row["seeds"] for row in rows} == {3, 5, 10}
    assert all(set(row["power"]) == {"0.01", "0.02", "0.05"} for row in rows)


def test_a_row_continues_where_it_ended():
    inputs, targets = zip(*layers.segments(np.arange(21, dtype=np.int32), rows=2, length=4), strict=True)
    assert np.concatenate(inputs, axis=1).tolist() == [[*range(8)], [*range(10, 18)]]
    assert np.concatenate(targets, axis=1).tolist() == [[*range(1, 9)], [*range(11, 19)]]


def test_every_seed_has_all_arms_before_the_next_begins():
    jobs = layers.order(["a", "b", "c"], [100], 2)
    assert [job.seed for job in jobs] == [0, 0, 0, 1, 1, 1]
    assert {job.arm for job in jobs[:3]} == {job.arm for job in jobs[3:]} == {"a", "b", "c"}


def test_a_study_that_was_killed_starts_what_is_missing(tmp_path, monkeypatch):
    jobs = layers.order(["a", "b"], [100], 1)
    (tmp_path / "a-100-seed0").mkdir()
    (tmp_path / ".b-100-seed0.17").mkdir()
    (tmp_path / ".b-100-seed0.taken").touch()
    started = []

    def start(command):
        started.append(command)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", start)
    layers.study(jobs, argparse.Namespace(out=tmp_path, jobs=2))
    assert len(started) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert json.loads((tmp_path / "starts.jsonl").read_text())["complete"] == 1
    first = layers._taken(jobs, {}, tmp_path)
    assert first is not None
    assert first.arm == "b"
    assert layers._taken(jobs, {}, tmp_path) is None


@pytest.mark.slow
def test_killed_three_times_it_comes_to_the_same_table(tmp_path):
    text = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    text.write_text("".join(rng.choice(list("abcdefgh \n"), 20_000)), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, kills in (("whole", ()), ("killed", (1, 2, 3))):
        out = tmp_path / name
        command = [sys.executable, str(BENCHMARKS / "layers.py"), "--data", str(text), "--out", str(out), "--quick"]
        command += ["--sizes", "40000", "--seeds", "2", "--arms", "gru-1", "lstm-1"]
        for epochs in kills:
            _killed_after(command, environment, epochs)
        subprocess.run(command, env=environment, check=True)
        table = [sys.executable, str(BENCHMARKS / "layers_records.py"), "--table", "--runs", str(out)]
        subprocess.run([*table, "--out", str(tmp_path / f"{name}.json")], env=environment, check=True)
    assert len((tmp_path / "killed" / "starts.jsonl").read_text().splitlines()) == 4
    assert (tmp_path / "whole.json").read_bytes() == (tmp_path / "killed.json").read_bytes()


def _killed_after(command, environment, epochs):
    """Start a study, and kill all its processes as soon as so many epochs are done: in the middle of a run."""
    study = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert study.stdout is not None
    for line in study.stdout:
        epochs -= "'epoch'" in line
        if not epochs:
            break
    os.killpg(study.pid, signal.SIGKILL)
    study.stdout.close()
    study.wait()
