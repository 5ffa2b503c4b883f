"""States at every step: what the layer itself gives step by step, whatever the layer; outputs are not changed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnneval.models.keras.layers import RecurrentUnit, recurrent_units
from rnneval.models.keras.state_tap import trajectories_of

X = np.random.default_rng(0).normal(size=(3, 7, 4)).astype("f4")


def unit_of(layer):
    layer(X)
    return RecurrentUnit(layer=layer, path="layer", name="layer")


def step_by_step(layer, mask=None):
    """States after each step, by calling the layer on one step after the other."""
    state, found = layer.get_initial_state(3), []
    for t in range(X.shape[1]):
        part = None if mask is None else tf.constant(mask[:, t : t + 1])
        _, *state = layer(X[:, t : t + 1], initial_state=state, mask=part)
        found.append([np.asarray(leaf) for leaf in keras.tree.flatten(state)])
    return [np.stack(parts, axis=1) for parts in zip(*found, strict=True)]


LAYERS = {
    "LSTM": lambda: keras.layers.LSTM(5, return_sequences=True, return_state=True),
    "unrolled": lambda: keras.layers.LSTM(5, return_sequences=True, return_state=True, unroll=True),
    "stacked cells": lambda: keras.layers.RNN(
        [keras.layers.LSTMCell(4), keras.layers.GRUCell(3)], return_sequences=True, return_state=True
    ),
}


@pytest.mark.parametrize(("kind", "nudged"), [("LSTM", True), ("unrolled", False), ("stacked cells", True)])
def test_states_are_those_of_single_steps_and_outputs_stay(kind, nudged):
    layer = LAYERS[kind]()
    unit = unit_of(layer)
    plain = layer(X)
    width = sum(int(np.prod(np.shape(leaf)[1:])) for leaf in keras.tree.flatten(plain[1:]))
    nudges = {unit: tf.zeros([3, 7, width])} if nudged else None
    with trajectories_of([unit], nudges) as seen:
        watched = layer(X)
    for a, b in zip(keras.tree.flatten(plain), keras.tree.flatten(watched), strict=True):
        np.testing.assert_array_equal(a, b)
    (course,) = seen.by_unit(7).values()
    for state, expected in zip(course.states, step_by_step(layer), strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-6)
    assert "inner_loop" not in vars(layer)


@pytest.mark.parametrize("zero", [False, True])
def test_a_masked_step_leaves_the_state_as_it_was(zero):
    layer = keras.layers.LSTM(5, return_sequences=True, return_state=True, zero_output_for_mask=zero)
    unit = unit_of(layer)
    mask = np.array([[0, 1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 1]], bool)
    plain = layer(X, mask=tf.constant(mask))
    with trajectories_of([unit]) as seen:
        watched = layer(X, mask=tf.constant(mask))
    np.testing.assert_array_equal(plain[0], watched[0])
    (course,) = seen.by_unit(7).values()
    for state, expected in zip(course.states, step_by_step(layer, mask), strict=True):
        np.testing.assert_allclose(state, expected, atol=1e-6)


class ByHand(keras.Model):
    """A cell in a loop of the author's, in Python or in the graph."""

    def __init__(self, *, hidden):
        super().__init__()
        self.cell, self.hidden = keras.layers.GRUCell(5), hidden

    def call(self, x):
        loop = tf.function(self.loop, autograph=False) if self.hidden else self.loop
        return loop(x)

    def loop(self, x):
        state, outputs = [tf.zeros([3, 5])], []
        for t in range(7):
            output, state = self.cell(x[:, t], state)
            outputs.append(output)
        return tf.stack(outputs, axis=1)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_cell_called_by_hand_shows_its_states_unless_its_loop_is_a_graph_of_its_own(hidden):
    model = ByHand(hidden=hidden)
    expected = model(X)
    units = recurrent_units(model)

    @tf.function(autograph=False)
    def run(x):
        with trajectories_of(units) as seen:
            model(x)
        found = {unit.name: course.states[0] for unit, course in seen.by_unit(7).items()}
        missing.update(seen.missing)
        return found

    missing = {}
    found = run(tf.constant(X))
    if hidden:
        assert not found
        assert "tf.function" in missing["cell"]
    else:
        np.testing.assert_allclose(found["cell"], expected, atol=1e-6)
