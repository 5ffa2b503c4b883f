"""A script whose training is broken off by another callback: its own traceback, and nothing else."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
    import os, shutil, sys
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from rnneval.callbacks import GradientNorms, StateNorms
    from tests.callbacks.small import compiled, trained
    from tests.evaluate.small import LETTERS

    class Raises(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 7:
                {end}

    with open("held_out.txt", "w") as file:
        file.write("".join(LETTERS) * 30)
    norms = GradientNorms("h", steps_per_part=5)
    states = StateNorms("s", "held_out.txt", vocabulary=list(LETTERS))
    trained(compiled(), [norms, states, Raises()])
"""
# Its first lines of log come before it knows the level that is asked for.
OF_TENSORFLOW = re.compile(r"^(WARNING: All log messages before absl|[IWEF]\d{4} ).*\n", re.MULTILINE)
RAISE = 'raise ValueError("another callback")'
REMOVED = f'shutil.rmtree("h"); {RAISE}'
UNWRITABLE = f'import pathlib; pathlib.Path("h/part-000001.parquet").write_text("x"); {RAISE}'


def run(end, folder):
    """Run the script in a folder, and return its exit code and stderr without TensorFlow's own log lines."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    script = folder / "train.py"
    script.write_text(textwrap.dedent(SCRIPT.format(end=end)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    return done.returncode, OF_TENSORFLOW.sub("", done.stderr)


@pytest.mark.parametrize("end", [RAISE, pytest.param(REMOVED, marks=pytest.mark.grid)], ids=["raises", "removed"])
def test_the_last_words_are_the_users_own(end, tmp_path):
    code, stderr = run(end, tmp_path)
    assert code == 1
    assert stderr.endswith("ValueError: another callback\n")
    assert stderr.count("Traceback") == 1
    assert stderr.startswith("Traceback (most recent call last):")
    if end == RAISE:  # 4 steps an epoch: the first epoch is whole, and the steps of the second that were made are kept
        assert sorted(set(pd.read_parquet(tmp_path / "h")["step"])) == list(range(1, 8))
        assert set(pd.read_parquet(tmp_path / "s")["epoch"]) == {0}


@pytest.mark.grid
def test_an_exit_in_the_middle_says_nothing(tmp_path):
    assert run("sys.exit(3)", tmp_path) == (3, "")
    assert sorted(set(pd.read_parquet(tmp_path / "h")["step"])) == list(range(1, 8))


def test_steps_that_cannot_be_written_are_one_line(tmp_path):
    _, stderr = run(UNWRITABLE, tmp_path)
    _, _, after = stderr.partition("ValueError: another callback\n")
    assert re.fullmatch(r"GradientNorms: h/part-000001\.parquet: is of another history: .*\n", after)
