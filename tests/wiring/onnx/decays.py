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
    return weights | {str(n): np.array(n) for n in (-1, 0, 1)} | {f"[{n}]": np.array([n]) for n in (-1, 0, 1, 2)}


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
    `features`, an output before the logits, or logits after the `last` token alone (`last alone`: with three axes).
    `fault` is `crossed`, `dropped` (slow stays) or `stuck` (it never counts).
    """
    nodes: list[Any] = []

    def run(op: str, *given: str, **more: Any) -> str:
        nodes.append(helper.make_node(op, given, [f"value {len(nodes)}"], **more))
        return nodes[-1].output[0]

    def arranged(value: str, *, back: bool = False) -> str:
        if axes in {"rt", "tr"}:
            return run("Transpose", value, perm=[1, 0, 2] if axes == "tr" else [0, 1, 2])
        return run("Squeeze" if back else "Unsqueeze", value, "[0]" if axes == "t" else "[1]")

    whole = run("Cast", "ids", to=INT64) if ids in {FLOAT, TensorProto.UINT8} else "ids"
    embedded = arranged(run("MatMul", "ids", "table") if one_hot else run("Gather", "table", whole))
    if extra == "style":
        embedded = run("Add", embedded, run("Unsqueeze", "style", "[1]"))
    if extra == "mask":
        embedded = run("Mul", embedded, run("Unsqueeze", "mask", "[2]"))
    count = run("Gather", run("Shape", embedded), "1")
    times = run("Cast", (places := run("Range", "0", count, "1")), to=dtype)
    column = run("Unsqueeze", times, "[1]")
    apart = run("Max", run("Sub", column, run("Unsqueeze", times, "[0]")), "none")
    before = [run("Gather", inputs[0], str(at)) for at in (0, 1)] if len(inputs) == 1 else inputs[:2]
    sums, news = [], []
    for rate, state in zip(("slow rate", "fast rate"), before, strict=True):
        kept = run("Trilu", run("Pow", rate, apart), upper=0)
        left = run(
            "Mul",
            run("Pow", rate, run("Add", column, "some")),
            run("Unsqueeze", state, "[0]" if axes == "t" else "[1]"),
        )
        sums.append(run("Add", run("MatMul", kept, embedded), left))
        last = run("Gather", sums[-1], "-1", axis=1)
        news.append(run("Squeeze", last, "[0]") if axes == "t" else last)
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
    results = [logits if extra == "last" else arranged(logits, back=True), *news]
    if extra == "features":
        results.insert(0, sums[0])
    sizes = [{"r": rows, "t": time}[axis] for axis in axes]
    state = [dtype, ([2] if len(inputs) == 1 else []) + ([units] if axes == "t" else [rows, units])]
    states = [state, state, [INT64, [rows]]][: len(inputs)]
    others = {"mask": [dtype, sizes], "labels": [INT64, sizes], "style": [dtype, [rows, units]]}
    ports = [["ids", dtype, [*sizes, V]] if one_hot else ["ids", ids, sizes]]
    ports += [[extra, *others[extra]]] if extra in others else []
    ports += [[name, *each] for name, each in zip(inputs, states, strict=True)]
    made = [["features", dtype, [*sizes, units]]] if extra == "features" else []
    made += [
        [outputs[0], dtype, [*{"last": [rows], "last alone": [rows, 1]}.get(extra, sizes), V]],
        *([name, *each] for name, each in zip(outputs[1:], states, strict=False)),
    ]
    nodes += [helper.make_node("Identity", [value], [name]) for value, (name, *_) in zip(results, made, strict=True)]
    declared = ([helper.make_tensor_value_info(*each) for each in these] for these in (ports, made))
    return graph_of(nodes, *declared, stored(helper.tensor_dtype_to_np_dtype(dtype), units))


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
