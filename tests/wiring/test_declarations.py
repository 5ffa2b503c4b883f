"""What a declaration may name: both directions of a Bidirectional by its name, and no layer where none is shown."""

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import UsageError


def test_a_bidirectional_is_declared_by_its_own_name():
    layers = keras.layers
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(8, 4), both, layers.Dense(8)])
    apart = ["causal=false", "stateless=both.forward_layer", "stateless=both.backward_layer"]
    assert rnneval.check(model, declare=["causal=false"]).verdict == "inconclusive"
    assert rnneval.check(model, declare=["causal=false", "stateless=both"]).verdict == "pass"
    assert rnneval.check(model, declare=apart).verdict == "pass"
    with pytest.raises(UsageError, match="has no layer bot;"):
        rnneval.check(model, declare="stateless=bot")


def test_a_step_function_shows_no_layer_that_could_be_declared():
    lm = rnneval.from_step(
        lambda ids, state: (np.eye(5)[ids] + state[:, None], state + 1), lambda b: np.zeros((b, 5)), vocab_size=5
    )
    with pytest.raises(UsageError, match="no layer rnn; it shows none: allowed are causal=false, chunked=true"):
        rnneval.check(lm, declare="shared=rnn")
