"""Whole models and weights of Keras 2, written by hand; what they give is a float64 loop over the arrays written."""

from typing import Any

import h5py
import numpy as np
import pytest

import rnneval
from tests.checkpoints import by_hand
from tests.checkpoints.by_hand import dense, embedding, recurrent, sequential, weights_of, write
from tests.models.keras.driving import IDS, assert_driven_as, carried
from tests.oracles import Layer, Stack, sigmoid

CLOSE = 1e-6


def stack(config: Any, weights: Any) -> Stack:
    """The float64 loop over what was written; without an embedding, ids are one-hot rows."""
    layers, table = [], np.eye(7)
    for item, (_, arrays) in zip(config["config"]["layers"], weights, strict=True):
        values = [value.astype(np.float64) for _, value in arrays]
        if item["class_name"] == "Embedding":
            table = values[0]
        elif item["class_name"] == "Dense":
            kernel, bias = values
        elif values:
            reset = bool(item["config"].get("reset_after"))
            layers.append(
                Layer(kind=item["class_name"], kernel=values[0], recurrent=values[1], bias=values[2], reset_after=reset)
            )
    return Stack(embedding=table, layers=tuple(layers), kernel=kernel, bias=bias)


def saved(tmp_path, config, seed=0, **options):
    weights = weights_of(config, seed)
    return write(tmp_path / "model.h5", config, weights, **options), stack(config, weights)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("GRU", {}), ("GRU", {"reset_after": False}), ("LSTM", {}), ("SimpleRNN", {})],
)
def test_a_sequential_model_of_tensorflow_2(tmp_path, kind, options):
    config = sequential(
        embedding(), recurrent(kind, "low", 4, **options), recurrent(kind, "high", 3, **options), dense()
    )
    path, oracle = saved(tmp_path, config)
    lm = rnneval.open(path)
    assert (lm.contract, lm.checkpoint.format, [layer.name for layer in lm.layers]) == (4, "keras-h5", ["low", "high"])
    assert "written by Keras 2.4.0; its configuration was rewritten for Keras 3" in lm.assumptions
    assert_driven_as(lm, oracle)


def test_a_list_of_layers_without_reset_after_as_keras_2_0_wrote_it(tmp_path):
    gru = recurrent("GRU", "gru_1", 4, implementation=0, recurrent_activation="sigmoid")
    for key in ("reset_after", "time_major", "dtype"):
        gru["config"].pop(key)
    config = sequential(embedding("embedding_1"), gru, dense("dense_1"))
    weights = weights_of(config)
    old = {"class_name": "Sequential", "config": config["config"]["layers"]}
    lm = rnneval.open(write(tmp_path / "old.h5", old, weights, version="2.0.8"))
    assert_driven_as(lm, stack(config, weights))


def test_hard_sigmoid_is_that_of_keras_2(tmp_path):
    config = sequential(embedding(), recurrent("SimpleRNN", "rnn", 4, activation="hard_sigmoid"), dense())
    path, oracle = saved(tmp_path, config)
    lm = rnneval.open(path)
    (layer,) = oracle.layers
    h, rows = np.zeros(4), []
    for token in IDS[0]:
        x = oracle.embedding[token] @ layer.kernel + h @ layer.recurrent + layer.bias
        h = np.clip(0.2 * x + 0.5, 0, 1)
        rows.append(h @ oracle.kernel + oracle.bias)
    np.testing.assert_allclose(carried(lm, IDS[:1], [0, 2, 5])[0], rows, atol=CLOSE)
    assert "hard_sigmoid is Keras 2's (0.2 x + 0.5), not that of Keras 3 (x / 6 + 0.5)" in lm.assumptions


@pytest.mark.parametrize("length", [None, 40])
def test_one_hot_rows(tmp_path, length):
    first = recurrent("LSTM", "lstm", 4, batch_input_shape=(None, length, 7))
    path, oracle = saved(tmp_path, sequential(first, dense(activation="softmax")))
    lm = rnneval.open(path)
    assert (lm.input_kind, lm.output_kind) == ("one-hot", "probabilities-as-logits")
    assert "inputs are one-hot rows of 7 numbers (its input has a third axis of that length)" in lm.assumptions
    assert_driven_as(lm, oracle)


def scaled_stack(config, weights):
    """Ids divided by 7: as an embedding, one column."""
    written = stack(config, weights)
    return Stack(embedding=np.arange(7)[:, None] / 7, layers=written.layers, kernel=written.kernel, bias=written.bias)


def test_scaled_ids(tmp_path):
    config = sequential(recurrent("LSTM", "lstm", 4, batch_input_shape=(None, None, 1)), dense())
    weights = weights_of(config)
    weights[0][1][0] = (weights[0][1][0][0], weights[0][1][0][1][:1])
    lm = rnneval.open(write(tmp_path / "model.h5", config, weights))
    assert lm.input_kind == "scaled"
    assert "inputs are ids divided by 7, the number of outputs (its input has a third axis of 1)" in lm.assumptions
    assert_driven_as(lm, scaled_stack(config, weights))


def test_masked_ids_leave_the_state_as_it_is(tmp_path):
    path, oracle = saved(tmp_path, sequential(embedding(mask_zero=True), recurrent("GRU", "gru", 4), dense()))
    lm = rnneval.open(path)
    ids = np.array([[1, 2, 0, 3, 0, 0, 4]])
    read = oracle.logits(ids[ids > 0])[[0, 1, 1, 2, 2, 2, 3]]
    np.testing.assert_allclose(carried(lm, ids, [0, 2, 7])[0], read, atol=CLOSE)


def functional(*, layers, inputs, outputs):
    return {
        "class_name": "Model",
        "config": {"name": "model", "layers": layers, "input_layers": inputs, "output_layers": outputs},
    }


def node(item, *inbound):
    return {
        **item,
        "name": item["config"]["name"],
        "inbound_nodes": [[[*source, {}] for source in inbound]] if inbound else [],
    }


def given(name, *shape, dtype="float32"):
    return node(by_hand.layer("InputLayer", name, batch_input_shape=[None, *shape], dtype=dtype, sparse=False))


def test_state_inputs_and_outputs(tmp_path):
    chain = sequential(embedding(), recurrent("LSTM", "lstm", 4, return_state=True), dense())
    table, lstm, out = chain["config"]["layers"]
    weights = weights_of(chain)
    config = functional(
        layers=[
            given("ids", None), node(table, ("ids", 0, 0)), given("h", 4), given("c", 4),
            node(lstm, ("embedding", 0, 0), ("h", 0, 0), ("c", 0, 0)), node(out, ("lstm", 0, 0)),
        ],
        inputs=[["ids", 0, 0], ["h", 0, 0], ["c", 0, 0]],
        outputs=[["dense", 0, 0], ["lstm", 0, 1], ["lstm", 0, 2]],
    )  # fmt: skip
    lm = rnneval.open(write(tmp_path / "states.h5", config, weights))
    assert (lm.contract, [slot.slot for slot in lm.slots]) == (2, ["h", "c"])
    assert_driven_as(lm, stack(chain, weights))


def test_a_cell_and_stacked_cells_in_a_layer(tmp_path):
    cells = [recurrent("LSTM", "a", 4), recurrent("GRU", "b", 3)]
    chain = sequential(embedding(), *cells, dense())
    (_, table), (_, a), (_, b), (_, out) = weights_of(chain)
    told = {"use_bias": True, "activation": "tanh", "recurrent_activation": "sigmoid"}
    inner = [
        by_hand.layer("LSTMCell", "a", units=4, **told),
        by_hand.layer("GRUCell", "b", units=3, reset_after=True, **told),
    ]
    stacked = by_hand.layer("StackedRNNCells", "cells", cells=inner)
    rnn = by_hand.layer(
        "RNN", "rnn", return_sequences=True, return_state=False, stateful=False, unroll=False, cell=stacked
    )
    config = sequential(embedding(), rnn, dense())
    path = write(tmp_path / "cells.h5", config, [("embedding", table), ("rnn", [*a, *b]), ("dense", out)])
    lm = rnneval.open(path)
    assert [slot.slot for slot in lm.slots] == ["cells[0].h", "cells[0].c", "cells[1].h"]
    assert_driven_as(lm, stack(chain, weights_of(chain)))


def cudnn_loop(kind, weights, ids):
    """cuDNN's own equations (its developer guide) on its own layout: a row a unit for each gate, and two biases."""
    (_, ((_, table),)), (_, ((_, kernel), (_, back), (_, bias))), (_, ((_, out), (_, out_bias))) = weights
    units, gates = back.shape[0], back.shape[1] // back.shape[0]
    w = [
        np.float64(k).ravel().reshape(units, kernel.shape[0])
        for k in map(np.ascontiguousarray, np.hsplit(kernel, gates))
    ]
    r = [np.float64(k).ravel().reshape(units, units) for k in map(np.ascontiguousarray, np.hsplit(back, gates))]
    b, d = np.float64(bias).reshape(2, gates, units)
    h, c, rows = np.zeros(units), np.zeros(units), []
    for token in ids:
        x = np.float64(table[token])
        if kind == "LSTM":
            i, f, g, o = (w[k] @ x + r[k] @ h + b[k] + d[k] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            z, reset = (sigmoid(w[k] @ x + r[k] @ h + b[k] + d[k]) for k in range(2))
            h = z * h + (1 - z) * np.tanh(w[2] @ x + b[2] + reset * (r[2] @ h + d[2]))
        rows.append(h @ np.float64(out) + out_bias)
    return np.array(rows)


CUDNN_BUILDER = """
import keras
def make(kind):
    L = keras.layers
    rnn = getattr(L, kind)(4, return_sequences=True)
    return keras.Sequential([L.Input((None,)), L.Embedding(7, 5), rnn, L.Dense(7)])
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("form", ["whole", "weights"])
@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3)])
def test_layouts_of_cudnn_layers(tmp_path, kind, gates, form):
    shapes = [(7, 5), (5, gates * 4), (4, gates * 4), (2 * gates * 4,), (4, 7), (7,)]
    table, kernel, back, bias, out, out_bias = by_hand.drawn(*shapes, seed=4)
    weights = [
        ("embedding", [("embedding/embeddings:0", table)]),
        ("rnn", [("rnn/kernel:0", kernel), ("rnn/recurrent_kernel:0", back), ("rnn/bias:0", bias)]),
        ("dense", [("dense/kernel:0", out), ("dense/bias:0", out_bias)]),
    ]
    rnn = by_hand.layer(f"CuDNN{kind}", "rnn", units=4, return_sequences=True, return_state=False, stateful=False)
    config = sequential(embedding(), rnn, dense()) if form == "whole" else None
    path = write(tmp_path / "cudnn.h5", config, weights)
    (tmp_path / "code.py").write_text(CUDNN_BUILDER)
    named = (
        {"builder": f"{tmp_path / 'code.py'}:make", "builder_arguments": {"kind": kind}} if form == "weights" else {}
    )
    lm = rnneval.open(path, **named)
    assert "weights were in the layout of cuDNN's own layers, and were rearranged" in lm.assumptions
    for row, ids in enumerate(IDS):
        np.testing.assert_allclose(carried(lm, IDS, [0, 2, 5])[row], cudnn_loop(kind, weights, ids), atol=CLOSE)


TREE_BUILDER = """
import keras
class Model(keras.Model):
    def __init__(self):
        super().__init__()
        L = keras.layers
        self.embed, self.dense = L.Embedding(7, 5), L.Dense(7)
        self.first, self.further = L.GRU(4, return_sequences=True), L.GRU(3, return_sequences=True)
    def call(self, ids):
        return self.dense(self.further(self.first(self.embed(ids))))
"""


def tree(tmp_path, renamed=()):
    """The `.weights.h5` of a subclassed model of Keras 2, and the loop over its arrays; layers in order of creation."""
    config = sequential(embedding(), recurrent("GRU", "low", 4), recurrent("GRU", "high", 3), dense())
    weights = weights_of(config)
    places = ["layers/embedding", "layers/gru/cell", "layers/gru_1/cell", "layers/dense"]
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for place, (_, arrays) in zip(places, weights, strict=True):
            for number, (_, values) in enumerate(arrays):
                name = f"{place}/vars/{number}"
                file[dict(renamed).get(name, name)] = values
    (tmp_path / "code.py").write_text(TREE_BUILDER)
    return tmp_path / "m.weights.h5", f"{tmp_path / 'code.py'}:Model", stack(config, weights)


def test_the_tree_of_a_subclassed_model(tmp_path):
    path, builder, oracle = tree(tmp_path)
    lm = rnneval.open(path, builder=builder)
    assert lm.checkpoint.format == "weights-h5"
    assert_driven_as(lm, oracle)
