"""Families of hostile checkpoints and tokenizers for `benchmarks/hostile_growth.py`."""

import random
from pathlib import Path

import h5py

from benchmarks.hostile_growth import family
from tests.hostile.plain import keras_file, weights

SIZES = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)


@family("attributes", SIZES, tensorflow=True)
def hdf5_attributes(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Attributes of one group in the weights of a `.keras` file."""

    def edit(file: h5py.File) -> None:
        for number in range(size):
            file["layers"].attrs[f"{number}-{rng.random()}"] = rng.random()

    return ["open", str(keras_file(folder / "m.keras", stored=weights(edit)))]
