"""The whole command in processes of its own: a deadly checkpoint, a sweep that is killed, a reading interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import pandas as pd
import psutil
import pytest

from tests.shelf import code_of

BOMB = '''\
import os
import keras


class Bomb(keras.layers.Layer):
    """Kills the process in which it is built, unless it is told not to."""

    def call(self, inputs):
        if "DISARMED" not in os.environ:
            os.kill(os.getpid(), 9)
        return inputs
'''

pytestmark = pytest.mark.slow


@pytest.fixture
def begin(shelf, tmp_path, monkeypatch):
    """Three good checkpoints and a deadly one; gives a function that starts the sweep."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for k in (1, 2, 3):
        shutil.copy(shelf / "flat.keras", folder / f"ckpt_{k}.keras")
    (tmp_path / "bomb.py").write_text(BOMB)
    monkeypatch.setenv("DISARMED", "1")
    layers = [keras.layers.Embedding(10, 4), code_of(tmp_path / "bomb.py").Bomb()]
    model = keras.Sequential([keras.Input((None,)), *layers, keras.layers.GRU(3, return_sequences=True)])
    model.add(keras.layers.Dense(10))
    model.save(folder / "deadly.keras")
    environment = {k: v for k, v in os.environ.items() if k != "DISARMED"} | {"PYTHONPATH": str(Path.cwd())}
    arguments = [
        "sweep",
        folder,
        shelf.text,
        "--vocab",
        shelf / "vocab.json",
        "--builder",
        f"{tmp_path / 'bomb.py'}:Bomb",
        "--run-module",
    ]

    def begin():
        return subprocess.Popen(
            [sys.executable, "-m", "rnneval", *map(str, arguments), "--out", str(tmp_path / "out"), "--jobs", "2",
             "--no-check", "--no-states", "--format", "json"],
            env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return begin


def test_killed_and_resumed_with_a_checkpoint_that_kills_its_reader(begin, tmp_path):
    process = begin()
    while process.poll() is None and not list(tmp_path.glob("out/records/*.json")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "out" / "sweep.parquet").exists()
    process = begin()
    printed, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (1, "")
    rows = {row["path"]: row for row in json.loads(printed)}
    assert [row["status"] for row in rows.values()] == ["ok", "ok", "ok", "failed"]
    assert rows["deadly.keras"]["rule"] == "worker-died"
    assert len({rows[f"ckpt_{k}.keras"]["total_nats"] for k in (1, 2, 3)}) == 1
    assert pd.read_parquet(tmp_path / "out" / "sweep.parquet")["path"].tolist() == list(rows)


def living(session):
    """Processes of a session that are more than a name."""
    found = [process for process in psutil.process_iter(["status"]) if process.info["status"] != psutil.STATUS_ZOMBIE]
    return [process for process in found if sid_of(process.pid) == session]


def sid_of(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_every_worker_and_leaves_no_file(shelf, tmp_path):
    """As a terminal does it: the signal reaches all processes of the group at once."""
    text, out = tmp_path / "long.txt", tmp_path / "out"
    text.write_text("abcd efgh\n" * 1_000_000)
    out.mkdir()
    arguments = ["evaluate", shelf / "flat.keras", text, "--jobs", "2", "--no-check", "--no-states"]
    arguments += ["--out", out / "run.json", "--losses", out / "losses.parquet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rnneval", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())}, start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and len(living(process.pid)) < 3:  # the command and two workers
        time.sleep(0.1)
    time.sleep(5)
    os.killpg(process.pid, signal.SIGINT)
    printed, said = process.communicate(timeout=120)
    assert (process.returncode, printed, said.strip()) == (130, "", "rnneval: interrupted")
    assert list(out.iterdir()) == []
    assert living(process.pid) == []
