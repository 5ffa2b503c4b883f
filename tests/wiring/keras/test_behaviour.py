"""Behaviour of Keras models: documents, masks, special ids, half precision. Truth was written first."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnneval.errors import UsageError
from rnneval.evaluate.check import check
from rnneval.models.keras.lm import eagerly
from rnneval.wiring.keras.snapshot import Snapshot
from rnneval.wiring.keras.subject import make_ready
from tests.wiring.corpus import right_cells
from tests.wiring.corpus.case import E, U, V

layers = keras.layers


class OneGRU(keras.Model):
    """Right: one GRU whose state is given back. Its variants change one line each."""

    def __init__(self, *, mask=0.0, ids=(3,), mask_zero=False, dtype=None):
        super().__init__(dtype=dtype)
        self.embedding = layers.Embedding(V, E, mask_zero=mask_zero, dtype=dtype)
        # No orthogonal matrix, which TensorFlow cannot make in bfloat16.
        options = {"recurrent_initializer": "glorot_uniform", "dtype": dtype}
        self.gru = layers.GRU(U, return_sequences=True, return_state=True, **options)
        self.dense = layers.Dense(V, dtype=dtype)
        self.mask = np.zeros(V, np.float32)
        self.mask[list(ids)] = mask

    def begun(self, ids, state):
        """Return ids and the state at the start of a call."""
        return ids, state

    def call(self, ids, state=None):
        ids, state = self.begun(ids, state)
        x, state = self.gru(self.embedding(ids), initial_state=state)
        logits = self.dense(x)
        return logits + tf.cast(self.mask, logits.dtype), state


class ReadsAhead(OneGRU):
    def call(self, ids, state=None):
        x, state = self.gru(self.embedding(ids), initial_state=state)
        return self.dense(x + tf.reduce_mean(x, axis=1, keepdims=True)) + self.mask, state


class ClearedAtZero(OneGRU):
    """Wrong: an id 0 anywhere in a call clears the state at its start."""

    def begun(self, ids, state):
        keep = tf.cast(tf.reduce_all(ids != 0, axis=1, keepdims=True), tf.float32)
        return ids, None if state is None else state * keep


class ResetByRowZero(OneGRU):
    """Wrong: the end of a text in row 0 clears all rows."""

    def begun(self, ids, state):
        return ids, None if state is None else state * tf.cast(tf.reduce_all(ids[0] != 1), tf.float32)


class Scaled(OneGRU):
    def begun(self, ids, state):
        return ids, None if state is None else state * (1 - 1e-4)


class MutableDefault(OneGRU):
    """Wrong: the default is filled in place, so that the next document goes on."""

    def call(self, ids, states=[]):  # noqa: B006 - the fault
        x, state = self.gru(self.embedding(ids), initial_state=states[0] if states else None)
        states[:] = [state]
        return self.dense(x)


class MakesItsMemory:
    """Right: `reset_state` makes a new variable, which holds the state from then on."""

    def __init__(self):
        self.embedding, self.dense = layers.Embedding(V, E), layers.Dense(V)
        self.gru = layers.GRU(U, return_sequences=True, return_state=True)
        self.memory = None

    def reset_state(self):
        self.memory = tf.Variable(tf.zeros((2, U)), trainable=False)

    def __call__(self, ids):
        if self.memory is None:
            self.reset_state()
        x, state = self.gru(self.embedding(ids), initial_state=self.memory + 0.0)
        self.memory.assign(state)
        return self.dense(x)


class Clockwork(keras.Model):
    """The cell moves every second token; its tick restarts in each call (wrong), or goes on in the state (right)."""

    def __init__(self, *, goes_on):
        super().__init__()
        self.embedding, self.cell, self.dense = layers.Embedding(V, E), layers.GRUCell(U), layers.Dense(V)
        self.goes_on = goes_on

    def call(self, ids, state=None):
        h, tick = (tf.zeros((ids.shape[0], U)), tf.constant(0)) if state is None else state
        tick, x, out = tick if self.goes_on else tf.constant(0), self.embedding(ids), []
        for t in range(ids.shape[1]):
            new, _ = self.cell(x[:, t], [h])
            h = tf.where((tick + t) % 2 == 0, new, h)
            out.append(h)
        return self.dense(tf.stack(out, axis=1)), (h, tick + ids.shape[1])


WRONG = {
    "leak behind a mask of −100": (lambda: ReadsAhead(mask=-100), "future-leak"),
    "leak behind −1e9 on half of the ids": (lambda: ReadsAhead(mask=-1e9, ids=range(5)), "future-leak"),
    "state cleared by id 0": (ClearedAtZero, "future-leak"),
    "rows reset by row 0": (ResetByRowZero, "batch-leak"),
    "state × (1 − 1e-4)": (Scaled, "chunk-variance"),
    "mutable default": (MutableDefault, "leftover-state"),
    "clock restarts": (lambda: Clockwork(goes_on=False), "chunk-variance"),
}
RIGHT = {
    "mask of −1e9": lambda: OneGRU(mask=-1e9),
    "mask of −inf": lambda: OneGRU(mask=-np.inf, ids=range(5)),
    "padding": lambda: OneGRU(mask_zero=True),
    "bfloat16": lambda: OneGRU(dtype="bfloat16"),
    "mixed_bfloat16": lambda: OneGRU(dtype="mixed_bfloat16"),
    "float16": lambda: OneGRU(dtype="float16"),
    "reset makes variables": MakesItsMemory,
    "clock goes on": lambda: Clockwork(goes_on=True),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_models_fail_by_the_right_rule(name):
    build, rule = WRONG[name]
    wiring = check(build())
    assert rule in {f.rule for f in wiring.findings if f.severity == "error"}, f"\n{wiring}"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RIGHT)
def test_right_models_pass(name):
    wiring = check(RIGHT[name]())
    assert wiring.verdict == "pass", f"\n{wiring}"


def test_an_attribute_that_came_to_hold_a_variable_is_put_back():
    model = MakesItsMemory()
    model(tf.ones((2, 3), tf.int32))
    snapshot, carried = Snapshot(model), model.memory.numpy()
    model.reset_state()
    snapshot.restore()
    np.testing.assert_array_equal(model.memory.numpy(), carried)
    assert carried.any()


class KeepsItsMemory(MakesItsMemory):
    """Right: the memory is made in the first call, which leaves its last state there; the reset clears it."""

    def reset_state(self):
        if self.memory is not None:
            self.memory.assign(tf.zeros((2, U)))

    def __call__(self, ids):
        x, state = self.gru(self.embedding(ids), initial_state=None if self.memory is None else self.memory + 0.0)
        if self.memory is None:
            self.memory = tf.Variable(state, trainable=False)
        self.memory.assign(state)
        return self.dense(x)


def test_each_reading_begins_where_the_models_own_reset_does():
    with eagerly():
        ready = make_ready(KeepsItsMemory(), None)
        ids = np.full((2, 3), 5, np.int32)
        (first,) = ready.run([ids])
        ready.model.reset_state()
        np.testing.assert_array_equal(first, ready.model(tf.constant(ids)))
    assert check(KeepsItsMemory()).verdict == "pass"


@pytest.mark.filterwarnings("ignore:.*(build|unbuilt):UserWarning")
def test_a_model_that_cannot_be_built_leaves_nothing_for_the_next():
    """TensorFlow makes no orthogonal matrix in bfloat16, so that Keras' variables wait for their values."""
    orthogonal = OneGRU(dtype="bfloat16")
    orthogonal.gru.cell.recurrent_initializer = keras.initializers.Orthogonal()
    assert check(orthogonal).verdict == "inconclusive"
    assert check(OneGRU()).verdict == "pass"


def test_a_declaration_about_a_layer_is_refused_where_no_layer_was_seen():
    with pytest.raises(UsageError, match="no layer gru; its recurrent layers are: none"):
        check(right_cells.ByHand(), declare=["chunked=gru"])
