"""State inputs: functional models with inputs and outputs for their states."""

import keras
import numpy as np
import pytest

import rnneval
from rnneval.errors import CheckpointError
from tests.models.keras.driving import assert_driven_as
from tests.models.keras.zoo import WIDTH, settled
from tests.oracles import stack_of


class Parts:
    """A functional model's tensors, and the layers that its oracle is made of."""

    def __init__(self, kind="GRU", units=(4, 3), tokens=None):
        count = 2 if kind == "LSTM" else 1
        self.ids = keras.Input((tokens,), dtype="int32", name="ids")
        self.inputs = [
            keras.Input((u,), name="az"[k] if count == 1 else f"in{k}{part}")
            for k, u in enumerate(units)
            for part in range(count)
        ]
        self.embedding = keras.layers.Embedding(WIDTH, 5)
        self.recurrent = [
            getattr(keras.layers, kind)(u, return_sequences=True, return_state=True, name=f"rnn{k}")
            for k, u in enumerate(units)
        ]
        self.dense = keras.layers.Dense(WIDTH)
        x, self.outputs = self.embedding(self.ids), []
        for k, layer in enumerate(self.recurrent):
            x, *new = layer(x, initial_state=self.inputs[count * k : count * (k + 1)])
            self.outputs += new
        self.logits = self.dense(x)

    def model(self, inputs, outputs):
        return settled(keras.Model(inputs, outputs))

    def oracle(self):
        return stack_of(self.embedding, self.recurrent, self.dense)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_lists_of_inputs_and_outputs(kind):
    parts = Parts(kind)
    lm = rnneval.wrap(parts.model([parts.ids, *parts.inputs], [parts.logits, *parts.outputs]))
    assert lm.contract == 2
    assert_driven_as(lm, parts.oracle())
    assert [slot.layer for slot in lm.slots] == [f"rnn{k}" for k in (0, 1) for _ in range(len(parts.inputs) // 2)]
    assert all(not np.asarray(leaf).any() for leaf in lm.initial_state(3))


def test_dictionaries_whose_keys_sort_in_another_order():
    parts = Parts("GRU")
    inputs = {"ids": parts.ids, "a": parts.inputs[0], "z": parts.inputs[1]}
    outputs = {"logits": parts.logits, "a": parts.outputs[0], "z": parts.outputs[1]}
    lm = rnneval.wrap(parts.model(inputs, outputs))
    assert lm.contract == 2
    assert_driven_as(lm, parts.oracle())


def test_states_that_come_in_and_do_not_go_out_are_refused():
    parts = Parts("GRU")
    with pytest.raises(CheckpointError, match=r"takes 3 and gives 2 tensors.*as many states"):
        rnneval.wrap(keras.Model([parts.ids, *parts.inputs], [parts.logits, parts.outputs[0]]))
