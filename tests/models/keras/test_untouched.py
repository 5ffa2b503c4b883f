"""Nothing is left behind on the user's model, whatever happened to it."""

import json

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError
from tests.models.keras.driving import IDS
from tests.models.keras.zoo import WIDTH, Body, dialect, settled

L = keras.layers


def soft():
    """Layers of every kind, one of them stateful, and a softmax."""
    layers = [L.GRU(3, return_sequences=True), L.LSTM(3, return_sequences=True), L.SimpleRNN(2, return_sequences=True)]
    model = keras.Sequential([L.Embedding(WIDTH, 4), *layers, L.Dense(WIDTH, activation="softmax")])
    return settled(model)


def subclassed():
    return settled(dialect()("LSTM", (3, 2)))


def portrait(model):
    """Everything that could have been changed: numbers, configurations, own attributes and methods."""
    layers = model._flatten_layers()
    return {
        "output": model(IDS).numpy().tolist(),
        "config": [json.dumps(layer.get_config(), default=str) for layer in layers if layer is not model],
        "weights": [w.tolist() for w in model.get_weights()],
        "own": [sorted(vars(layer)) for layer in layers],
        "methods": [[str(vars(layer).get(name)) for name in ("call", "inner_loop", "activation")] for layer in layers],
        "trainable": [layer.trainable for layer in layers],
    }


@pytest.mark.parametrize("make", [soft, subclassed])
def test_after_wrapping_stepping_and_evaluating(make, tmp_path):
    model = make()
    before = portrait(model)
    lm = rnneval.wrap(model, vocabulary=rnneval.text.Vocabulary.from_tokens(list("abcdefg")))
    lm.step(IDS, lm.initial_state(2))
    text = tmp_path / "text.txt"
    text.write_text("gabcabcdefgabc")
    rnneval.evaluate(lm, text, check=make is subclassed)  # the check of the wiring hooks into the layers too
    assert portrait(model) == before


@pytest.mark.parametrize(
    ("number", "said"), [(np.nan, r"has 2 NaN"), (np.inf, r"has 2 infinite"), (-np.inf, r"has 2 infinite")]
)
def test_weights_that_are_not_finite_are_named_and_counted(number, said):
    model = settled(dialect(base=Body)("GRU", (3,)))
    kernel = model.recurrent[0].cell.kernel
    values = kernel.numpy()
    values[0, :2] = number
    kernel.assign(values)
    with pytest.raises(CheckpointError, match=rf"weight .*gru.*/kernel {said}: the training diverged"):
        rnneval.wrap(model)
