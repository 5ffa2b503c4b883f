"""The tutorial's files with real weights: opened by script, by notebook and by a sweep's worker; nothing is written."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

import rnneval
from rnneval.checkpoints.usercode.builder import run_slice
from rnneval.checkpoints.usercode.plan import plan
from rnneval.cli.main import run
from rnneval.errors import CheckpointError
from tests.usercode.tutorial import NOTEBOOK, SCRIPT

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
    assert f"(({SIZE}, 5) in the file and ({SIZE - 1}, 5) in the model" in said.replace("is (", "((")
    assert f"the model has {SIZE - 1} ids and the file {SIZE}, one id more" in said
    assert "[UNK]" in said
    assert f"with --builder-arg vocab_size={SIZE} every weight of the file fits" in said
    # The same command works with the option that is proposed.
    assert run([*opening[:-1], f"vocab_size={SIZE}", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["tokens"]["scored"] == len(TEXT) - 1
    assert 0.5 < record["scores"]["perplexity"]["value"] / SIZE < 2  # untrained: about as good as guessing
    assert run([*command(trained, "open"), "--vocab-from", text, "--builder-arg", f"vocab_size={SIZE}"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    class_line = SCRIPT.splitlines().index("class MyModel(tf.keras.Model):") + 1
    assert re.search(rf"were run, which MyModel needs: lines 1, {class_line}-\d+", shown)
    assert contents(trained) == before


MADE = """
from pathlib import Path
import tensorflow as tf
text = Path("text.txt").read_text()
ids_from_chars = tf.keras.layers.StringLookup(vocabulary=sorted(set(text)))
chars_from_ids = tf.keras.layers.StringLookup(vocabulary=ids_from_chars.get_vocabulary(), invert=True)
"""


def test_the_lookup_layer_of_the_script_is_the_vocabulary(trained, tmp_path, monkeypatch, capsys):
    """It is made on the way to the model: no option names a vocabulary."""
    start = SCRIPT.index("class MyModel")
    body = SCRIPT[start : SCRIPT.index("\n\n\n", start)]
    size = "len(ids_from_chars.get_vocabulary())"
    (trained / "made.py").write_text(f"{MADE}\n{body}\n\n\nmodel = MyModel({size}, 5, 6)\n")
    weights = trained / "training_checkpoints" / "ckpt_2.weights.h5"
    monkeypatch.chdir(trained)
    lm = rnneval.open(weights, builder="made.py:model")
    assert lm.vocabulary.source == "StringLookup ids_from_chars of the builder's code"
    assert lm.vocabulary.tokens == ("[UNK]", *sorted(set(TEXT)))
    run = rnneval.evaluate(lm, string="to Zee", unknown="[UNK]", check=False, states=False)
    assert (run.tokens.scored, run.tokens.unknown) == (5, 1)
    # A path in the code is read as the code says it: from the current folder.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"text\.txt.* \(.*made\.py:4\): .*current folder.*cd .*builder_globals"):
        rnneval.open(weights, builder=f"{trained / 'made.py'}:model")


def test_the_notebook_in_python(trained):
    before = contents(trained)
    weights = trained / "training_checkpoints" / "ckpt_2.weights.h5"
    options = {"builder": f"{trained / 't.ipynb'}:model", "vocabulary_from": trained / "text.txt"}
    lm = rnneval.open(weights, **options, builder_globals={"vocab_size": SIZE})
    assert any("cell 2 (4), cell 6 (" in said for said in lm.assumptions)
    other = rnneval.open(weights, **options, builder_globals=[f"vocab_size={SIZE}"])
    assert other.model is not lm.model
    script = rnneval.open(
        weights,
        builder=f"{trained / 'train.py'}:MyModel",
        builder_arguments={"vocab_size": SIZE, "embedding_dim": 5, "rnn_units": 6},
    )
    ids = np.arange(2 * 5).reshape(2, 5) % SIZE
    logits, _ = lm.step(ids, lm.initial_state(2))
    np.testing.assert_array_equal(logits, script.step(ids, script.initial_state(2))[0])
    # A size that a global decides, off by one.
    with pytest.raises(
        CheckpointError, match=rf"with builder_globals={{'vocab_size': {SIZE}}} every weight of the file fits"
    ):
        rnneval.open(weights, **options, builder_globals={"vocab_size": SIZE - 1})
    # Another difference in size is no matter of special tokens.
    with pytest.raises(CheckpointError, match="check the builder's sizes"):
        rnneval.open(weights, **options, builder_globals={"vocab_size": SIZE, "rnn_units": 7})
    with pytest.raises(CheckpointError, match=r"model is a model that is made already, and takes no rnn_units"):
        rnneval.open(weights, **options, builder_globals={"vocab_size": SIZE}, builder_arguments={"rnn_units": 6})
    with pytest.raises(CheckpointError, match=r"t\.ipynb, cell 4, line 2 downloads shakespeare\.txt"):
        rnneval.open(weights, **options)
    assert contents(trained) == before


def test_the_worker_of_a_sweep(trained, tmp_path, monkeypatch):
    from rnneval.evaluate.reopening import Opening, file_hashes, require_same_files

    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    before = contents(tmp_path / "copy")
    opening = Opening(builder="t.ipynb:model", builder_globals=(f"vocab_size={SIZE}",), vocabulary_from="text.txt")
    notebook = str(tmp_path / "copy" / "t.ipynb")
    assert opening.files[0] == notebook
    hashes = file_hashes(opening.files)
    plain = json.loads(json.dumps(opening.plain()))
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "copy" / "training_checkpoints" / "ckpt_1.weights.h5"
    lm = Opening(**plain).open(str(weights), hashlib.sha256(weights.read_bytes()).hexdigest())
    assert lm.width == SIZE
    require_same_files(hashes)
    assert contents(tmp_path / "copy") == before
