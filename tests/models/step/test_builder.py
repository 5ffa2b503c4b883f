"""A builder that reads the checkpoint itself and returns a step function's model, from the command line."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import rnneval
from rnneval.cli.main import run
from rnneval.errors import CheckpointError

MODEL = """
import numpy as np
import rnneval

def build(checkpoint, vocabulary, scale=1.0):
    table = np.load(checkpoint)["table"] * scale

    def step(ids, state):
        before = np.concatenate([state, ids[:, :-1]], axis=1)
        return table[before, ids], ids[:, -1:]

    return rnneval.from_step(step, lambda batch: np.zeros((batch, 1), np.int32), vocabulary=vocabulary)

def broken(checkpoint):
    return 3

def optional(vocab_size, checkpoint=None):
    return None

def weights_only(vocab_size):
    return None
"""
TOKENS = list("abc\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose logits are a table of the last two ids, its file and a text."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "w.npz", table=rng.normal(size=(4, 4, 4)))
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "vocab.json").write_text(json.dumps(TOKENS))
    (tmp_path / "text.txt").write_text("".join(rng.choice(TOKENS, 3_000)), newline="")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected(folder: Path, scale: float) -> float:
    """Return the loss of the text, token by token, in float64."""
    table = np.load(folder / "w.npz")["table"] * scale
    ids = [TOKENS.index(c) for c in (folder / "text.txt").read_text()]
    before, total = 0, 0.0
    for now, target in itertools.pairwise(ids):
        logits = table[before, now]
        total += np.log(np.exp(logits).sum()) - logits[target]
        before = now
    return total


@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]])
def test_evaluate_scores_what_the_builder_returns(
    folder: Path, jobs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "w.npz", "text.txt", "--builder", "model.py:build", "--builder-arg", "scale=2.0", *jobs]
    assert run([*words, "--vocab", "vocab.json", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["total_nats"] == pytest.approx(expected(folder, 2.0), rel=1e-7)  # losses are kept in float32
    assert record["backend"] == "step"
    assert record["checkpoint"]["path"] == "w.npz"
    assert record["checkpoint"]["sha256"] == hashlib.sha256((folder / "w.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["w.npz", "--builder", "model.py:broken"], "returned a int"),
        (["gone.npz", "--builder", "model.py:build"], "gone.npz: cannot be read"),
        (["w.npz", "--builder", "model.py:weights_only"], "zip-members"),
        (["w.npz", "--builder", "model.py:build", "--expect-sha256", "0" * 64], "SHA-256"),
        (["w.npz", "--builder", "model.py:build", "--builder-arg", "size=1"], "takes no size"),
    ],
)
def test_wrong_uses_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert run(["evaluate", words[0], "text.txt", *words[1:], "--vocab", "vocab.json"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error


def test_check_and_open_take_it_too(folder: Path) -> None:
    lm = rnneval.open("w.npz", builder="model.py:build", vocabulary="vocab.json")
    assert lm.backend == "step"
    assert rnneval.check(lm).verdict == "pass"
    assert run(["check", "w.npz", "--builder", "model.py:build", "--vocab", "vocab.json"]) == 0
    with pytest.raises(CheckpointError, match="returned a int"):
        rnneval.open("w.npz", builder="model.py:broken", vocabulary="vocab.json")
