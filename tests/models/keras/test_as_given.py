"""A Keras model and its class, given to the functions as they are."""

import keras
import pytest

import rnneval
from rnneval.errors import CheckpointError
from tests.models.keras.zoo import WIDTH, sequential

TOKENS = [*"abcdefghijklmnopqrstuvwxyz"[:WIDTH]]
TEXT = "".join(TOKENS) * 60


def test_a_model_is_wrapped():
    model = sequential("GRU")
    options = {"string": TEXT, "check": False, "states": False}
    run = rnneval.evaluate(model, vocabulary=TOKENS, **options)
    assert run.total_nats == rnneval.evaluate(rnneval.wrap(model, vocabulary=TOKENS), **options).total_nats
    shown = repr(rnneval.wrap(model))
    assert shown.splitlines()[1].startswith("  layers: ")
    assert shown.splitlines()[2] == "  vocabulary: none: give vocabulary=…>"


def test_a_transformer_is_called_one():
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(WIDTH, 4)(ids)
    x = keras.layers.MultiHeadAttention(1, 4)(x, x, use_causal_mask=True)
    model = keras.Model(ids, keras.layers.Dense(WIDTH)(x))
    with pytest.raises(CheckpointError, match=r"is a Transformer .*: use lm-evaluation-harness"):
        rnneval.wrap(model)
    wiring = rnneval.check(model)
    assert wiring.verdict == "inconclusive"
    assert "is a Transformer" in wiring.reason
