"""ONNX graphs of two decaying sums of embeddings and a counter of tokens, with inputs and axes of many kinds.

```text
slow = 0.9 slow + e     fast = 0.5 fast + e     logits = slow A + tanh(fast) B + sin(step) w
```
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.wiring.onnx.zoo import FLOAT, V, graph_of

HALF, INT64 = TensorProto.FLOAT16, TensorProto.INT64
SLOW, FAST = 0.9, 0.5


def weights_of(units: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(7).normal
    return {
        "table": draw(0, 1, (V, units)),
        "A": draw(0, 1, (units, V)),
        "B": draw(0, 1, (units, V)),
        "w": draw(0, 1, V),
    }


def stored(kind: np.dtype[Any], units: int) -> dict[str, np.ndarray]:
    weights = {name: array.astype(kind) for name, array in weights_of(units).items()}
    weights |= {"slow rate": kind.type(SLOW), "fast rate": kind.type(FAST), "none": kind.type(0), "some": kind.type(1)}
    weights["flat"] = np.array([-1, V])
    return weights | {str(n): np.array(n) for n in (-1, 0, 1)} | {f"[{n}]": np.array([n]) for n in (-1, 0, 1, 2)}


class Nodes(list[Any]):
    """Nodes in the order in which they run; a call adds one, and returns the name of its output."""

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        self.append(helper.make_node(op, inputs, [f"value {len(self)}"], **attributes))
        return self[-1].output[0]

    def arranged(self, value: str, axes: str, *, back: bool = False) -> str:
        """Return a value with the axes of the ids as `(rows, time, …)`; `back`: the other way."""
        if axes in {"rt", "tr"}:
            return self("Transpose", value, perm=[1, 0, 2] if axes == "tr" else [0, 1, 2])
        return self("Squeeze" if back else "Unsqueeze", value, "[0]" if axes == "t" else "[1]")


def embeddings(run: Nodes, ids: int, one_hot: bool, extra: str, axes: str) -> str:
    """Return the embeddings `(rows, time, units)` of ids, with what an extra input makes of them."""
    whole = run("Cast", "ids", to=INT64) if ids in {FLOAT, TensorProto.UINT8} else "ids"
    embedded = run.arranged(run("MatMul", "ids", "table") if one_hot else run("Gather", "table", whole), axes)
    if extra == "style":
        return run("Add", embedded, run("Unsqueeze", "style", "[1]"))
    return run("Mul", embedded, run("Unsqueeze", "mask", "[2]")) if extra == "mask" else embedded


def sums_by(run: Nodes, embedded: str, states: Sequence[str], times: str, axes: str) -> tuple[list[str], list[str]]:
    """Return both decaying sums after every token, `(rows, time, units)`, and after the last, as the states are."""
    column = run("Unsqueeze", times, "[1]")
    apart = run("Max", run("Sub", column, run("Unsqueeze", times, "[0]")), "none")
    sums, news = [], []
    for rate, state in zip(("slow rate", "fast rate"), states, strict=True):
        kept = run("Trilu", run("Pow", rate, apart), upper=0)
        before = run("Unsqueeze", state, "[0]" if axes == "t" else "[1]")
        left = run("Mul", run("Pow", rate, run("Add", column, "some")), before)
        sums.append(run("Add", run("MatMul", kept, embedded), left))
        last = run("Gather", sums[-1], "-1", axis=1)
        news.append(run("Squeeze", last, "[0]") if axes == "t" else last)
    return sums, news


def graph(
    *,
    fault: str = "",
    ids: int = INT64,
    one_hot: bool = False,
    dtype: int = FLOAT,
    axes: str = "rt",
    rows: int | str = "rows",
    time: int | str = "time",
    inputs: Sequence[str] = ("slow", "fast", "step"),
    outputs: Sequence[str] = ("logits", "new_slow", "new_fast", "new_step"),
    extra: str = "",
    units: int = 6,
) -> onnx.ModelProto:
    """Return a graph; without a third input it does not count, and with one alone both sums are stacked in it.

    `axes` are those of the ids: r for rows, t for tokens. `extra` is an input (`mask`, `labels` or `style`), or
    `features`, an output before the logits, or logits after the `last` token alone (`last alone`: with three axes), or
    logits with one axis for rows and tokens (`flat`).
    `fault` is `crossed`, `dropped` (slow stays) or `stuck` (it never counts).
    """
    run = Nodes()
    embedded = embeddings(run, ids, one_hot, extra, axes)
    count = run("Gather", run("Shape", embedded), "1")
    places = run("Range", "0", count, "1")
    states = [run("Gather", inputs[0], str(at)) for at in (0, 1)] if len(inputs) == 1 else inputs[:2]
    sums, news = sums_by(run, embedded, states, run("Cast", places, to=dtype), axes)
    logits = run("Add", run("MatMul", sums[0], "A"), run("MatMul", run("Tanh", sums[1]), "B"))
    if len(inputs) == 3:
        angles = run("Cast", run("Add", run("Unsqueeze", inputs[2], "[1]"), places), to=dtype)
        logits = run("Add", logits, run("Mul", run("Unsqueeze", run("Sin", angles), "[2]"), "w"))
        news.append(run("Add", inputs[2], "0" if fault == "stuck" else count))
    if fault == "crossed":
        news[:2] = news[1::-1]
    if fault == "dropped":
        news[0] = run("Identity", inputs[0])
    if len(inputs) == 1:
        news = [run("Concat", *(run("Unsqueeze", new, "[0]") for new in news), axis=0)]
    if extra in {"last", "last alone"}:
        logits = run("Gather", logits, "-1" if extra == "last" else "[-1]", axis=1)
    results = [logits if extra == "last" else run.arranged(logits, axes, back=True), *news]
    if extra == "flat":
        results[0] = run("Reshape", results[0], "flat")
    sizes = [{"r": rows, "t": time}[axis] for axis in axes]
    state = [dtype, ([2] if len(inputs) == 1 else []) + ([units] if axes == "t" else [rows, units])]
    kinds = [state, state, [INT64, [rows]]][: len(inputs)]
    others = {"mask": [dtype, sizes], "labels": [INT64, sizes], "style": [dtype, [rows, units]]}
    ports = [["ids", dtype, [*sizes, V]] if one_hot else ["ids", ids, sizes]]
    ports += [[extra, *others[extra]]] if extra in others else []
    ports += [[name, *kind] for name, kind in zip(inputs, kinds, strict=True)]
    shape = [*{"last": [rows], "last alone": [rows, 1], "flat": ["all"]}.get(extra, sizes), V]
    out_ports = [[name, *kind] for name, kind in zip(outputs, [[dtype, shape], *kinds], strict=False)]
    if extra == "features":
        results.insert(0, sums[0])
        out_ports.insert(0, ["features", dtype, [*sizes, units]])
    return model_of(run, ports, out_ports, results, stored(helper.tensor_dtype_to_np_dtype(dtype), units))


def model_of(run: Nodes, ports: Sequence[Any], outputs: Sequence[Any], values: Sequence[str], weights: Any) -> Any:
    """Return the graph of nodes whose values get the names of its outputs; ports are names, types and sizes."""
    for value, (name, *_) in zip(values, outputs, strict=True):
        run.append(helper.make_node("Identity", [value], [name]))
    return graph_of(
        run, *([helper.make_tensor_value_info(*each) for each in these] for these in (ports, outputs)), weights
    )


def by_hand(ids: np.ndarray, *, steps: bool = True, units: int = 6) -> np.ndarray:
    """Return the loss of every id after the first, by a loop in NumPy."""
    weights = {name: array.astype(np.float32).astype(np.float64) for name, array in weights_of(units).items()}
    rates = [float(np.float32(rate)) for rate in (SLOW, FAST)]
    slow, fast, losses = 0.0, 0.0, []
    for at, (id_, after) in enumerate(pairwise(ids)):
        slow, fast = (rate * old + weights["table"][id_] for rate, old in zip(rates, (slow, fast), strict=True))
        logits = slow @ weights["A"] + np.tanh(fast) @ weights["B"] + (np.sin(at) * weights["w"] if steps else 0)
        losses.append(np.log(np.exp(logits).sum()) - logits[after])
    return np.array(losses)
