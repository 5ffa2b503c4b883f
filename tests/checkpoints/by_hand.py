"""Files as Keras 2 wrote them, made by hand: its configurations as JSON, its weights with h5py, without Keras 2."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = Sequence[tuple[str, Any]]
"""`(name, values)`, such as `("gru/gru_cell/kernel:0", …)`."""

# What TensorFlow 2 writes for every recurrent layer, beside what differs.
RECURRENT = {
    "trainable": True, "dtype": "float32", "return_sequences": True, "return_state": False, "go_backwards": False,
    "stateful": False, "unroll": False, "time_major": False, "activation": "tanh", "recurrent_activation": "sigmoid",
    "use_bias": True, "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
    "recurrent_initializer": {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}},
    "bias_initializer": {"class_name": "Zeros", "config": {}}, "kernel_regularizer": None,
    "recurrent_regularizer": None, "bias_regularizer": None, "activity_regularizer": None, "kernel_constraint": None,
    "recurrent_constraint": None, "bias_constraint": None, "dropout": 0.0, "recurrent_dropout": 0.0,
    "implementation": 2,
}  # fmt: skip


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def embedding(
    name: str = "embedding", batch_input_shape: Sequence[Any] = (None, None), **config: Any
) -> dict[str, Any]:
    given = {"input_dim": 7, "output_dim": 5, "mask_zero": False, "input_length": None, **config}
    return layer("Embedding", name, dtype="float32", batch_input_shape=batch_input_shape, **given)


def recurrent(kind: str, name: str, units: int, **config: Any) -> dict[str, Any]:
    extra = {"reset_after": True} if kind == "GRU" else {}
    kept = {key: value for key, value in RECURRENT.items() if kind != "SimpleRNN" or key != "recurrent_activation"}
    return layer(kind, name, **{**kept, **extra, "units": units, **config})


def dense(name: str = "dense", units: int = 7, **config: Any) -> dict[str, Any]:
    given = {"trainable": True, "dtype": "float32", "activation": "linear", "use_bias": True, **config}
    return layer("Dense", name, units=units, **given)


def sequential(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(layers)}}


def drawn(*shapes: Sequence[int], seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.5, shape).astype("float32") for shape in shapes]


def weights_of(config: Any, seed: int = 0) -> list[tuple[str, Arrays]]:
    """Draw weights for a Sequential of embeddings, recurrent and dense layers whose inputs have 5 numbers, or V."""
    found, inputs = [], 7
    for number, item in enumerate(config["config"]["layers"]):
        kind, given = item["class_name"], item["config"]
        name, units = given["name"], given.get("units", given.get("output_dim"))
        gates = {"GRU": 3, "LSTM": 4, "SimpleRNN": 1}.get(kind, 0)
        if kind == "Embedding":
            shapes = {"embeddings": (given["input_dim"], units)}
        elif gates:
            bias = (2, 3 * units) if given.get("reset_after") else (gates * units,)
            shapes = {"kernel": (inputs, gates * units), "recurrent_kernel": (units, gates * units), "bias": bias}
        else:
            shapes = {"kernel": (inputs, units), "bias": (units,)} if kind == "Dense" else {}
        values = drawn(*shapes.values(), seed=100 * seed + number)
        found.append((name, [(f"{name}/{role}:0", value) for role, value in zip(shapes, values, strict=True)]))
        inputs = units or inputs
    return found


def write(path: Path, config: Any, layers: Sequence[tuple[str, Arrays]], version: str = "2.4.0") -> Path:
    """Write a whole model, or weights alone where config is None."""
    with h5py.File(path, "w") as file:
        group = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            file.attrs["keras_version"], file.attrs["backend"] = version.encode(), b"tensorflow"
            group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([name.encode() for name, _ in layers])
        for name, arrays in layers:
            inner = group.create_group(name)
            inner.attrs["weight_names"] = np.array([weight.encode() for weight, _ in arrays], dtype="S40")
            for weight, values in arrays:
                inner[weight] = values
    return path
