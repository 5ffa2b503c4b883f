"""Whole models and weights of Keras 2, written by hand; what they give is a float64 loop over the arrays written."""

from typing import Any

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
    ("kind", "options"), [("GRU", {}), ("GRU", {"reset_after": False}), ("LSTM", {}), ("SimpleRNN", {})]
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
