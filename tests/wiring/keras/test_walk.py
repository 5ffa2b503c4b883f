"""The walk against the ops themselves: where the labels end up, there the numbers must be."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnneval.wiring.facts import StateSource
from rnneval.wiring.keras.emissions import Emissions
from rnneval.wiring.keras.probe import listening
from rnneval.wiring.keras.provenance import Trail, Walk

SHAPE = (2, 3, 4)
MOVES = {
    "identity": tf.identity,
    "reshape": lambda x, _: tf.reshape(x, [-1, 4]),
    "squeeze": lambda x, _: tf.squeeze(x[:, :1], 1),
    "squeeze all": lambda x, _: tf.squeeze(x[:1, :1]),
    "expand": lambda x, _: tf.expand_dims(x, -1),
    "stack": lambda x, y: tf.stack([x, y], axis=1),
    "unstack": lambda x, _: tf.unstack(x, axis=1)[2],
    "concat": lambda x, y: tf.concat([x, y], axis=-1),
    "split": lambda x, _: tf.split(x, 2, axis=-1)[1],
    "split in sizes": lambda x, _: tf.split(x, [1, -1], axis=2)[1],
    "slice": lambda x, _: tf.slice(x, [0, 1, 1], [2, -1, 2]),
    "strided": lambda x, _: x[:, ::2, 1:],
    "backwards": lambda x, _: x[..., ::-1],
    "last": lambda x, _: x[:, -1],
    "new axis": lambda x, _: x[:, tf.newaxis, ..., 0],
    "transpose": lambda x, _: tf.transpose(x, [2, 0, 1]),
    "gather": lambda x, _: tf.gather(x, [2, 0, 0], axis=1),
    "gather in batches": lambda x, _: tf.gather(x, [[0, 2], [1, 1]], axis=1, batch_dims=1),
    "gather by places": lambda x, _: tf.gather_nd(x, [[0, 1], [1, 2]]),
    "tile": lambda x, _: tf.tile(x, [1, 2, 1]),
    "repeat": lambda x, _: tf.repeat(x, 2, axis=0),
    "reverse": lambda x, _: tf.reverse(x, [0, 2]),
    "roll": lambda x, _: tf.roll(x, [1, 2], [0, 2]),
    "broadcast": lambda x, _: tf.broadcast_to(x[:, :1], SHAPE),
    "pad": lambda x, _: tf.pad(x, [[0, 0], [1, 0], [0, 2]]),
    "scatter": lambda x, y: tf.tensor_scatter_nd_update(x, [[0, 1]], y[:1, 2]),
    "keras take": lambda x, _: keras.ops.take(x, [1, 0], axis=0),
    "keras swap": lambda x, _: keras.ops.swapaxes(x, 0, 1),
    "through a variable": lambda x, _: tf.Variable(x).read_value(),
    "through NumPy": lambda x, _: tf.constant(x.numpy()[::-1]),
}


def walked(function):
    """Run a function of two emitted tensors, and give its output with what the walk says of it."""
    emissions = Emissions(seed=5)
    walk, given = Walk(emissions), []
    for event in range(2):
        labels, values = emissions.draw(StateSource(event, 0), SHAPE)
        given.append(tf.constant(values))
        walk.set_trail(given[-1], Trail(planes=(labels,), origins=frozenset({event})))
    with listening(walk.hear):
        output = function(*given) if function is not tf.identity else function(given[0])
    values = np.concatenate([tensor.numpy().ravel() for tensor in given])
    return output.numpy(), walk.trail(output), values, walk


@pytest.mark.parametrize("name", MOVES)
def test_labels_are_where_the_numbers_are(name):
    output, trail, emitted, _ = walked(MOVES[name])
    (labels,) = trail.planes
    assert labels.shape == output.shape
    np.testing.assert_array_equal(np.where(labels >= 0, emitted[labels], 0), output)


def added_to_a_variable(x, y):
    variable = tf.Variable(x)
    variable.assign_add(y)
    return variable.read_value()


@pytest.mark.parametrize("function", [lambda x, y: 0.5 * x + tf.tanh(y), added_to_a_variable])
def test_arithmetic_keeps_places_and_says_that_it_changed_the_numbers(function):
    _, trail, _, walk = walked(function)
    assert trail.transformed
    assert [plane.min() for plane in trail.planes] == [0, 24]
    assert walk.sources(trail) == {StateSource(0, 0), StateSource(1, 0)}


@pytest.mark.parametrize(
    "function",
    [
        lambda x, _: tf.zeros_like(x),
        lambda x, _: tf.zeros(tf.shape(x)),
        lambda x, _: tf.one_hot(tf.argmax(x, -1), 4),
        lambda x, _: tf.cast(x > 0, tf.float32),
    ],
    ids=["zeros like", "its shape", "a sampled token", "a comparison"],
)
def test_what_is_made_of_shapes_and_whole_numbers_holds_no_state(function):
    _, trail, _, _ = walked(function)
    assert not trail.recurrent


def test_noise_is_seen_where_it_meets_a_state():
    _, trail, _, _ = walked(lambda x, _: x + 0.1 * tf.random.normal(tf.shape(x)))
    assert trail.noisy
    assert not walked(lambda x, y: x + y)[1].noisy
