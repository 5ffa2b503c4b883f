"""A small model of Keras 3 written by hand, as JSON and HDF5, without Keras: what the hostile files are made of."""

import base64
import copy
import io
import json
import marshal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

WIDTH, UNITS = 7, 4
Edit = Callable[[Any], Any]


def layer(kind: str, **config: Any) -> dict[str, Any]:
    config.setdefault("name", kind.lower())
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def plain_config() -> dict[str, Any]:
    layers = [
        layer("InputLayer", batch_shape=[None, None], dtype="float32", sparse=False),
        layer("Embedding", input_dim=WIDTH, output_dim=3),
        layer("GRU", units=UNITS, return_sequences=True),
        layer("Dense", units=WIDTH),
    ]
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "layers": layers},
        "registered_name": "Sequential",
        "build_config": {"input_shape": [None, None]},
    }


def tensor(of: str) -> dict[str, Any]:
    """What a layer gives, as the configuration of a functional model refers to it."""
    held = {"shape": [None, 1], "dtype": "float32", "keras_history": [of, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": held}


def functional(*added: dict[str, Any], through: str = "in") -> dict[str, Any]:
    """A functional model of an input and a Dense layer that reads `through`, and layers that are called on the way."""
    begin = layer("InputLayer", batch_shape=[None, 1], dtype="float32", sparse=False, name="in")
    dense = layer("Dense", units=1, name="dense")
    inside = [{**begin, "name": "in", "inbound_nodes": []}, *added]
    inside.append({**dense, "name": "dense", "inbound_nodes": [{"args": [tensor(through)], "kwargs": {}}]})
    config = {
        "name": "f", "trainable": True, "layers": inside,
        "input_layers": [["in", 0, 0]], "output_layers": [["dense", 0, 0]],
    }  # fmt: skip
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": config,
            "registered_name": "Functional"}  # fmt: skip


def plain_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "layers/embedding/vars/0": (WIDTH, 3),
        "layers/gru/cell/vars/0": (3, 3 * UNITS),
        "layers/gru/cell/vars/1": (UNITS, 3 * UNITS),
        "layers/gru/cell/vars/2": (2, 3 * UNITS),
        "layers/dense/vars/0": (UNITS, WIDTH),
        "layers/dense/vars/1": (WIDTH,),
    }
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def weights(edit: Edit | None = None) -> bytes:
    """The HDF5 file of the weights, after `edit(file)`."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for name, array in plain_arrays().items():
            file[name] = array
        if edit is not None:
            edit(file)
    return held.getvalue()


def members(config: Any = None, stored: bytes | None = None) -> dict[str, bytes]:
    text = config if isinstance(config, bytes) else json.dumps(config or plain_config()).encode()
    return {
        "metadata.json": b'{"keras_version": "3.8.0", "date_saved": "2026-01-01@00:00:00"}',
        "config.json": text,
        "model.weights.h5": stored if stored is not None else weights(),
    }


def keras_file(path: Path, config: Any = None, stored: bytes | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members(config, stored).items():
            archive.writestr(name, content)
    return path


def with_layers(*added: dict[str, Any]) -> dict[str, Any]:
    """The plain configuration with more layers at its end."""
    config = copy.deepcopy(plain_config())
    config["config"]["layers"] += added
    return config


def bytecode(code: str) -> Any:
    """A function that runs `code` and gives its argument back, marshalled as Keras keeps one."""
    source = f"lambda x: (exec({code!r}), x)[1]"
    packed = base64.b64encode(marshal.dumps(eval(source).__code__)).decode("ascii")  # noqa: S307 - ours
    return {"class_name": "__lambda__", "config": {"code": packed, "defaults": None, "closure": None}}


def pickled(code: str) -> bytes:
    """A pickle that runs `code`."""
    import pickle

    class Runs:
        def __reduce__(self) -> tuple:
            return exec, (code,)

    return pickle.dumps(Runs(), 4)
