"""ONNX graphs of an LSTM of 4 units in two layers, or of a GRU, made by `onnx.helper`, right and wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

V, UNITS, LAYERS = 12, 4, 2
NAMES = ("h0_in", "c0_in", "h1_in", "c1_in")
FLOAT = TensorProto.FLOAT


def outputs_of(names: Sequence[str] = NAMES) -> list[str]:
    return [name.replace("_in", "_out") for name in names]


def lstm(
    *,
    names: Sequence[str] = NAMES,
    outputs: Sequence[str] = (),
    fault: str = "",
    time: int | str = "time",
    ids: int = TensorProto.INT64,
    surplus: bool = False,
    one_token: bool = False,
    seed: int = 0,
) -> onnx.ModelProto:
    """Return a graph from ids `(rows, time)` and h, c of two layers to logits and the new states.

    `outputs` are the names of the new states in the order h0, c0, h1, c1. `fault` is what the graph gives out in place
    of the new h of layer 0: `zeros`, `same` or `constant`. With `one_token` it reads the first token of a call alone.
    """
    draw = np.random.default_rng(seed).normal
    weights = {"table": draw(0, 1, (V, UNITS)), "out": draw(0, 2, (UNITS, V)), "axis": np.array([1])}
    outputs = list(outputs) or outputs_of(names)
    table = "cast" if ids == FLOAT else "ids"
    nodes = [helper.make_node("Cast", ["ids"], ["cast"], to=TensorProto.INT64)] if ids == FLOAT else []
    nodes += [
        helper.make_node("Gather", ["table", table], ["x"]),
        helper.make_node("Transpose", ["x"], ["x0"], perm=[1, 0, 2]),
    ]
    if one_token:
        weights |= {"0": np.array([0]), "1": np.array([1])}
        nodes[-1].output[0] = "all"
        nodes.append(helper.make_node("Slice", ["all", "0", "1"], ["x0"]))
    for layer in range(LAYERS):
        weights |= {f"W{layer}": draw(0, 1, (1, 4 * UNITS, UNITS)), f"R{layer}": draw(0, 1, (1, 4 * UNITS, UNITS))}
        new = [f"new_h{layer}", f"new_c{layer}"]
        given = [f"x{layer}", f"W{layer}", f"R{layer}", "", "", *names[2 * layer : 2 * layer + 2]]
        nodes.append(helper.make_node("LSTM", given, [f"y{layer}", *new], hidden_size=UNITS))
        nodes.append(helper.make_node("Squeeze", [f"y{layer}", "axis"], [f"x{layer + 1}"]))
    nodes.append(helper.make_node("Transpose", [f"x{LAYERS}"], ["last"], perm=[1, 0, 2]))
    nodes.append(helper.make_node("MatMul", ["last", "out"], ["logits"]))
    news = ["new_h0", "new_c0", "new_h1", "new_c1"]
    if fault:
        weights |= {"none": np.float32(0), "some": np.float32(0.25)}
        nodes.append(helper.make_node("Mul", [names[0] if fault == "same" else "new_h0", "none"], ["nothing"]))
        other = {"zeros": "none", "same": names[0], "constant": "some"}[fault]
        nodes.append(helper.make_node("Add", ["nothing", other], ["wrong"]))
        news[0] = "wrong"
    nodes += [helper.make_node("Identity", [new], [name]) for new, name in zip(news, outputs, strict=True)]
    shape = [1, "rows", UNITS]
    more = [helper.make_tensor_value_info("last", FLOAT, ["rows", "time", UNITS])] if surplus else []
    return graph_of(
        nodes,
        [
            helper.make_tensor_value_info("ids", ids, ["rows", time]),
            *(helper.make_tensor_value_info(name, FLOAT, shape) for name in names),
        ],
        [
            helper.make_tensor_value_info("logits", FLOAT, ["rows", time, V]),
            *(helper.make_tensor_value_info(name, FLOAT, shape) for name in outputs),
            *more,
        ],
        weights,
    )


def gru_of_layers(*, flipped: bool = False, one_token: bool = False) -> onnx.ModelProto:
    """Return a graph whose input and output `state` holds both layers of a GRU; `flipped`: in the other order.

    With `one_token`, the first token alone is read.
    """
    draw = np.random.default_rng(1).normal
    weights = {
        "table": draw(0, 1, (V, UNITS)),
        "out": draw(0, 2, (UNITS, V)),
        "axis": np.array([1]),
        "split": np.array([1, 1]),
    }
    weights |= {"0": np.array([0]), "1": np.array([1])}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("Transpose", ["x"], ["all"], perm=[1, 0, 2]),
        helper.make_node(*(("Slice", ["all", "0", "1"], ["x0"]) if one_token else ("Identity", ["all"], ["x0"]))),
        helper.make_node("Split", ["state", "split"], ["h0", "h1"], axis=0),
    ]
    for layer in range(2):
        weights |= {f"W{layer}": draw(0, 1, (1, 3 * UNITS, UNITS)), f"R{layer}": draw(0, 1, (1, 3 * UNITS, UNITS))}
        given = [f"x{layer}", f"W{layer}", f"R{layer}", "", "", f"h{layer}"]
        nodes.append(helper.make_node("GRU", given, [f"y{layer}", f"n{layer}"], hidden_size=UNITS))
        nodes.append(helper.make_node("Squeeze", [f"y{layer}", "axis"], [f"x{layer + 1}"]))
    nodes.append(helper.make_node("Transpose", ["x2"], ["last"], perm=[1, 0, 2]))
    nodes.append(helper.make_node("MatMul", ["last", "out"], ["logits"]))
    nodes.append(helper.make_node("Concat", ["n1", "n0"] if flipped else ["n0", "n1"], ["stateN"], axis=0))
    time = 1 if one_token else "time"
    state = [2, "rows", UNITS]
    return graph_of(
        nodes,
        [
            helper.make_tensor_value_info("ids", TensorProto.INT32, ["rows", time]),
            helper.make_tensor_value_info("state", FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("logits", FLOAT, ["rows", time, V]),
            helper.make_tensor_value_info("stateN", FLOAT, state),
        ],
        weights,
    )


def attention(*, fault: str = "", dtype: int = FLOAT, one_hot: bool = False) -> onnx.ModelProto:
    """Return causal attention whose states are keys and values, which grow, and the number of tokens so far.

    `fault`: `crossed` names keys and values the other way round, `stuck` never counts, `first` gives out the first
    token's keys and values alone.
    """
    draw = np.random.default_rng(3).normal
    int64, kind = TensorProto.INT64, helper.tensor_dtype_to_np_dtype(dtype)
    weights = {name: draw(0, 1, (UNITS, UNITS)) for name in ("Q", "K", "V")}
    weights |= {"table": draw(0, 1, (V, UNITS)), "places": draw(0, 1, (7, UNITS)), "out": draw(0, 2, (UNITS, V))}
    weights = {name: array.astype(kind) for name, array in weights.items()}
    weights |= {"0": np.array(0), "1": np.array(1), "7": np.array(7), "one": np.array([1]), "low": np.array(-1e4, kind)}
    weights |= {"from": np.array([0]), "rows axis": np.array([1])}
    lines = [
        ("MatMul" if one_hot else "Gather", ["ids", "table"] if one_hot else ["table", "ids"], "embedded"),
        ("Shape", ["embedded"], "shape"), ("Gather", ["shape", "1"], "time"), ("Range", ["0", "time", "1"], "range"),
        ("Unsqueeze", ["count", "one"], "before"), ("Add", ["before", "range"], "place"),
        ("Mod", ["place", "7"], "near"),
        ("Gather", ["places", "near"], "placed"), ("Add", ["embedded", "placed"], "x"),
        *(("MatMul", ["x", name], name.lower()) for name in "QKV"),
        ("Concat", ["past_k", "k"], "keys"), ("Concat", ["past_v", "v"], "values"),
        ("Transpose", ["keys"], "turned"), ("MatMul", ["q", "turned"], "scores"),
        ("Shape", ["keys"], "all"), ("Gather", ["all", "1"], "total"), ("Sub", ["total", "time"], "past"),
        ("Shape", ["scores"], "wide"), ("ConstantOfShape", ["wide"], "zeros"), ("Add", ["zeros", "one"], "ones"),
        ("Trilu", ["ones", "past"], "lower"), ("Cast", ["lower"], "seen"), ("Where", ["seen", "scores", "low"], "kept"),
        ("Softmax", ["kept"], "shares"), ("MatMul", ["shares", "values"], "mixed"),
        ("MatMul", ["mixed", "out"], "logits"), ("Add", ["count", "0" if fault == "stuck" else "time"], "new_count"),
    ]  # fmt: skip
    keys, values = ("values", "keys") if fault == "crossed" else ("keys", "values")
    if fault == "first":
        lines += [("Slice", [name, "from", "one", "rows axis"], f"first {name}") for name in (keys, values)]
        keys, values = f"first {keys}", f"first {values}"
    lines += [("Identity", [keys], "present_k"), ("Identity", [values], "present_v")]
    more = {
        "Concat": {"axis": 1}, "Transpose": {"perm": [0, 2, 1]}, "Trilu": {"upper": 0}, "Softmax": {"axis": -1},
        "Cast": {"to": TensorProto.BOOL},
        "ConstantOfShape": {"value": helper.make_tensor("zero", int64, [1], [0])},
    }  # fmt: skip
    cache = [
        [f"{which}_{name}", dtype, ["rows", f"{which} time", UNITS]] for which in ("past", "present") for name in "kv"
    ]
    counts = [[name, int64, ["rows"]] for name in ("count", "new_count")]
    ids = ["ids", dtype, ["rows", "time", V]] if one_hot else ["ids", int64, ["rows", "time"]]
    ports = [helper.make_tensor_value_info(*each) for each in (ids, counts[0], *cache[:2])]
    results = [["logits", dtype, ["rows", "time", V]], counts[1], *cache[2:]]
    nodes = [helper.make_node(kind, given, [name], **more.get(kind, {})) for kind, given, name in lines]
    return graph_of(nodes, ports, [helper.make_tensor_value_info(*each) for each in results], weights)


def graph_of(nodes, inputs, outputs, weights):  # type: ignore[no-untyped-def]
    stored = [
        numpy_helper.from_array(array.astype(np.float32) if array.dtype == np.float64 else array, name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, "model", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def by_hand(model: onnx.ModelProto, ids: np.ndarray | None = None, length: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ids, and the loss of every one after the first, by a loop in NumPy over the weights of `lstm`.

    Without ids, `length` of them are drawn from the predictions.
    """
    weights = {each.name: numpy_helper.to_array(each).astype(np.float64) for each in model.graph.initializer}
    state, read, losses = np.zeros((LAYERS, 2, UNITS)), [0] if ids is None else [*ids[:1]], []
    random = np.random.default_rng(5)
    for at in range(1, length or len(ids)):
        x = weights["table"][read[-1]]
        for layer in range(LAYERS):
            h, c = state[layer]
            i, o, f, g = np.split(weights[f"W{layer}"][0] @ x + weights[f"R{layer}"][0] @ h, 4)
            i, o, f = (1 / (1 + np.exp(-gate)) for gate in (i, o, f))
            c = f * c + i * np.tanh(g)
            x = o * np.tanh(c)
            state[layer] = x, c
        exponentials = np.exp(x @ weights["out"])
        chances = exponentials / exponentials.sum()
        read.append(random.choice(V, p=chances) if ids is None else ids[at])
        losses.append(-np.log(chances[read[-1]]))
    return np.array(read), np.array(losses)
