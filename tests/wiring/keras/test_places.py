"""A layer that is called several times in a step, checked as it runs: each place must get its own state back."""

import keras
import tensorflow as tf

from rnneval.evaluate.check import check

L, V = keras.layers, 9


class Streams(keras.Model):
    """One layer on several streams; `order` says which place's new state is returned at which place."""

    def __init__(self, kind, order):
        super().__init__()
        self.order, self.tables = order, [L.Embedding(V, 5) for _ in order]
        self.rnn = getattr(L, kind)(6, return_sequences=True, return_state=True)
        self.dense = L.Dense(V)

    def call(self, ids, states=None, return_state=False):
        states, outputs, new = states or [None] * len(self.order), [], []
        for table, state in zip(self.tables, states, strict=True):
            output, *after = self.rnn(table(ids), initial_state=state)
            outputs.append(output)
            new.append(after)
        logits = self.dense(tf.concat(outputs, axis=-1))
        return (logits, [new[k] for k in self.order]) if return_state else logits


def test_right():
    wiring = check(Streams("GRU", (0, 1, 2)))
    assert wiring.verdict == "pass"
    assert [layer.name for layer in wiring.layers] == ["rnn", "rnn#2", "rnn#3"]
    assert {layer.path for layer in wiring.layers} == {"rnn"}


def test_wrong():
    wiring = check(Streams("LSTM", (0, 2, 1)))
    crossed = [f for f in wiring.findings if f.rule == "crossed-state"]
    assert wiring.verdict == "fail"
    assert {(f.layer, f.source_layer) for f in crossed} == {("rnn#2", "rnn#3"), ("rnn#3", "rnn#2")}
    assert all(f.file == __file__ and f.line for f in crossed)


def test_a_graph_whose_state_outputs_are_exchanged_fails_and_names_both():
    ids, one, two = keras.Input((None,), dtype="int32"), keras.Input((6,)), keras.Input((6,))
    gru = L.GRU(6, return_sequences=True, return_state=True, name="shared")
    a, new_one = gru(L.Embedding(V, 5)(ids), initial_state=one)
    b, new_two = gru(L.Embedding(V, 5)(ids), initial_state=two)
    wiring = check(keras.Model([ids, one, two], [L.Dense(V)(L.concatenate([a, b])), new_two, new_one]))
    crossed = {(f.layer, f.source_layer) for f in wiring.findings if f.rule == "crossed-state"}
    assert crossed == {("shared", "shared#2"), ("shared#2", "shared")}
