"""A layer that reads several streams: losses, states and gradients by (layer, place), against a float64 loop."""

import keras
import msgspec
import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.errors import CheckpointError
from rnneval.evaluate.diagnostics.probes import Place
from rnneval.models.keras.derivatives import through_time, variable_gradients
from rnneval.text import Vocabulary
from tests.evaluate.diagnostics.oracle import summary_of
from tests.evaluate.small import LETTERS, Ids, ids_of, letters
from tests.oracles import layer_of, nats

L, V, E, U = keras.layers, len(LETTERS), 5, 6
SLOTS = {"LSTM": ("h", "c"), "GRU": ("h",), "SimpleRNN": ("h",)}


class Streams(keras.Model):
    """One layer on several embeddings of the ids, with a state for each."""

    def __init__(self, kind, places):
        super().__init__()
        self.kind, self.tables = kind, [L.Embedding(V, E) for _ in range(places)]
        self.rnn = getattr(L, kind)(U, return_sequences=True, return_state=True, name="shared")
        self.dense = L.Dense(V)

    def call(self, ids, states=None, return_state=False):
        states, outputs, new = states or [None] * len(self.tables), [], []
        for table, state in zip(self.tables, states, strict=True):
            output, *after = self.rnn(table(ids), initial_state=state)
            outputs.append(output)
            new.append(after)
        logits = self.dense(tf.concat(outputs, axis=-1))
        return (logits, new) if return_state else logits


def subclassed(kind, places):
    model = Streams(kind, places)
    model(tf.ones((1, 2), tf.int32))
    return model, model.tables, model.rnn, model.dense


def state_inputs(kind, places):
    return graph(kind, places, doors=True)


def stateless(kind, places):
    return graph(kind, places, doors=False)


def graph(kind, places, *, doors):
    ids, tables = keras.Input((None,), dtype="int32"), [L.Embedding(V, E) for _ in range(places)]
    rnn, dense = getattr(L, kind)(U, return_sequences=True, return_state=True, name="shared"), L.Dense(V)
    into = [[keras.Input((U,)) for _ in SLOTS[kind]] for _ in range(places)]
    runs = [rnn(table(ids), initial_state=state if doors else None) for table, state in zip(tables, into, strict=True)]
    logits = dense(L.concatenate([output for output, *_ in runs]))
    if doors:
        states = [leaf for state in into for leaf in state]
        after = [leaf for _, *new in runs for leaf in new]
        return keras.Model([ids, *states], [logits, *after]), tables, rnn, dense
    return keras.Model(ids, logits), tables, rnn, dense


def made(form, kind, places=2):
    keras.utils.set_random_seed(places)
    model, *parts = form(kind, places)
    rng = np.random.default_rng(0)
    model.set_weights([(rng.standard_normal(w.shape) * 0.8 / np.sqrt(w.shape[0])).astype("f4") for w in model.weights])
    return rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(LETTERS))), Loop(*parts)


class Loop:
    """The same numbers in float64, one token after the other."""

    def __init__(self, tables, rnn, dense):
        self.layer = layer_of(rnn)
        self.tables = [np.asarray(table.get_weights()[0], np.float64) for table in tables]
        self.kernel, self.bias = (np.asarray(w, np.float64) for w in dense.get_weights())
        name = "shared"
        self.keys = [
            f"{name}{'' if k == 0 else f'#{k + 1}'}.{s}" for k in range(len(tables)) for s in SLOTS[self.layer.kind]
        ]

    def run(self, ids, nudge=None):
        """Logits, and states by key; `nudge` is (key, time, what to add)."""
        states = [self.layer.zeros() for _ in self.tables]
        logits, found = [], {key: {"h": [], "before": []} for key in self.keys}
        for t, token in enumerate(ids):
            before = [part for state in states for part in state]
            for k, table in enumerate(self.tables):
                states[k] = self.layer.step(table[token], states[k])[1]
            flat = [part for state in states for part in state]
            if nudge is not None and nudge[1] == t:
                at = self.keys.index(nudge[0])
                flat[at] = flat[at] + nudge[2]
            n = self.layer.parts
            states = [flat[n * k : n * k + n] for k in range(len(self.tables))]
            for key, old, new in zip(self.keys, before, flat, strict=True):
                found[key]["before"].append(old)
                found[key]["h"].append(new)
            logits.append(np.concatenate([state[0] for state in states]) @ self.kernel + self.bias)
        return np.array(logits), found


CASES = [
    (state_inputs, "SimpleRNN", 3),
    (state_inputs, "LSTM", 2),
    (stateless, "LSTM", 2),
    (stateless, "GRU", 3),
    (subclassed, "LSTM", 3),
    (subclassed, "GRU", 2),
]
NAMES = [*(f"{form.__name__} {kind} {places}" for form, kind, places in CASES)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("form", "kind", "places"), CASES, ids=NAMES)
def test_losses_and_summaries_of_each_place_agree_with_a_float64_loop(form, kind, places, tmp_path):
    (lm, loop), text = made(form, kind, places), letters(tmp_path, 400)
    ids = ids_of(text)
    run = rnneval.evaluate(lm, text, streams=3, segment=32, check=False)
    logits, found = loop.run(ids[:-1])
    assert run.valid
    assert run.scores["cross_entropy"].value == pytest.approx(nats(logits, ids[1:]).mean(), rel=1e-6)
    assert [layer.name for layer in lm.layers] == [key.removesuffix(".h") for key in loop.keys if key.endswith(".h")]
    assert list(run.states) == loop.keys == [f"{slot.layer}.{slot.slot}" for slot in lm.slots]
    for key, rows in found.items():
        course = {name: np.array(values) for name, values in rows.items()}
        course["t"] = course["at"] = np.arange(399)
        expected, seen = summary_of(key, course, 400), msgspec.to_builtins(run.states[key])
        for name in ("norm_mean", "norm_max", "rms", "mean", "lowest", "highest", "speed"):
            assert seen[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), (key, name)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("form", "kind"), [(subclassed, "GRU"), (stateless, "LSTM")])
def test_gradients_through_time_are_those_of_each_place(form, kind):
    lm, loop = made(form, kind)
    ids, lags, step = np.random.default_rng(3).integers(0, V, 40).astype("i4"), 6, 1e-5
    text = Ids(ids)
    start = np.concatenate([np.asarray(leaf)[0] for leaf in lm.initial_state(1)]).astype("f4")
    courses, missing = through_time(lm, text, [Place(at=0, state=start)], lags)
    assert not missing
    assert list(courses) == loop.keys

    def loss(nudge):
        return nats(loop.run(ids[: lags + 1], nudge)[0][-1:], ids[lags + 1 : lags + 2])[0]

    for key in loop.keys:
        norms = []
        for t in range(lags, -1, -1):
            moves = np.eye(U) * step
            norms.append(
                np.linalg.norm([(loss((key, t, move)) - loss((key, t, -move))) / (2 * step) for move in moves])
            )
        base = courses[key].base
        np.testing.assert_allclose(courses[key].median[base:], np.array(norms[base:]) / norms[base], rtol=2e-3)
    mean, variables, _ = variable_gradients(lm, text, [Place(at=0, state=start)], 20)
    assert mean == pytest.approx(nats(loop.run(ids[:20])[0], ids[1:21]).mean(), rel=1e-5)
    assert not any("#" in key for key in variables)  # weights are shared: one gradient a layer


def test_a_stateful_layer_that_runs_twice_is_refused():
    ids = keras.Input(batch_shape=(1, None), dtype="int32")
    rnn = L.GRU(U, return_sequences=True, stateful=True, name="again")
    x = L.add([rnn(L.Embedding(V, E)(ids)), rnn(L.Embedding(V, E)(ids))])
    with pytest.raises(CheckpointError, match="layer again is stateful and runs twice in one call"):
        rnneval.wrap(keras.Model(ids, L.Dense(V)(x)))
