"""Files that NumPy does not run: each is left to Keras, and the layer is named."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rnneval.errors import CheckpointError, RnnevalError, UsageError
from rnneval.evaluate.check import check
from rnneval.models.numpy import network
from rnneval.models.numpy.chain import NotForNumpyError, chain_of
from rnneval.models.numpy.lm import open_numpy
from tests.checkpoints import by_hand
from tests.checkpoints.by_hand import dense, embedding, layer, recurrent, sequential
from tests.models.numpy.made import stack_file

BIDIRECTIONAL = layer("Bidirectional", "both", layer=recurrent("GRU", "g", 5), merge_mode="concat")
CHAINS = {
    "backwards": ([recurrent("LSTM", "rnn", 5, go_backwards=True)], r"layer rnn \(LSTM\) reads backwards"),
    "window": ([recurrent("GRU", "rnn", 5, return_sequences=False)], r"layer rnn \(GRU\) has return_sequences=False"),
    "bidirectional": ([BIDIRECTIONAL], r"layer both \(Bidirectional\) is of a class that NumPy does not run"),
    "masking": ([layer("Masking", "hide", mask_value=0.0), recurrent("GRU", "g", 5)], r"layer hide \(Masking\)"),
    "convolution": ([recurrent("GRU", "g", 5), layer("Conv1D", "conv", filters=3)], r"layer conv \(Conv1D\)"),
    "flat": ([layer("Flatten", "flat"), recurrent("GRU", "g", 5)], r"layer flat \(Flatten\)"),
    "activation": ([recurrent("GRU", "g", 5), layer("Activation", "act", activation="glu")], r"has the activation glu"),
    "softmax in time": ([recurrent("GRU", "g", 5), layer("Softmax", "s", axis=1)], r"layer s \(Softmax\) is over axis"),
    "operation": (
        [recurrent("GRU", "g", 5), dense("d"), {**layer("Softmax", "s"), "module": "keras.src.ops.nn"}],
        r"layer s \(Softmax\) is of the module keras.src.ops.nn",
    ),
    "lora": ([recurrent("GRU", "g", 5), dense("d", lora_rank=3)], r"layer d \(Dense\) has the setting lora_rank=3"),
    "half ids": ([recurrent("GRU", "g", 5), dense("d", dtype="int8_from_float32")], r"layer d has the type int8"),
    "over time": (
        [layer("TimeDistributed", "td", layer=recurrent("GRU", "g", 5)), recurrent("GRU", "h", 5)],
        r"layer td \(TimeDistributed\) is over GRU",
    ),
    "no recurrence": ([dense("d")], "a model without a GRU, LSTM or SimpleRNN layer"),
    "embedding later": ([recurrent("GRU", "g", 5), embedding("late")], r"layer late \(Embedding\) is not the first"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_layer_is_named(name) -> None:
    layers, said = CHAINS[name]
    with pytest.raises(NotForNumpyError, match=said) as raised:
        chain_of(sequential(layer("InputLayer", "input", batch_shape=[None, None]), embedding(), *layers), "m.keras")
    assert "pip install 'rnneval[tensorflow]'" in str(raised.value)
    assert str(raised.value).startswith("m.keras: ")


def test_masked_ids(tmp_path) -> None:
    config = sequential(embedding(mask_zero=True), recurrent("GRU", "gru", 5), dense())
    path = by_hand.write(tmp_path / "model.h5", config, by_hand.weights_of(config))
    with pytest.raises(NotForNumpyError, match=r"layer embedding \(Embedding\) masks id 0"):
        open_numpy(path)


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


def test_a_graph_that_is_a_chain() -> None:
    assert [entry.name for entry in chain_of(graph(EMB, GRU, OUT), "m").entries] == ["emb", "one", "out"]


GRAPHS = {
    "residual": (
        graph(EMB, GRU, node(layer("Add", "sum"), [tensor("one"), tensor("emb")]), node(dense("out"), tensor("sum"))),
        r"layer sum \(Add\) reads other than one sequence",
    ),
    "tied": (
        graph(EMB, {**GRU, "inbound_nodes": [*GRU["inbound_nodes"], *GRU["inbound_nodes"]]}, OUT),
        r"layer one \(GRU\) is called 2 times",
    ),
    "second branch": (
        graph(EMB, GRU, node(dense("side"), tensor("emb")), OUT), r"layer side \(Dense\) is on another branch"
    ),
    "always dropped": (
        graph(EMB, GRU, node(layer("Dropout", "drop", rate=0.5), tensor("one"), training=True),
              node(dense("out"), tensor("drop"))),
        r"layer drop \(Dropout\) is called with training",
    ),
    "state as the sequence": (
        graph(EMB, GRU, node(dense("out"), tensor("one", 1))), r"gives an output that is not the sequence"
    ),
    "two texts": (
        graph(EMB, GRU, OUT, inputs=("ids", "more")), "the graph model takes 2 and gives 1 tensors"
    ),
    "states exchanged": (
        graph(EMB, node(recurrent("GRU", "one", 5, return_state=True), tensor("emb"), initial_state=tensor("a")),
              node(recurrent("GRU", "two", 5, return_state=True), tensor("one"), initial_state=tensor("b")),
              node(dense("out"), tensor("two")), inputs=("ids", "a", "b"),
              outputs=(("out", 0, 0), ("two", 0, 1), ("one", 0, 1))),
        "gives the state that goes back into one",
    ),
    "one state alone": (
        graph(EMB, node(recurrent("GRU", "one", 5, return_state=True), tensor("emb"), initial_state=tensor("a")),
              node(recurrent("GRU", "two", 5), tensor("one")),
              node(dense("out"), tensor("two")), inputs=("ids", "a"), outputs=(("out", 0, 0), ("one", 0, 1))),
        "begins anew at every call",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_is_none(name) -> None:
    config, said = GRAPHS[name]
    with pytest.raises(NotForNumpyError, match=said):
        chain_of(config, "m.keras")


def test_a_graph_with_states_is_a_chain() -> None:
    cell = recurrent("LSTM", "one", 5, return_state=True)
    config = graph(
        EMB, node(cell, tensor("emb"), initial_state=[tensor("h"), tensor("c")]), OUT,
        inputs=("ids", "c", "h"), outputs=(("out", 0, 0), ("one", 0, 2), ("one", 0, 1)),
    )  # fmt: skip
    assert [(leaf.layer, leaf.slot) for leaf in chain_of(config, "m").states] == [("one", "c"), ("one", "h")]


def test_weights_of_another_shape(tmp_path) -> None:
    config = sequential(embedding(), recurrent("GRU", "gru", 5), dense())
    weights = by_hand.weights_of(sequential(embedding(), recurrent("GRU", "gru", 4), dense()))
    path = by_hand.write(tmp_path / "model.h5", config, weights)
    with pytest.raises(NotForNumpyError, match=r"layer gru \(GRU\) has a kernel of type float32 and shape \(5, 12\)"):
        open_numpy(path)


def test_weights_of_another_layer(tmp_path) -> None:
    config = sequential(embedding(), recurrent("GRU", "gru", 5), dense())
    weights = by_hand.weights_of(config)
    path = by_hand.write(tmp_path / "model.h5", config, [*weights, ("extra", [("extra/kernel:0", np.ones((2, 2)))])])
    with pytest.raises(NotForNumpyError, match="weights of the layers embedding, gru, dense, extra"):
        open_numpy(path)


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


@pytest.mark.parametrize(
    "make",
    [
        lambda: sequential(
            layer("InputLayer", "ids", batch_shape=[None, None]),
            embedding("emb"),
            recurrent("LSTM", "one", 5),
            dense("out"),
        ),
        lambda: graph(
            EMB,
            node(
                recurrent("LSTM", "one", 5, return_state=True), tensor("emb"), initial_state=[tensor("h"), tensor("c")]
            ),
            OUT,
            inputs=("ids", "h", "c"),
            outputs=(("out", 0, 0), ("one", 0, 1), ("one", 0, 2)),
        ),
    ],
)
def test_configurations_of_any_form(tmp_path, make) -> None:
    """Any value at any place opens, or is an error about input: never a traceback."""
    config = make()
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


def test_a_table_that_is_too_large(tmp_path, monkeypatch) -> None:
    config = sequential(embedding(output_dim=5), dense("wide", units=5), recurrent("GRU", "gru", 5), dense())
    path = by_hand.write(tmp_path / "model.h5", config, by_hand.weights_of(config))
    assert open_numpy(path).width == 7
    monkeypatch.setattr(network, "_TABLE", 34)
    with pytest.raises(NotForNumpyError, match="a table of 7 ids times 5 numbers is too large"):
        open_numpy(path)


def test_rules_on_files_hold(tmp_path) -> None:
    """A rule that refuses a file for Keras refuses it here, before any weight is read."""
    config = sequential(embedding(), recurrent("GRU", "gru", 5), layer("Lambda", "code", function="x"), dense())
    path = by_hand.write(tmp_path / "model.h5", config, by_hand.weights_of(config))
    with pytest.raises(CheckpointError, match="refused by rule config") as raised:
        open_numpy(path)
    assert not isinstance(raised.value, NotForNumpyError)


def test_a_builder_and_weights_alone(tmp_path) -> None:
    path, _ = stack_file(tmp_path / "model.h5", "GRU")
    with pytest.raises(NotForNumpyError, match="code of your own"):
        open_numpy(path, builder="train.py:Model")
    with pytest.raises(NotForNumpyError, match="a window model"):
        open_numpy(path, window=5)
    weights = by_hand.write(tmp_path / "weights.h5", None, by_hand.weights_of(sequential(embedding(), dense())))
    with pytest.raises(UsageError, match="holds weights and no model"):
        open_numpy(weights)


def test_another_hash(tmp_path) -> None:
    path, _ = stack_file(tmp_path / "model.h5", "GRU")
    with pytest.raises(CheckpointError, match="its SHA-256 is"):
        open_numpy(path, expect_sha256="0" * 64)


def test_a_declaration_of_an_unknown_layer(tmp_path) -> None:
    lm = open_numpy(stack_file(tmp_path / "model.h5", "GRU")[0])
    with pytest.raises(UsageError, match="the model has no layer other"):
        check(lm, declare=["stateless=other"])


@pytest.mark.parametrize(
    ("width", "said"), [(1, "gives 1 number a position"), (3, "reads 7 different ids and gives 3")]
)
def test_no_model_of_the_next_token(tmp_path, width, said) -> None:
    config = sequential(embedding(), recurrent("GRU", "gru", 5), dense(units=width))
    path = by_hand.write(tmp_path / "model.h5", config, by_hand.weights_of(config))
    with pytest.raises(CheckpointError, match=said):
        open_numpy(path)


def test_rows_that_are_not_one_hot(tmp_path) -> None:
    config = sequential(recurrent("GRU", "gru", 5, batch_input_shape=[None, None, 4]), dense())
    weights = by_hand.weights_of(config)
    name, ((k, _), *rest) = weights[0]
    weights[0] = (name, [(k, np.ones((4, 15), np.float32)), *rest])
    with pytest.raises(CheckpointError, match="its input has rows of 4 numbers and its output 7"):
        open_numpy(by_hand.write(tmp_path / "model.h5", config, weights))


def test_the_vocabulary_is_found_beside_it(tmp_path) -> None:
    path, _ = stack_file(tmp_path / "model.h5", "GRU")
    assert "--vocab" in open_numpy(path).why_no_vocabulary
    (tmp_path / "vocab.json").write_text(json.dumps(list("abcdefg")))
    assert open_numpy(path).vocabulary.size == 7
    assert open_numpy(path, vocabulary=list("gfedcba")).vocabulary.source != open_numpy(path).vocabulary.source
