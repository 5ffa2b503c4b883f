"""The tutorial's script with real weights: opened on the command line; nothing is written."""

import hashlib
import json
import re

import numpy as np
import pytest

from rnneval.checkpoints.usercode.builder import run_slice
from rnneval.checkpoints.usercode.plan import plan
from rnneval.cli.main import run
from tests.usercode.scripts import NOTEBOOK, SCRIPT

TEXT = "to be or not to be, that is the question\n" * 20
SIZE = len(set(TEXT)) + 1  # StringLookup's [UNK]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a user who ran the tutorial: script, notebook, text and the weights that the model had."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "t.ipynb").write_text(NOTEBOOK)
    (folder / "text.txt").write_text(TEXT)
    model = run_slice(plan(f"{folder / 'train.py'}:MyModel")).MyModel(SIZE, 5, 6)
    model(np.zeros((1, 3), "int32"))
    (folder / "training_checkpoints").mkdir()
    for epoch in (1, 2):
        model.save_weights(folder / "training_checkpoints" / f"ckpt_{epoch}.weights.h5")
    return folder


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def command(trained, verb, *more):
    weights = trained / "training_checkpoints" / "ckpt_2.weights.h5"
    sizes = ["--builder-arg", "embedding_dim=5", "--builder-arg", "rnn_units=6"]
    return [verb, str(weights), *more, "--builder", f"{trained / 'train.py'}:MyModel", *sizes]


def test_the_script_on_the_command_line(trained, capsys, monkeypatch):
    before, text = contents(trained), str(trained / "text.txt")
    opening = [*command(trained, "evaluate", text), "--vocab-from", text, "--builder-arg", f"vocab_size={SIZE - 1}"]
    monkeypatch.setattr("sys.argv", ["rnneval", *opening])
    # The vocabulary of the text has one token less than the weights.
    assert run(opening) == 2
    said = capsys.readouterr().err
    assert f"the model has {SIZE - 1} ids and the file {SIZE}" in said
    assert "one id more than it has tokens, most likely [UNK]" in said
    assert f"give the builder {SIZE} in place of {SIZE - 1}, --builder-arg vocab_size={SIZE}" in said
    # The same command works with the option that is proposed.
    assert run([*opening[:-1], f"vocab_size={SIZE}", "--no-check", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["tokens"]["scored"] == len(TEXT) - 1
    assert 0.5 < record["scores"]["perplexity"]["value"] / SIZE < 2  # untrained: about as good as guessing
    assert run([*command(trained, "open"), "--vocab-from", text, "--builder-arg", f"vocab_size={SIZE}"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    class_line = SCRIPT.splitlines().index("class MyModel(tf.keras.Model):") + 1
    assert re.search(rf"were run, which MyModel needs: lines 1, {class_line}-\d+", shown)
    assert contents(trained) == before
