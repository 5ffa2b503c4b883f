"""Weights that are moved for the calls of one reading: they move its answer, and are put back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.errors import CheckpointError


class Refusing(keras.Model):
    """One GRU that raises when it reads a token above its limit."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(6, 4)
        self.gru = keras.layers.GRU(8, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(6)
        self.limit = tf.Variable(6)

    def call(self, ids, states=None, return_state=False):
        tf.debugging.assert_less(ids, self.limit)
        x, states = self.gru(self.embedding(ids), initial_state=states)
        return (self.dense(x), states) if return_state else self.dense(x)


@pytest.fixture
def lm():
    keras.utils.set_random_seed(0)
    return rnneval.wrap(Refusing(), vocabulary=list("abcdef"))


def weights(lm):
    return [each.numpy() for each in lm.model.weights]


def test_the_answer_moves_and_the_weights_do_not(lm):
    ids, before = np.array([[0, 1, 2, 3]], np.int32), weights(lm)
    plain = lm.stepper()(ids, lm.initial_state(1)).logits.numpy()
    for draw in (1, 2):
        call = lm.weights_moved(draw).stepper()
        moved = [call(ids, lm.initial_state(1)).logits.numpy() for _ in range(2)]
        assert 0 < np.abs(moved[0] - plain).max() < 1e-5
        np.testing.assert_array_equal(*moved)
        for was, now in zip(before, weights(lm), strict=True):
            np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(lm.stepper()(ids, lm.initial_state(1)).logits.numpy(), plain)


def test_a_call_that_raises_leaves_the_weights(lm):
    before = weights(lm)
    lm.model.limit.assign(5)
    with pytest.raises(CheckpointError, match="run as a graph on ids of shape"):
        lm.in_dtype("bfloat16").stepper()(np.array([[0, 5]], np.int32), lm.initial_state(1))
    for was, now in zip(before, weights(lm), strict=True):
        np.testing.assert_array_equal(was, now)
