"""A builder that reads the checkpoint itself and returns a step function's model, from the command line."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import rnneval
from rnneval.checkpoints.usercode import reads_checkpoint, record_of
from rnneval.cli.main import run
from rnneval.evaluate.sweep import find_checkpoints
from rnneval.records.run import BuilderRecord, Checkpoint

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

def alone(vocab_size):
    return rnneval.from_step(lambda ids, state: (np.eye(vocab_size)[ids], None), vocab_size=vocab_size)
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


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
    assert record["checkpoint"]["sha256"] == sha256_of(folder / "w.npz")


def test_code_that_was_changed_makes_another_model_of_the_same_file(folder: Path) -> None:
    def opened() -> Checkpoint:
        return rnneval.open("w.npz", builder="model.py:build", vocabulary="vocab.json").checkpoint

    before = opened()
    assert before.builder == BuilderRecord(name="model.py:build", sha256=sha256_of(folder / "model.py"))
    assert before.identity.split() == [before.sha256, "build", before.builder.sha256]
    (folder / "model.py").write_text(f"{MODEL}\n# changed\n")
    assert opened().sha256 == before.sha256
    assert opened().identity != before.identity


def test_the_code_of_a_builder_is_the_file_of_its_module(folder: Path) -> None:
    assert record_of("model:build").sha256 == sha256_of(folder / "model.py")
    assert record_of(expected).sha256 == sha256_of(Path(__file__))
    made = type("Made", (), {"__module__": "nowhere"})
    assert record_of(made) == BuilderRecord(name="Made")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["w.npz", "--builder", "model.py:broken"], "returned a int"),
        (["gone.npz", "--builder", "model.py:build"], "gone.npz: cannot be read"),
        (["w.npz", "--builder", "model.py:weights_only"], "a function with the parameter checkpoint"),
        (["w.npz", "--builder", "model.py:build", "--expect-sha256", "0" * 64], "SHA-256"),
        (["w.npz", "--builder", "model.py:build", "--builder-arg", "size=1"], "takes no size"),
    ],
)
def test_wrong_uses_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert run(["evaluate", words[0], "text.txt", *words[1:], "--vocab", "vocab.json"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error


def test_every_command_takes_it_with_the_vocabulary_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    builder = ["--builder", "model.py:build"]
    assert run(["open", "w.npz", *builder]) == 0
    assert "4 tokens, vocab.json" in capsys.readouterr().out
    assert run(["trace", "w.npz", "text.txt", "--part", ":200", *builder]) == 0
    assert run(["check", "model.py:build", "--builder-arg", "checkpoint=w.npz"]) == 0
    assert run(["check", "model.py:alone"]) == 1  # it has no state
    assert run(["check", "model.py:build"]) == 2
    assert "reads a file itself: give that file" in capsys.readouterr().err
    (folder / "files").mkdir()
    for name in ("m_1.npz", "m_2.npz"):
        (folder / "files" / name).write_bytes((folder / "w.npz").read_bytes())
    swept = find_checkpoints("files", every=reads_checkpoint("model.py:build"))
    assert list(swept) == ["m_1.npz", "m_2.npz"]


def test_a_vocabulary_that_is_off_by_one_is_an_error_a_cause_and_a_help(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "short.json").write_text(json.dumps(TOKENS[:-1]))
    assert run(["check", "w.npz", "--builder", "model.py:build", "--vocab", "short.json"]) == 2
    error, cause, advice = capsys.readouterr().err.splitlines()
    assert error.endswith("step returns 4 logits a token, and the vocabulary (given) has 3 tokens")
    assert cause == "cause: id 0 stands for [UNK] or padding"
    assert advice.startswith("help: give the 4 tokens")
