"""Files that NumPy does not run: each is left to Keras, and the layer is named."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rnneval.errors import CheckpointError, RnnevalError, UsageError
from rnneval.models.numpy.chain import NotForNumpyError, chain_of
from tests.checkpoints import by_hand
from tests.checkpoints.by_hand import dense, embedding, layer, recurrent, sequential
from tests.models.numpy.made import open_numpy, stack_file

CHAINS = {
    "backwards": ([recurrent("LSTM", "rnn", 5, go_backwards=True)], r"layer rnn \(LSTM\) reads backwards"),
    "window": ([recurrent("GRU", "rnn", 5, return_sequences=False)], r"layer rnn \(GRU\) has return_sequences=False"),
    "masking": ([layer("Masking", "hide", mask_value=0.0), recurrent("GRU", "g", 5)], r"layer hide \(Masking\)"),
    "activation": ([recurrent("GRU", "g", 5), layer("Activation", "act", activation="glu")], r"has the activation glu"),
    "operation": (
        [recurrent("GRU", "g", 5), dense("d"), {**layer("Softmax", "s"), "module": "keras.src.ops.nn"}],
        r"layer s \(Softmax\) is of the module keras.src.ops.nn",
    ),
    "type": ([recurrent("GRU", "g", 5, dtype="mixed_float16")], "layer g has the type mixed_float16"),
    "no recurrence": ([dense("d")], "a model without a GRU, LSTM or SimpleRNN layer"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_layer_is_named(name) -> None:
    layers, said = CHAINS[name]
    with pytest.raises(NotForNumpyError, match=said):
        chain_of(sequential(layer("InputLayer", "input", batch_shape=[None, None]), embedding(), *layers))


def tensor(name, index=0):
    config = {"shape": [None, None], "dtype": "float32", "keras_history": [name, 0, index]}
    return {"class_name": "__keras_tensor__", "config": config}


def node(entry, *reads, **named):
    return {**entry, "name": entry["config"]["name"], "inbound_nodes": [{"args": list(reads), "kwargs": named}]}


def graph(*layers, inputs=("ids",), outputs=(("out", 0, 0),)):
    placed = [
        {**layer("InputLayer", name, batch_shape=[None, None]), "name": name, "inbound_nodes": []} for name in inputs
    ]
    ends = {"input_layers": [[name, 0, 0] for name in inputs], "output_layers": [list(end) for end in outputs]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": [*placed, *layers], **ends}}


EMB = node(embedding("emb"), tensor("ids"))
GRU = node(recurrent("GRU", "one", 5), tensor("emb"))
OUT = node(dense("out"), tensor("one"))


GRAPHS = {
    "residual": (
        graph(EMB, GRU, node(layer("Add", "sum"), [tensor("one"), tensor("emb")]), node(dense("out"), tensor("sum"))),
        r"layer sum \(Add\) reads other than one sequence",
    ),
    "always dropped": (
        graph(EMB, GRU, node(layer("Dropout", "drop", rate=0.5), tensor("one"), training=True),
              node(dense("out"), tensor("drop"))),
        r"layer drop \(Dropout\) is called with training",
    ),
    "states": (
        graph(EMB, node(recurrent("GRU", "one", 5, return_state=True), tensor("emb"), initial_state=tensor("a")), OUT,
              inputs=("ids", "a"), outputs=(("out", 0, 0), ("one", 0, 1))),
        "has other input layers than a single one",
    ),
    "state of its own": (
        graph(EMB, node(recurrent("GRU", "one", 5), tensor("emb"), initial_state=tensor("a")), OUT),
        r"layer one \(GRU\) is called with initial_state",
    ),
    "two branches": (graph(EMB, GRU, OUT, node(dense("other"), tensor("one"))), r"layer other \(Dense\) is on another"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_is_none(name) -> None:
    config, said = GRAPHS[name]
    with pytest.raises(NotForNumpyError, match=said):
        chain_of(config)


def test_weights_of_another_shape(tmp_path) -> None:
    config = sequential(embedding(), recurrent("GRU", "gru", 5), dense())
    weights = by_hand.weights_of(sequential(embedding(), recurrent("GRU", "gru", 4), dense()))
    path = by_hand.write(tmp_path / "model.h5", config, weights)
    with pytest.raises(
        NotForNumpyError, match=r"layer gru \(GRU\) has a kernel of type float32 and shape \(5, 12\)"
    ) as raised:
        open_numpy(path)
    assert str(raised.value).startswith(f"{path}: layer gru")
    assert "pip install 'rnneval[tensorflow]'" in str(raised.value)


ODD: tuple[Any, ...] = (None, -1, 0, 1e300, True, "x", [], [[]], {}, {"config": 3}, [None, None], ["a", "b", "c"])


def places(thing: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a configuration."""
    items = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def exchanged(config: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path."""
    made = inner = json.loads(json.dumps(config))
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def test_configurations_of_any_form(tmp_path) -> None:
    """Any value at any place opens, or is an error about input: never a traceback."""
    config = graph(EMB, node(recurrent("LSTM", "one", 5, return_state=True), tensor("emb")), OUT)
    weights = by_hand.weights_of(sequential(embedding("emb"), recurrent("LSTM", "one", 5), dense("out")))
    by_hand.write(tmp_path / "right.h5", config, weights, version="3.10.0")
    assert open_numpy(tmp_path / "right.h5").checkpoint.parameters == 35 + 220 + 42
    draw = np.random.default_rng(0)
    refused = 0
    for path in places(config):
        by_hand.write(
            tmp_path / "odd.h5", exchanged(config, path, ODD[draw.integers(len(ODD))]), weights, version="3.10.0"
        )
        try:
            open_numpy(tmp_path / "odd.h5")
        except RnnevalError:
            refused += 1
    assert refused > 20


def test_a_builder_and_weights_alone(tmp_path) -> None:
    path, _ = stack_file(tmp_path / "model.h5", "GRU")
    with pytest.raises(NotForNumpyError, match="a window model"):
        open_numpy(path, window=5)
    weights = by_hand.write(tmp_path / "weights.h5", None, by_hand.weights_of(sequential(embedding(), dense())))
    with pytest.raises(UsageError, match="holds weights and no model"):
        open_numpy(weights)


@pytest.mark.parametrize(
    ("width", "said"), [(1, "gives 1 number a position"), (3, "reads 7 different ids and gives 3")]
)
def test_no_model_of_the_next_token(tmp_path, width, said) -> None:
    config = sequential(embedding(), recurrent("GRU", "gru", 5), dense(units=width))
    path = by_hand.write(tmp_path / "model.h5", config, by_hand.weights_of(config))
    with pytest.raises(CheckpointError, match=said):
        open_numpy(path)
