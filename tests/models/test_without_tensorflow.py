"""Commands on a saved model in a process that cannot import TensorFlow or Keras, beside the same model run by Keras."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rnneval
from tests.evaluate.small import LETTERS, letters

COMMANDS = """
import json, sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # an import of either is an ImportError
from rnneval.cli.main import run
sys.exit(max(map(run, json.loads(sys.argv[1]))))
"""
MODELS = {"stack.h5": "LSTM", "ids.keras": "GRU"}


def run(*commands: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run commands without TensorFlow in one process, which ends with the largest of their exit codes."""
    words = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, its vocabulary and saved models."""
    import keras

    made = tmp_path_factory.mktemp("saved")
    letters(made, 6_000).rename(made / "text.txt")
    (made / "vocab.json").write_text(json.dumps(list(LETTERS)))
    width = len(LETTERS)
    keras.utils.set_random_seed(3)
    for name, kind in MODELS.items():
        first = [keras.layers.Input((None,), dtype="int32"), keras.layers.Embedding(width, 6)]
        layer = getattr(keras.layers, kind)
        body = [layer(units, return_sequences=True) for units in (9, 7)]
        keras.Sequential([*first, *body, keras.layers.Dense(width, activation="softmax")]).save(made / name)
    return made


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", MODELS)
def test_evaluate_gives_what_keras_gives(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    options = ["--vocab", "vocab.json", "--no-check", "--out", f"{name}.json", "-q"]
    ran = run(["evaluate", name, "text.txt", *options], folder=folder)
    assert ran.returncode == 0, ran.stderr
    ours = json.loads((folder / f"{name}.json").read_text())
    lm = rnneval.open(name, vocabulary="vocab.json")
    theirs = rnneval.evaluate(lm, "text.txt", check=False)
    assert ours["backend"] == "numpy"
    assert ours["streams"]["kernel"] == "numpy"
    assert theirs.backend == "keras"
    assert ours["total_nats"] == pytest.approx(theirs.total_nats, abs=1e-6 * ours["tokens"]["scored"])


def test_what_only_keras_can_run_names_the_layer_and_the_remedy(folder: Path) -> None:
    import keras

    width = len(LETTERS)
    inner = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), name="both_ways")
    layers = [keras.layers.Input((None,), dtype="int32"), keras.layers.Embedding(width, 5), inner]
    keras.Sequential([*layers, keras.layers.Dense(width)]).save(folder / "both.keras")
    command = ["evaluate", "both.keras", "text.txt", "--vocab", "vocab.json"]
    ran = run(command, [*command, "--backend", "auto"], [*command, "--backend", "numpy"], folder=folder)
    lines = ran.stderr.splitlines()
    assert (ran.returncode, len(lines)) == (2, 3), ran.stderr
    assert all("both_ways (Bidirectional)" in line and "rnneval[tensorflow]" in line for line in lines)
