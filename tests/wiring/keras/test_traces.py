"""A model whose `call`, or a part of it, is a `tf.function`: called as it is, and run eagerly."""

import inspect
import linecache

import keras
import pytest
import tensorflow as tf

from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.wiring.facts import Trace
from rnneval.wiring.keras.subject import make_ready
from rnneval.wiring.keras.traces import compare_calls

layers = keras.layers
V, E, U = 11, 6, 8


class OneGRU(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding, self.dense = layers.Embedding(V, E), layers.Dense(V)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)


class Flag(OneGRU):
    """Keeps its state in a variable, and knows by a Python flag whether one is there."""

    def __init__(self):
        super().__init__()
        self.kept = self.add_weight(shape=(2, U), initializer="zeros", trainable=False)
        self.started = False

    def call(self, ids):
        state = self.kept.value if self.started else tf.zeros((2, U))
        self.started = True
        x, state = self.gru(self.embedding(ids), initial_state=state)
        self.kept.assign(state)
        return self.dense(x)


class FlagInTrace(Flag):
    @tf.function
    def call(self, ids):
        return super().call(ids)


class FlagInVariable(Flag):
    def __init__(self):
        super().__init__()
        self.begun = tf.Variable(0.0, trainable=False)

    @tf.function
    def call(self, ids):
        x, state = self.gru(self.embedding(ids), initial_state=self.begun * self.kept.value)
        self.begun.assign(1.0)
        self.kept.assign(state)
        return self.dense(x)


class Served:
    """A service that compiles the model which it holds."""

    def __init__(self):
        self.net = Flag()
        self.run = tf.function(self.net)

    def __call__(self, ids):
        return self.run(ids)


class CountsTraces(OneGRU):
    """The counter is read by nothing, and dropout is off."""

    def __init__(self):
        super().__init__()
        self.traces, self.dropout = 0, layers.Dropout(0.5)

    @tf.function(reduce_retracing=True)
    def call(self, ids, state=None, training=False):
        self.traces += 1
        x, state = self.gru(self.dropout(self.embedding(ids), training=training), initial_state=state)
        return self.dense(x), state


class AlwaysDrops(CountsTraces):
    @tf.function
    def call(self, ids, state=None):
        return super().call(ids, state, training=True)


def compared(model):
    with eagerly():
        return compare_calls(make_ready(model, None), 0, Trace())


@pytest.mark.parametrize(
    ("build", "call", "attribute", "code"),
    [
        (FlagInTrace, 1, "started", "@tf.function"),
        (Served, 1, "net.started", "return self.run(ids)"),
    ],
)
def test_what_python_reads_in_a_trace_is_found_and_named(build, call, attribute, code):
    trace = compared(build())
    ((seen, spot),) = trace.frozen
    assert f"from call {call} on" in seen
    assert seen.endswith(f"Python values that change between calls: {attribute}")
    assert spot.file == inspect.getsourcefile(Flag)
    assert code in linecache.getline(spot.file, spot.line)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "build",
    [FlagInVariable, CountsTraces, AlwaysDrops],
    ids=["flag in a variable", "counter of traces", "random numbers"],
)
def test_nothing_is_said_of_a_right_function_and_where_equal_calls_differ(build):
    assert compared(build()) == Trace()


def test_a_frozen_flag_fails_the_check():
    wiring = check(FlagInTrace())
    assert (wiring.verdict, wiring.reason) == ("fail", "frozen-trace")
    (finding,) = wiring.findings
    assert "Called as it is, with a tf.function (call)" in finding.message
    assert "Keep what changes between calls in a `tf.Variable`" in finding.help
