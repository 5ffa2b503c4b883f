"""Every command of the guides, run in the order of its page, in a folder that has what the page asks for.

Blocks `sh` are run here, in this process; `console` shows what needs files, programs or machines that are not here.
The tutorial and the page on the gate have tests of their own, which start from an empty folder.
"""

import contextlib
import importlib.util
import io
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from rnneval.cli.main import run

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORDS = DOCS / "records"
ELSEWHERE = {"tutorial", "gate", "index", "contributing", "security", "changelog"}
LONG = {"builders", "callbacks", "inside", "sweep", "wiring"}  # these run with the marker grid
GUIDES = sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in ELSEWHERE)
LETTERS = " !ABCDEFGHIJ"
TRAIN = """
import tensorflow as tf

text = open("shakespeare.txt", encoding="utf-8").read()
vocab = sorted(set(text))
ids_from_chars = tf.keras.layers.StringLookup(vocabulary=list(vocab), mask_token=None)
vocab_size = len(ids_from_chars.get_vocabulary())
embedding_dim, rnn_units = 4, 6


class MyModel(tf.keras.Model):
    def __init__(self, vocab_size, embedding_dim, rnn_units):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = tf.keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = tf.keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(inputs)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


model = MyModel(vocab_size=vocab_size, embedding_dim=embedding_dim, rnn_units=rnn_units)
model.fit(None)  # rnneval leaves this out
"""
SMALLER = {"embedding_dim=256": "embedding_dim=4", "rnn_units=1024": "rnn_units=6"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A folder with a saved model, its text and vocabulary, the tutorial's script and weights, and records."""
    import keras

    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list(LETTERS), 40_000))
    for name in ("held_out.txt", "text.txt", "train.txt"):
        (folder / name).write_text(text if name != "train.txt" else text[::-1], encoding="utf-8")
    letters = [chr(code) for code in range(32, 32 + 65)]  # as many as the tutorial has
    (folder / "shakespeare.txt").write_text("".join(letters) + "".join(rng.choice(letters, 4_000)), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps(list(LETTERS)), encoding="utf-8")
    (folder / "train.py").write_text(TRAIN, encoding="utf-8")
    layers = [keras.layers.Embedding(12, 3), keras.layers.GRU(4, return_sequences=True), keras.layers.Dense(12)]
    keras.Sequential([keras.Input((None,), dtype="int32"), *layers]).save(folder / "model.keras")
    spec = importlib.util.spec_from_loader("tutorial_script", loader=None)
    names = dict(vars(importlib.util.module_from_spec(spec)))
    with contextlib.chdir(folder):
        exec(TRAIN.replace("model.fit(None)", "model(tf.constant([[1]]))"), names)  # noqa: S102 - written above
    (folder / "training_checkpoints").mkdir()
    for epoch in (9, 10):
        names["model"].save_weights(folder / "training_checkpoints" / f"ckpt_{epoch}.weights.h5")
    for record in RECORDS.iterdir():
        copy = shutil.copytree if record.is_dir() else shutil.copy
        copy(record, folder / record.name)
    shutil.copy(RECORDS / "run.json", folder / "other.json")
    with contextlib.chdir(folder):
        assert run(["evaluate", "model.keras", "held_out.txt", "--no-check", "--losses", "losses.parquet", "-q"]) == 0
    return folder


def commands(stem):
    """Yield the commands of a page, a line each."""
    text = (DOCS / f"{stem}.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from (line for line in block.replace("\\\n", " ").splitlines() if line.strip())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # of train.py
@pytest.mark.parametrize(
    "stem",
    [pytest.param(stem, marks=pytest.mark.grid if stem in LONG else ()) for stem in GUIDES if any(commands(stem))],
)
def test_the_commands_of_a_guide_run_in_their_order(stem, shelf, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    shutil.copytree(shelf, folder)
    monkeypatch.chdir(folder)
    for line in commands(stem):
        words = shlex.split(line, comments=True)
        assert words[0] == "rnneval", line
        words = [SMALLER.get(word, word) for word in words[1:]]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = run(words)
        expected = {0, 1, 3} if words[0] in {"check", "gate", "compare"} else {0}
        assert code in expected, f"{line}\n{said.getvalue()}"
