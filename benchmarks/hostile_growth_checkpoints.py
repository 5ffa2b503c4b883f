"""Families of hostile checkpoints for `benchmarks/hostile_growth.py`."""

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.hostile_growth import family
from tests.hostile.plain import functional, keras_file, layer, members, plain_config, tensor, weights, with_layers

SIZES = (10, 30, 100, 300, 1_000, 3_000, 10_000)
LAYERS = (10, 30, 100, 110, 200, 300, 340, 1_000, 3_000, 10_000)


@family("attributes", SIZES, tensorflow=True)
def hdf5_attributes(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Attributes of one group in the weights of a `.keras` file."""

    def edit(file: h5py.File) -> None:
        for number in range(size):
            file["layers"].attrs[f"{number}-{rng.random()}"] = rng.random()

    return ["open", str(keras_file(folder / "m.keras", stored=weights(edit)))]


@family("datasets", SIZES, tensorflow=True)
def hdf5_datasets(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Datasets of one group beside the weights."""

    def edit(file: h5py.File) -> None:
        for number in range(size):
            file[f"extra/{number}"] = np.float32(rng.random())

    return ["open", str(keras_file(folder / "m.keras", stored=weights(edit)))]


@family("groups", SIZES, tensorflow=True)
def hdf5_groups(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Groups, each in one that was made before it."""

    def edit(file: h5py.File) -> None:
        made = [file]
        for number in range(size):
            made.append(rng.choice(made[-20:]).create_group(f"g{number}"))

    return ["open", str(keras_file(folder / "m.keras", stored=weights(edit)))]


@family("members", SIZES, tensorflow=True)
def zip_members(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Assets of a `.keras` file."""
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        for name, content in members().items():
            archive.writestr(name, content)
        for number in range(size):
            archive.writestr(f"assets/{number}", rng.randbytes(20))
    return ["open", str(folder / "m.keras")]


@family("layers", LAYERS, tensorflow=True)
def sequential_layers(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Dropout layers of a Sequential model."""
    added = [layer("Dropout", rate=rng.random() / 2, name=f"d{number}") for number in range(size)]
    return ["open", str(keras_file(folder / "m.keras", config=with_layers(*added)))]


def chain(*added: dict[str, Any]) -> dict[str, Any]:
    """A functional model of the layers of the plain one, with more before its last; the plain weights fit."""
    begin, *layers, dense = plain_config()["config"]["layers"]
    made, before = [], "in"
    for held in (*layers, *added):
        name = held["config"]["name"]
        made.append({**held, "name": name, "inbound_nodes": [{"args": [tensor(before)], "kwargs": {}}]})
        before = name
    whole = functional(*made, through=before)
    whole["config"]["layers"][0]["config"]["batch_shape"] = begin["config"]["batch_shape"]
    whole["config"]["layers"][-1]["config"]["units"] = dense["config"]["units"]
    return whole


@family("layers", LAYERS, tensorflow=True)
def functional_layers(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Dropout layers of a functional model, one after the other."""
    added = [layer("Dropout", rate=rng.random() / 2, name=f"d{number}") for number in range(size)]
    return ["open", str(keras_file(folder / "m.keras", config=chain(*added)))]


@family("levels", (*SIZES, 100_000), codes=(2,), tensorflow=True)
def config_depth(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Lists in one another in the configuration."""
    text = b'{"class_name": "Sequential", "config": ' + b"[" * size + b"]" * size + b"}"
    return ["open", str(keras_file(folder / f"{rng.random()}.keras", config=text))]


@family("values", (1_000, 10_000, 100_000, 300_000, 1_000_000, 3_000_000), codes=(2,))
def config_values(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Numbers in the configuration; no checkpoint has a class of this name."""
    text = json.dumps({"class_name": "Odd", "module": "keras.layers", "config": [rng.random() for _ in range(size)]})
    return ["open", str(keras_file(folder / "m.keras", config=text.encode()))]


@family("bytes", (10**6, 10**7, 10**8, 10**9, 5 * 10**9), codes=(2,))
def sparse_hdf5(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A `.weights.h5` file with a hole behind it."""
    path = folder / "m.weights.h5"
    path.write_bytes(weights())
    with path.open("r+b") as file:
        file.truncate(size + rng.randrange(1, 100))
    return ["open", str(path), "--builder", "none.py:Model"]
