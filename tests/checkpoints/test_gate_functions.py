"""Weights alone of Keras 2 hold no gate function: the one that the builder chooses, and warnings where it changed."""

from itertools import pairwise

import h5py
import numpy as np
import pytest

import rnneval
from tests.checkpoints.by_hand import dense, embedding, recurrent, sequential, weights_of, write
from tests.oracles import sigmoid

LETTERS = "abcdefg"
TEXT = "abacabadabacabaeabfgbacab" * 8
BUILDER = """
import keras
from rnneval.models.keras import keras2_hard_sigmoid

def build(vocab_size=7):
    layers = keras.layers
    lstm = layers.{kind}(4, return_sequences=True, name='lstm', {argument})
    return keras.Sequential([layers.Embedding(vocab_size, 5), lstm, layers.Dense(vocab_size)])
"""
ARGUMENTS = {
    "default": "",
    "Keras 3's": "recurrent_activation='hard_sigmoid'",
    "Keras 2's": "recurrent_activation=keras2_hard_sigmoid",
}
GATES = {
    "default": sigmoid,
    "Keras 3's": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "Keras 2's": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}


def builder(folder, argument, kind="LSTM"):
    path = folder / "train.py"
    path.write_text(BUILDER.format(argument=argument, kind=kind))
    return f"{path}:build"


def saved(folder, kind="LSTM", version="2.2.4", **options):
    """A file of weights alone, as that version of Keras wrote it, and its arrays."""
    weights = weights_of(sequential(embedding(), recurrent(kind, "rnn", 4, **options), dense()))
    path = write(folder / "weights.h5", None, weights)
    if version:
        with h5py.File(path, "r+") as file:
            file.attrs["keras_version"] = version.encode()
    return path, [value.astype(np.float64) for _, arrays in weights for _, value in arrays]


def total_nats(arrays, gate):
    """The loss of an LSTM over TEXT, token by token."""
    table, kernel, recurrent_kernel, bias, out, shift = arrays
    h, c, total = np.zeros(4), np.zeros(4), 0.0
    ids = [LETTERS.index(letter) for letter in TEXT]
    for token, target in pairwise(ids):
        i, f, candidate, o = np.split(table[token] @ kernel + h @ recurrent_kernel + bias, 4)
        c = gate(f) * c + gate(i) * np.tanh(candidate)
        h = gate(o) * np.tanh(c)
        logits = h @ out + shift
        total += np.log(np.exp(logits).sum()) - logits[target]
    return total


def warned(record):
    return [warning.message for warning in record.warnings if warning.code == "gate-function"]


@pytest.mark.parametrize("choice", ARGUMENTS)
def test_the_loss_is_that_of_the_function_that_the_builder_chose(tmp_path, choice):
    path, arrays = saved(tmp_path)
    lm = rnneval.open(path, builder=builder(tmp_path, ARGUMENTS[choice]), vocabulary=list(LETTERS))
    found = rnneval.evaluate(lm, string=TEXT, check=False)
    assert found.total_nats == pytest.approx(total_nats(arrays, GATES[choice]), rel=1e-6)
    totals = [total_nats(arrays, gate) for gate in GATES.values()]
    assert np.diff(sorted(totals)).min() > 1e-4 * max(totals)  # a hundred times what is allowed above
    assert len(warned(found)) == (choice != "Keras 2's")


@pytest.mark.sampled(7)
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize(
    ("version", "of_default", "of_hard"),
    [("", 1, 1), ("2.0.8", 1, 1), ("2.1.6-tf", 1, 1), ("2.2.4-tf", 1, 1), ("2.3.1", 0, 1), ("2.3.0-tf", 0, 1)],
)
def test_the_default_was_another_before_keras_2_3(tmp_path, kind, version, of_default, of_hard):
    path, _ = saved(tmp_path, kind, version)
    for choice, expected in (("default", of_default), ("Keras 3's", of_hard)):
        lm = rnneval.open(path, builder=builder(tmp_path, ARGUMENTS[choice], kind))
        assert len(warned(lm)) == expected, (choice, warned(lm))
