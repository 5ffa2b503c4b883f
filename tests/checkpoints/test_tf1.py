"""Name-based checkpoints of TensorFlow 1. What they give is a float64 loop over TensorFlow 1's own equations."""

import json

import numpy as np
import pytest
import tensorflow as tf

import rnneval
from rnneval.errors import CheckpointError
from tests.models.keras.driving import IDS, carried
from tests.oracles import sigmoid

V, E, U = 7, 5, 4
BUILDER = """
import keras
L = keras.layers
def make(kind="LSTM", layers=1, width=5, **options):
    rnns = [getattr(L, kind)(4, return_sequences=True, **options) for _ in range(layers)]
    return keras.Sequential([L.Input((None,)), L.Embedding(7, width, name="embedding"), *rnns, L.Dense(7, name="head")])
"""
SCOPES = {
    "new": "rnnlm/multi_rnn_cell/cell_{k}/{cell}",
    "dynamic": "rnn/multi_rnn_cell/cell_{k}/{cell}",
    "alone": "rnn/{cell}",
}


def drawn(shapes):
    rng = np.random.default_rng(3)
    return {name: rng.normal(0, 0.5, shape).astype("float32") for name, shape in shapes.items()}


def lstm(layers=1, scope="new", cell="basic_lstm_cell", roles=("kernel", "bias"), width=E):
    shapes = {"embedding": (V, width), "softmax_w": (U, V), "softmax_b": (V,)}
    for k in range(layers):
        at = SCOPES[scope].format(k=k, cell=cell)
        shapes |= {f"{at}/{roles[0]}": ((width if k == 0 else U) + U, 4 * U), f"{at}/{roles[1]}": (4 * U,)}
    return drawn(shapes)


def gru():
    at = "rnn/multi_rnn_cell/cell_0/gru_cell"
    gates = {f"{at}/gates/kernel": (E + U, 2 * U), f"{at}/gates/bias": (2 * U,)}
    candidate = {f"{at}/candidate/kernel": (E + U, U), f"{at}/candidate/bias": (U,)}
    return drawn({"embedding": (V, E), **gates, **candidate, "softmax_w": (U, V), "softmax_b": (V,)})


def write(folder, values, prefix="model.ckpt-1000"):
    """As tf.train.Saver wrote it: variables by their names, those of the optimizer too."""
    extra = {
        "global_step": np.int64(1000),
        "softmax_w/Adam": values["softmax_w"],
        "softmax_w/Adam_1": values["softmax_w"],
    }
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.Variable(value, name=name) for name, value in {**values, **extra}.items()]
        session.run(tf.compat.v1.variables_initializer(variables))
        named = dict(zip([*values, *extra], variables, strict=True))
        tf.compat.v1.train.Saver(named).save(session, str(folder / prefix), write_meta_graph=False)
    (folder / "code.py").write_text(BUILDER)
    return folder / prefix


def rows(values, step, ids):
    """Run cells over ids; `step(x, states)` gives the output and the new states."""
    states, found = None, []
    for token in ids:
        h, states = step(np.float64(values["embedding"][token]), states)
        found.append(h @ np.float64(values["softmax_w"]) + values["softmax_b"])
    return np.array(found)


def lstm_step(values, forget_bias=1.0):
    """BasicLSTMCell: i, j, f, o = split([x, h] W + b); c = c σ(f + forget_bias) + σ(i) tanh(j); h = tanh(c) σ(o)."""
    pairs = [name for name in values if name.endswith(("kernel", "weights"))]
    biases = [name for name in values if name.endswith(("/bias", "biases"))]

    def step(x, states):
        after = []
        for k, (kernel, bias) in enumerate(zip(pairs, biases, strict=True)):
            h, c = (np.zeros(U), np.zeros(U)) if states is None else states[k]
            i, j, f, o = np.split(np.concatenate([x, h]) @ np.float64(values[kernel]) + values[bias], 4)
            c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(j)
            x = np.tanh(c) * sigmoid(o)
            after.append((x, c))
        return x, after

    return step


def gru_step(values):
    """GRUCell: r, u = σ([x, h] W + b); c = tanh([x, r h] W' + b'); h = u h + (1 − u) c."""
    gates, gate_bias, candidate, bias = (np.float64(values[name]) for name in values if "gru_cell" in name)

    def step(x, h):
        h = np.zeros(U) if h is None else h
        r, u = np.split(sigmoid(np.concatenate([x, h]) @ gates + gate_bias), 2)
        c = np.tanh(np.concatenate([x, r * h]) @ candidate + bias)
        h = u * h + (1 - u) * c
        return h, h

    return step


def opened(path, weight_map=None, **arguments):
    return rnneval.open(
        path, builder=f"{path.parent / 'code.py'}:make", builder_arguments=arguments, weight_map=weight_map
    )


def assert_right(lm, values, step):
    for row, ids in enumerate(IDS):
        np.testing.assert_allclose(carried(lm, IDS, [0, 2, 5])[row], rows(values, step, ids), atol=1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("scope", "cell", "roles"),
    [
        ("new", "basic_lstm_cell", ("kernel", "bias")),
        ("dynamic", "lstm_cell", ("kernel", "bias")),
        ("new", "basic_lstm_cell", ("weights", "biases")),
    ],
)
def test_lstm_cells(tmp_path, layers, scope, cell, roles):
    values = lstm(layers, scope, cell, roles)
    lm = opened(write(tmp_path, values), layers=layers)
    assert lm.checkpoint.format == "tf-checkpoint"
    assert any("forget bias 1, the default of its cells, which no checkpoint holds" in said for said in lm.assumptions)
    assert_right(lm, values, lstm_step(values))


def test_gru_cells(tmp_path):
    values = gru()
    lm = opened(write(tmp_path, values), kind="GRU", reset_after=False)
    assert_right(lm, values, gru_step(values))


def test_two_of_one_shape_need_a_map_which_the_message_shows(tmp_path):
    values = {**lstm(), "other_b": np.zeros(V, "float32")}
    path = write(tmp_path, values)
    with pytest.raises(CheckpointError, match=r"which weight is which cannot be told.*weight_map=FILE\.json"):
        opened(path)
    (tmp_path / "map.json").write_text(json.dumps({"head/bias": "softmax_b"}))
    with pytest.raises(CheckpointError, match="has weights the model does not use: other_b"):
        opened(path, weight_map=tmp_path / "map.json")


def test_another_forget_bias_is_given(tmp_path):
    values = lstm()
    lm = opened(write(tmp_path, values), weight_map={"forget_bias": 0.0})
    assert "forget bias 0, as given" in lm.assumptions
    assert_right(lm, values, lstm_step(values, forget_bias=0.0))
