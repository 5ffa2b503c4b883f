"""A subclassed model without an Embedding, which reads one-hot rows: only weights of it exist, and a builder."""

import json

import keras
import numpy as np
import pytest

import rnneval
from tests.oracles import stack_of
from tests.shelf import code_of

LETTERS = "\n abcde"
CODE = """
import keras

class Rows(keras.Model):
    def __init__(self, vocab_size=7, units=4):
        super().__init__()
        self.lstm = keras.layers.LSTM(units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, rows, states=None, return_state=False, training=False):
        x, *states = self.lstm(rows, initial_state=states, training=training)
        x = self.dense(x)
        return (x, states) if return_state else x

class Doorless(Rows):
    def call(self, rows):
        return self.dense(self.lstm(rows)[0])
"""


@pytest.fixture(params=["Rows", "Doorless"])
def saved(request, tmp_path):
    """Give the builder, and the losses of its weights by the float64 loop, one row of the identity for each id."""
    (tmp_path / "code.py").write_text(CODE)
    model = getattr(code_of(tmp_path / "code.py"), request.param)()
    model(np.zeros((1, 2, 7), "float32"))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(0, 0.6, w.shape) for w in model.get_weights()])
    model.save_weights(tmp_path / "rows.weights.h5")
    identity = keras.layers.Embedding(7, 7)
    identity.build()
    identity.set_weights([np.eye(7)])
    text = "".join(LETTERS[k] for k in rng.integers(0, 7, 150))
    (tmp_path / "text.txt").write_text(text, newline="")
    total = stack_of(identity, [model.lstm], model.dense).losses([LETTERS.index(letter) for letter in text]).sum()
    return f"{tmp_path / 'code.py'}:{request.param}", tmp_path, float(total)


def test_one_hot_rows_of_a_subclassed_model(saved):
    builder, folder, total = saved
    (folder / "letters.json").write_text(json.dumps(list(LETTERS)))
    lm = rnneval.open(folder / "rows.weights.h5", builder=builder, vocabulary=folder / "letters.json")
    assert lm.input_kind == "one-hot"
    run = rnneval.evaluate(lm, folder / "text.txt", check=False, states=False)
    assert run.total_nats == pytest.approx(total, rel=1e-6)
