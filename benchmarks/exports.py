"""Export models with PyTorch, Keras and tf2onnx, check each graph, and write docs/evidence/exports.md.

Needs torch, onnxscript, tensorflow, keras, tf2onnx, onnx and onnxruntime: `python benchmarks/exports.py`. Models are
small and have random weights, so that the states matter; the graphs are those that a deployment would load.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf
import tf2onnx
import torch
from keras import layers

import rnneval
from rnneval.errors import RnnevalError

V, UNITS = 20, 16
VOCABULARY = [chr(97 + each) for each in range(V)]
PAGE = Path(__file__).parent.parent / "docs" / "evidence" / "exports.md"
Export = Callable[[Path], Any]


class Stack(torch.nn.Module):
    """An embedding, layers that take and give their states, and logits; `fault` spoils the states that are given."""

    def __init__(self, kind: str, fault: str = "") -> None:
        super().__init__()
        torch.manual_seed(1)
        self.kind, self.fault = kind, fault
        self.embedding, self.out = torch.nn.Embedding(V, UNITS), torch.nn.Linear(UNITS, V)
        if kind in {"LSTM", "GRU"}:
            self.core = getattr(torch.nn, kind)(UNITS, UNITS, num_layers=2, batch_first=True)
        else:
            self.core = torch.nn.Linear(UNITS, 2 * UNITS)
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, 0, 0.5)

    def forward(self, ids: Any, *states: Any) -> Any:
        """Return logits and the new states."""
        x = self.embedding(ids)
        if self.kind == "LSTM":
            x, new = self.core(x, states)
        elif self.kind == "GRU":
            x, *new = self.core(x, states[0])
        else:  # a short convolution and a decaying sum, as Mamba and RWKV have, over the tokens of a call at once
            shift, total = states
            x = x + torch.cat([shift, x[:, :-1]], 1) if self.fault != "drop" else x + torch.roll(x, 1, 1)
            decay, value = self.core(x).chunk(2, -1)
            logs = torch.cumsum(torch.nn.functional.logsigmoid(decay), 1)
            at = torch.arange(ids.shape[1])
            later = (at[:, None] < at[None])[None, :, :, None]
            kept = torch.exp((logs[:, :, None] - logs[:, None]).masked_fill(later, -1e9))
            x = torch.exp(logs) * total + (kept * value[:, None]).sum(2)
            new = (self.embedding(ids)[:, -1:], x[:, -1:])
        spoil = {"flip": lambda s: s.flip(0), "same": lambda s: s, "zeros": lambda s: s * 0}.get(
            self.fault, lambda s: s
        )
        given = [states[0] * 1 if self.fault == "same" else spoil(new[0]), *map(spoil, new[1:])]
        return self.out(x), *given


def torch_graph(kind: str, *, fault: str = "", time: int = 0, names: bool = True, dynamo: bool = False) -> Export:
    """Return an export of a stack; `fault` is `crossed` or one of the module's; without `time` the axis is free."""

    def export(path: Path) -> None:
        model = Stack(kind, fault).eval()
        batch_axis = 1 if kind in {"LSTM", "GRU"} else 0
        shape = (2, 1, UNITS) if batch_axis else (1, 1, UNITS)
        states = [torch.zeros(shape) for _ in range(1 if kind == "GRU" else 2)]
        letters = ["h", "c"][: len(states)]
        outs = letters[::-1] if fault == "crossed" else letters
        named = {
            "input_names": ["ids", *(f"{x}_in" for x in letters)],
            "output_names": ["logits", *(f"{x}_out" for x in outs)],
        }
        axes: dict[str, Any] = {"ids": {0: "b", 1: "t"}} | {f"{x}_in": {batch_axis: "b"} for x in letters}
        states = states[:1] * 2 if fault == "aliased" else states  # one tensor is the example of both
        ids = torch.zeros((1, time or 6), dtype=torch.long)
        free = {} if time else {"dynamic_axes": axes}
        if dynamo and not time:
            dims = torch.export.Dim("b"), torch.export.Dim("t")
            free = {"dynamic_shapes": ({0: dims[0], 1: dims[1]}, tuple({batch_axis: dims[0]} for _ in states))}
            ids, states = ids.repeat(2, 1), [state.repeat_interleave(2, batch_axis) for state in states]
        arguments = {**(named if names else {}), **free}
        torch.onnx.export(model, (ids, *states), str(path), dynamo=dynamo, verbose=False, **arguments)

    return export


def keras_model(*, crossed: bool = False, one_hot: bool = False) -> keras.Model:
    """Return a functional model of two GRUs, or of an LSTM that reads one-hot rows."""
    keras.utils.set_random_seed(1)
    first, second = keras.Input((UNITS,), name="a"), keras.Input((UNITS,), name="b")
    ids = keras.Input((None, V), name="rows") if one_hot else keras.Input((None,), dtype="int32", name="ids")
    x, setting = ids if one_hot else layers.Embedding(V, 8)(ids), {"return_sequences": True, "return_state": True}
    if one_hot:
        x, one, two = layers.LSTM(UNITS, **setting)(x, initial_state=[first, second])
    else:
        x, one = layers.GRU(UNITS, **setting)(x, initial_state=first)
        x, two = layers.GRU(UNITS, **setting)(x, initial_state=second)
    model = keras.Model([ids, first, second], [layers.Dense(V)(x), *((two, one) if crossed else (one, two))])
    for at, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(at).normal(0, 0.5, weight.shape))
    model([np.zeros((2, 3, V) if one_hot else (2, 3)), np.zeros((2, UNITS)), np.zeros((2, UNITS))])
    return model


def keras_graph(**kind: bool) -> Export:
    return lambda path: keras_model(**kind).export(str(path), format="onnx", verbose=False)


def tf2onnx_graph(path: Path) -> None:
    sizes = {"ids": ((None, None), tf.int32), "a": ((None, UNITS), tf.float32), "b": ((None, UNITS), tf.float32)}
    signature = [tf.TensorSpec(shape, kind, name=name) for name, (shape, kind) in sizes.items()]
    tf2onnx.convert.from_keras(keras_model(), input_signature=signature, output_path=str(path))


def exports() -> Iterator[tuple[str, str, Export]]:
    """Yield what is exported, whether it is right, and the export."""
    for kind in ("LSTM", "GRU", "Mamba-like"):
        for dynamo in (False, True):
            which = "dynamo" if dynamo else "older exporter"
            yield f"PyTorch {kind}, {which}", "right", torch_graph(kind, dynamo=dynamo)
            yield f"PyTorch {kind}, {which}, T = 1", "right", torch_graph(kind, time=1, dynamo=dynamo)
        yield f"PyTorch {kind}, older exporter, no names, T = 5", "right", torch_graph(kind, time=5, names=False)
    aliased = torch_graph("LSTM", time=1, dynamo=True, fault="aliased")
    yield "PyTorch LSTM, dynamo, T = 1, one tensor as example of h and c", "h is lost", aliased
    for fault in ("crossed", "flip", "same", "zeros"):
        yield f"PyTorch LSTM, {fault}", fault, torch_graph("LSTM", fault=fault)
        if fault != "crossed":
            yield f"PyTorch GRU, {fault}", fault, torch_graph("GRU", fault=fault)
    for fault in ("crossed", "same", "zeros", "drop"):
        yield f"PyTorch Mamba-like, {fault}", fault, torch_graph("Mamba-like", fault=fault)
    yield "Keras functional, two GRUs", "right", keras_graph()
    yield "Keras functional, LSTM, one-hot", "right", keras_graph(one_hot=True)
    yield "Keras functional, two GRUs, crossed", "crossed", keras_graph(crossed=True)
    yield "tf2onnx, two GRUs", "right", tf2onnx_graph


def row(name: str, truth: str, export: Export) -> str:
    """Return the line of one export."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            export(path)
        except Exception as error:
            return f"| {name} | {truth} | not exported | {type(error).__name__} |"
        try:
            wiring = rnneval.check(rnneval.from_onnx(path, vocabulary=VOCABULARY))
        except RnnevalError as error:
            return f"| {name} | {truth} | refused | {str(error).rpartition('model.onnx: ')[2][:150]} |"
    said = wiring.reason if wiring.verdict != "fail" else wiring.findings[0].message.partition(". ")[0]
    return f"| {name} | {truth} | {wiring.verdict} | {said.partition('; the behaviour')[0].replace('|', '/')[:190]} |"


def main() -> None:
    warnings.simplefilter("ignore")
    head = PAGE.read_text().partition("| export |")[0]
    lines = ["| export | made | verdict | what `rnneval check` says |", "| --- | --- | --- | --- |"]
    for name, truth, export in exports():
        lines.append(row(name, truth, export))
        print(lines[-1], flush=True)
    PAGE.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
