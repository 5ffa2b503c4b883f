"""Files made by hand for the NumPy backend, and the same numbers as a float64 loop."""

from pathlib import Path
from typing import Any

import numpy as np

import rnneval
from tests.checkpoints import by_hand
from tests.oracles import Layer, Stack

WIDTH = 7
KINDS = {
    "GRU": ("GRU", {}),
    "GRU, reset before": ("GRU", {"reset_after": False}),
    "LSTM": ("LSTM", {}),
    "SimpleRNN": ("SimpleRNN", {}),
}


def stack_file(path: Path, name: str, *, one_hot: bool = False, **dense: Any) -> tuple[Path, Stack]:
    """Write a file of Keras 2 with two recurrent layers; return it and its float64 loop."""
    kind, options = KINDS[name]
    below = [] if one_hot else [by_hand.embedding()]
    if one_hot:
        options = {**options, "batch_input_shape": [None, None, WIDTH]}
    layers = [by_hand.recurrent(kind, "lower", 5, **options), by_hand.recurrent(kind, "upper", 6, **KINDS[name][1])]
    config = by_hand.sequential(*below, *layers, by_hand.dense(**dense))
    weights = by_hand.weights_of(config)
    by_hand.write(path, config, weights)
    return path, stack_of(weights, kind, one_hot=one_hot, reset_after=bool(options.get("reset_after", True)))


def stack_of(weights: Any, kind: str, *, one_hot: bool = False, reset_after: bool = True) -> Stack:
    found = {name: [np.asarray(values, np.float64) for _, values in arrays] for name, arrays in weights}
    layers = tuple(
        Layer(kind=kind, kernel=k, recurrent=u, bias=b, reset_after=reset_after)
        for k, u, b in (found["lower"], found["upper"])
    )
    table = np.eye(WIDTH) if one_hot else found["embedding"][0]
    return Stack(embedding=table, layers=layers, kernel=found["dense"][0], bias=found["dense"][1])


def ids_of(rows: int, time: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, WIDTH, (rows, time)).astype(np.int32)


def open_numpy(path: Any, **options: Any) -> Any:
    return rnneval.open(path, backend="numpy", **options)
