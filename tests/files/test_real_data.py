"""A trained model on real text: one number through every format and both contracts, that of a float64 loop."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnneval import records
from rnneval.cli.main import run
from tests.oracles import stack_of
from tests.shelf import BUILDER, code_of

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def trained(data_folder, tmp_path_factory):
    """A GRU of 32 units after one pass over the first nine tenths of tinyshakespeare, saved in every format."""
    folder = tmp_path_factory.mktemp("trained")
    path = data_folder / "tinyshakespeare.txt"
    text = path.read_text(encoding="utf-8")
    letters = sorted(set(text))
    (folder / "model.py").write_text(BUILDER)
    (folder / "vocab.json").write_text(json.dumps(letters))
    ids = np.array([letters.index(c) for c in text], np.int32)
    code = code_of(folder / "model.py")
    keras.utils.set_random_seed(0)
    model = code.MyModel(len(letters), rnn_units=32)
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rows = len(ids) * 9 // 10 // 101
    chunks = ids[: rows * 101].reshape(rows, 101)
    model.fit(chunks[:, :-1], chunks[:, 1:], batch_size=64, epochs=1, verbose=0)
    model.save_weights(folder / "m.weights.h5")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(folder / "ckpt" / "c")
    flat = code.flat(len(letters), 32)
    flat(chunks[:1, :-1])
    flat.set_weights(model.get_weights())
    flat.save(folder / "flat.keras")
    flat.save(folder / "flat.h5")
    held_out = ids[len(ids) * 9 // 10 :]
    return folder, path, stack_of(model.embedding, [model.gru], model.dense).losses(held_out)


@pytest.mark.parametrize("name", ["flat.keras", "flat.h5", "m.weights.h5", "ckpt"])
def test_the_held_out_tenth_of_tinyshakespeare(trained, tmp_path, capsys, name):
    folder, text, losses = trained
    builder = (
        [] if name.startswith("flat") else ["--builder", f"{folder}/model.py:MyModel", "--builder-arg", "rnn_units=32"]
    )
    out = tmp_path / "run.json"
    assert run(["evaluate", f"{folder}/{name}", str(text), "--part", "90%:", "--out", str(out), *builder]) == 0
    found = records.read(out)
    assert (found.text.characters, found.tokens.scored, len(losses)) == (111_540, 111_539, 111_539)
    assert found.total_nats == pytest.approx(losses.sum(), rel=1e-6)
    assert abs(found.total_nats - losses.sum()) / len(losses) < 1e-6
    assert found.scores["cross_entropy"].value < 2.5  # uniform: ln 65 = 4.17
    capsys.readouterr()
