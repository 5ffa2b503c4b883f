"""One contender of speed_peers.py: a process that reads a file, scores it, and says how long that took.

    python benchmarks/speed_rivals.py RIVAL MODEL.keras VOCABULARY.json --tokens char      (texts by name on stdin)

Rivals: rnneval-keras and rnneval-numpy (its backends), keras (a stateful model under `evaluate`), torch (a loop like
its word_language_model example), onnx (ONNX Runtime). The last two run where PyTorch and ONNX Runtime are installed,
without TensorFlow, from weights in MODEL.npz, which keras writes. A line on stdin is a job, `{"text": …, "rows": …,
"segment": …}`, and a line on stdout its result. Seconds are wall time of everything: reading, encoding, running, adding
up.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Job = dict[str, Any]
Result = dict[str, Any]


def encoded(text: Path, vocabulary: dict[str, int], tokens: str) -> np.ndarray:
    """Ids of a text, as the tutorials make them."""
    read = text.read_text(encoding="utf-8")
    found = list(read) if tokens == "char" else read.replace("\n", " <eos> ").split()
    unknown = vocabulary.get("<unk>", 0)
    return np.array([vocabulary.get(token, unknown) for token in found], np.int64)


def streams(ids: np.ndarray, rows: int, segment: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut into rows and segments; what is left over is dropped, as everyone does: `(rows, segment)` in and out."""
    length = (len(ids) - 1) // rows
    x, y = (ids[k : k + rows * length].reshape(rows, length) for k in (0, 1))
    whole = length // segment * segment
    if not whole:
        return [(x, y)]
    return [(x[:, k : k + segment], y[:, k : k + segment]) for k in range(0, whole, segment)]


def weights_of(model: Path) -> dict[str, np.ndarray]:
    """The arrays of a model, without Keras."""
    with np.load(model.with_suffix(".npz")) as found:
        return dict(found)


def write_weights(model: Any, path: Path) -> None:
    """Put a model's arrays where the others find them."""
    arrays, recurrent = {"embedding": model.layers[0].get_weights()[0]}, model.layers[1:-1]
    for k, layer in enumerate(recurrent):
        arrays |= {
            f"{name}{k}": a for name, a in zip(("kernel", "recurrent", "bias"), layer.get_weights(), strict=True)
        }
    arrays |= dict(zip(("dense", "dense_bias"), model.layers[-1].get_weights(), strict=True))
    np.savez(path.with_suffix(".npz"), **arrays)


def rnneval_rival(backend: str, path: Path, vocabulary: Path, tokens: str) -> Callable[[Job], Result]:
    import rnneval
    from rnneval.text import Vocabulary

    lm = rnneval.open(path, vocabulary=Vocabulary.from_file(vocabulary, kind=tokens), backend=backend)

    def run(job: Job) -> Result:
        if "gemm" in job:
            return gemm(*job["gemm"])
        told = {key: job[key] for key in ("kernel", "streams", "segment") if key in job}
        unknown = "error" if tokens == "char" else "<unk>"
        measured = rnneval.evaluate(lm, job["text"], states=False, check=False, unknown=unknown, **told)
        return {
            "tokens": measured.tokens.scored,
            "mean": measured.total_nats / measured.tokens.scored,
            "rows": measured.streams.count,
            "kernel": measured.streams.kernel,
            "read_again": measured.streams.tokens_rerun,
        }

    return run


def gemm(rows: int, inner: int, columns: int) -> Result:
    """The limit: how many products and sums a second TensorFlow's matrix product makes of one shape, at its best."""
    import tensorflow as tf

    a, b = (tf.random.normal(shape) for shape in ((rows, inner), (inner, columns)))
    product = tf.function(lambda: tf.matmul(a, b))
    repeats = max(4, int(2e9 / (rows * inner * columns)))
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(repeats):
            out = product()
        out.numpy()
        best = min(best, (time.perf_counter() - began) / repeats)
    return {"flops_a_second": 2.0 * rows * inner * columns / best}


def keras_rival(path: Path, vocabulary: Path, tokens: str) -> Callable[[Job], Result]:
    import keras
    import tensorflow as tf

    model, ids_of = keras.models.load_model(path, compile=False), ids_by(vocabulary)
    if not path.with_suffix(".npz").exists():
        write_weights(model, path)
    made: dict[tuple[int, int], Any] = {}

    def stateful(rows: int, segment: int) -> Any:
        if (rows, segment) not in made:
            layers = []
            for layer in model.layers:
                config = layer.get_config()
                recurrent = isinstance(layer, keras.layers.RNN)
                layers.append(type(layer).from_config(config | ({"stateful": True} if recurrent else {})))
            again = keras.Sequential([keras.Input(batch_shape=(rows, segment), dtype="int32"), *layers])
            again.set_weights(model.get_weights())
            again.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            made[rows, segment] = again
        again = made[rows, segment]
        for layer in again.layers:
            if hasattr(layer, "reset_state"):
                layer.reset_state()
        return again

    def run(job: Job) -> Result:
        pieces = streams(encoded(Path(job["text"]), ids_of, tokens), job["rows"], job["segment"])
        x, y = (np.concatenate([piece[k] for piece in pieces]) for k in (0, 1))
        again = stateful(*pieces[0][0].shape)
        if not job.get("exactly"):
            mean = again.evaluate(x, y, batch_size=job["rows"], verbose=0)
            return {"tokens": int(y.size), "mean": float(mean)}
        total = 0.0  # `evaluate` adds up in float32
        for piece, targets in pieces:
            logits = again.predict_on_batch(piece)
            total += float(
                tf.reduce_sum(tf.cast(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits), "float64"))
            )
        return {"tokens": int(y.size), "mean": total / y.size}

    return run


def ids_by(vocabulary: Path) -> dict[str, int]:
    return {token: k for k, token in enumerate(json.loads(vocabulary.read_text(encoding="utf-8")))}


def torch_rival(path: Path, vocabulary: Path, tokens: str) -> Callable[[Job], Result]:
    import torch
    from torch import nn

    arrays, ids_of = weights_of(path), ids_by(vocabulary)
    depth, units = sum(name.startswith("kernel") for name in arrays), arrays["recurrent0"].shape[0]
    lstm = arrays["recurrent0"].shape[1] == 4 * units
    recurrent = (nn.LSTM if lstm else nn.GRU)(arrays["embedding"].shape[1], units, depth, batch_first=True)

    def ordered(a: np.ndarray) -> np.ndarray:
        """PyTorch's order of gates: r, z, n; the LSTM's is Keras'."""
        parts = np.split(a, 4 if lstm else 3, axis=-1)
        return np.concatenate(parts if lstm else [parts[1], parts[0], parts[2]], axis=-1)

    def tensor(a: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(a))

    with torch.no_grad():
        for k in range(depth):
            bias = arrays[f"bias{k}"]
            into, back = (bias, np.zeros_like(bias)) if lstm else bias
            for name, a in zip(
                ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
                (arrays[f"kernel{k}"], arrays[f"recurrent{k}"], into, back),
                strict=True,
            ):
                getattr(recurrent, f"{name}_l{k}").copy_(tensor(ordered(a).T if a.ndim == 2 else ordered(a)))
    embedding = nn.Embedding.from_pretrained(tensor(arrays["embedding"]))
    decoder = nn.Linear(units, arrays["dense"].shape[1])
    with torch.no_grad():
        decoder.weight.copy_(tensor(arrays["dense"].T))
        decoder.bias.copy_(tensor(arrays["dense_bias"]))
    loss = nn.CrossEntropyLoss(reduction="sum")
    recurrent.eval()

    def run(job: Job) -> Result:
        hidden, total, count = None, 0.0, 0
        with torch.inference_mode():
            for x, y in streams(encoded(Path(job["text"]), ids_of, tokens), job["rows"], job["segment"]):
                out, hidden = recurrent(embedding(torch.from_numpy(x)), hidden)
                logits = decoder(out)
                total += loss(logits.reshape(-1, logits.shape[-1]), torch.from_numpy(y).reshape(-1)).item()
                count += y.size
        return {"tokens": count, "mean": total / count}

    return run


def onnx_rival(path: Path, vocabulary: Path, tokens: str) -> Callable[[Job], Result]:
    import onnxruntime

    arrays, ids_of = weights_of(path), ids_by(vocabulary)
    model, states = onnx_model(arrays)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    units = arrays["recurrent0"].shape[0]

    def run(job: Job) -> Result:
        state = {name: np.zeros((1, job["rows"], units), np.float32) for name in states}
        total, count = 0.0, 0
        for x, y in streams(encoded(Path(job["text"]), ids_of, tokens), job["rows"], job["segment"]):
            losses, *new = session.run(None, {"ids": x.T, "targets": y.T[..., None], **state})
            state = dict(zip(states, new, strict=True))
            total += float(losses.sum(dtype=np.float64))
            count += y.size
        return {"tokens": count, "mean": total / count}

    return run


def onnx_model(arrays: dict[str, np.ndarray]) -> tuple[Any, list[str]]:
    """The same model in ONNX, time first; its states are inputs and outputs. Losses are computed in the graph."""
    from onnx import TensorProto, helper, numpy_helper

    units = arrays["recurrent0"].shape[0]
    lstm = arrays["recurrent0"].shape[1] == 4 * units
    constants, nodes, states, new = [], [], [], []

    def constant(name: str, a: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(a), name))
        return name

    def ordered(a: np.ndarray) -> np.ndarray:
        """ONNX' order of gates: i, o, f, c; the GRU's is Keras'."""
        parts = np.split(a, 4 if lstm else 3, axis=-1)
        return np.concatenate([parts[k] for k in (0, 3, 1, 2)] if lstm else parts, axis=-1)

    nodes.append(helper.make_node("Gather", [constant("table", arrays["embedding"]), "ids"], ["x0"]))
    for k in range(sum(name.startswith("kernel") for name in arrays)):
        bias = arrays[f"bias{k}"]
        into, back = (bias, np.zeros_like(bias)) if lstm else bias
        both = np.concatenate([ordered(into), ordered(back)])[None]
        given = [f"h{k}", f"c{k}"] if lstm else [f"h{k}"]
        inputs = [f"x{k}", constant(f"w{k}", ordered(arrays[f"kernel{k}"]).T[None])]
        inputs += [constant(f"r{k}", ordered(arrays[f"recurrent{k}"]).T[None]), constant(f"b{k}", both), "", *given]
        outputs = [f"y{k}", *(f"{name}'" for name in given)]
        options = {} if lstm else {"linear_before_reset": 1}
        nodes.append(helper.make_node("LSTM" if lstm else "GRU", inputs, outputs, hidden_size=units, **options))
        nodes.append(helper.make_node("Squeeze", [f"y{k}", constant(f"one{k}", np.array([1]))], [f"x{k + 1}"]))
        states, new = states + given, new + outputs[1:]
    depth = len(new) // (2 if lstm else 1)
    nodes.append(helper.make_node("MatMul", [f"x{depth}", constant("dense", arrays["dense"])], ["product"]))
    nodes.append(helper.make_node("Add", ["product", constant("dense_bias", arrays["dense_bias"])], ["logits"]))
    nodes.append(helper.make_node("LogSoftmax", ["logits"], ["log_p"], axis=-1))
    nodes.append(helper.make_node("GatherElements", ["log_p", "targets"], ["picked"], axis=2))
    nodes.append(helper.make_node("Neg", ["picked"], ["losses"]))

    def value(name: str, kind: int, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    state = [value(name, TensorProto.FLOAT, [1, "rows", units]) for name in states]
    ids = value("ids", TensorProto.INT64, ["time", "rows"])
    targets = value("targets", TensorProto.INT64, ["time", "rows", 1])
    out = [value("losses", TensorProto.FLOAT, ["time", "rows", 1])]
    out += [value(name, TensorProto.FLOAT, [1, "rows", units]) for name in new]
    graph = helper.make_graph(nodes, "lm", [ids, targets, *state], out, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), states


RIVALS = {
    **{f"rnneval-{backend}": partial(rnneval_rival, backend) for backend in ("keras", "numpy")},
    "keras": keras_rival,
    "torch": torch_rival,
    "onnx": onnx_rival,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rival", choices=RIVALS)
    parser.add_argument("model", type=Path)
    parser.add_argument("vocabulary", type=Path)
    parser.add_argument("--tokens", choices=["char", "word"], required=True)
    given = parser.parse_args()
    run = RIVALS[given.rival](given.model, given.vocabulary, given.tokens)
    for line in sys.stdin:
        began = time.perf_counter()
        found = run(json.loads(line))
        print(json.dumps(found | {"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
