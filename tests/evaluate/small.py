"""Small models and texts for the engine's tests, and the independent loop that says what their losses are."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np
import pandas as pd
import tensorflow as tf

import rnneval
from rnneval.records import Run
from rnneval.text import Vocabulary
from tests.oracles import Stack, stack_of

LETTERS = "abcdefg \n"
WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "so", "did", "dog", "<eos>")

LAYERS = {
    "GRU": lambda units: keras.layers.GRU(units, return_sequences=True),
    "GRU reset before": lambda units: keras.layers.GRU(units, return_sequences=True, reset_after=False),
    "LSTM": lambda units: keras.layers.LSTM(units, return_sequences=True),
    "SimpleRNN": lambda units: keras.layers.SimpleRNN(units, return_sequences=True),
}


@dataclass(frozen=True, kw_only=True)
class Small:
    """A model, and the same numbers as a float64 loop."""

    lm: Any
    oracle: Stack


def stacked(
    kind: str, units: tuple[int, ...], vocabulary: tuple[str, ...] = tuple(LETTERS), scale: float = 1.0
) -> Small:
    """A stack that forgets (scale 1: weights about half of what orthogonal ones are), or does not (scale 8)."""
    keras.utils.set_random_seed(len(units))
    width = len(vocabulary)
    recurrent = [LAYERS[kind](n) for n in units]
    model = keras.Sequential([keras.layers.Embedding(width, 6), *recurrent, keras.layers.Dense(width)])
    model(tf.ones((1, 1), tf.int32))
    rng = np.random.default_rng(0)
    model.set_weights(
        [(rng.standard_normal(w.shape) * 0.5 * scale / np.sqrt(w.shape[0])).astype("f4") for w in model.get_weights()]
    )
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(vocabulary)))
    return Small(lm=lm, oracle=stack_of(model.layers[0], recurrent, model.layers[-1]))


def linear(recurrent: np.ndarray, scale: float = 1.0) -> Small:
    """A linear RNN with a given recurrent kernel: what it remembers is known in closed form."""
    units, width = len(recurrent), len(LETTERS)
    layer = keras.layers.SimpleRNN(units, return_sequences=True, activation="linear")
    model = keras.Sequential([keras.layers.Embedding(width, units), layer, keras.layers.Dense(width)])
    model(tf.ones((1, 1), tf.int32))
    rng = np.random.default_rng(0)
    model.layers[0].set_weights([(rng.standard_normal((width, units)) * 0.1).astype("f4")])
    layer.set_weights([np.eye(units, dtype="f4"), recurrent.astype("f4"), np.zeros(units, "f4")])
    model.layers[2].set_weights([(rng.standard_normal((units, width)) * scale).astype("f4"), np.zeros(width, "f4")])
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(list(LETTERS)))
    return Small(lm=lm, oracle=stack_of(model.layers[0], [], model.layers[2]))


def on_numpy(small: Small) -> Small:
    """The same model, run by NumPy: no graph has to be made, which takes longer than to read a short text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        small.lm.model.save(path)
        return replace(small, lm=rnneval.open(path, backend="numpy", vocabulary=small.lm.vocabulary))


def counter() -> Small:
    """A model that counts its tokens, exact in float32, and never forgets: its losses are known in closed form."""
    small = linear(np.eye(1), scale=1e-4)
    small.lm.model.layers[0].set_weights([np.ones((len(LETTERS), 1), "f4")])
    return small


def counter_losses(small: Small, text: Path) -> np.ndarray:
    """The loss of each token of a text but the first, by the model that counts."""
    kernel, bias = (np.asarray(w, np.float64) for w in small.lm.model.layers[2].get_weights())
    ids = ids_of(text)
    logits = np.arange(1, len(ids))[:, None] * kernel + bias
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(ids) - 1), ids[1:]]


def ids_of(text: Path) -> np.ndarray:
    """The ids of a text of the letters."""
    return np.array([LETTERS.index(letter) for letter in text.read_text()])


class Ids:
    """Ids of a text that has no more than them."""

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = ids

    def ids(self, start: int, stop: int) -> np.ndarray:
        return self._ids[start:stop]


def letters(folder: Path, length: int, seed: int = 0) -> Path:
    """Random text of the letters."""
    path = folder / f"letters-{length}-{seed}.txt"
    path.write_text("".join(np.random.default_rng(seed).choice(list(LETTERS), length)))
    return path


def sentences(folder: Path, words: int) -> Path:
    """Random lines of the words."""
    rng = np.random.default_rng(1)
    drawn = rng.choice(list(WORDS[:-1]), words)
    path = folder / f"words-{words}.txt"
    path.write_text("".join(word + ("\n" if rng.random() < 0.2 else " ") for word in drawn[:-1]) + str(drawn[-1]))
    return path


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A run, and the loss of each of its tokens."""

    run: Run
    losses: pd.DataFrame

    @property
    def nats(self) -> Any:
        return self.losses["nats"].to_numpy()


def evaluated(model: Any, text: Path, **options: Any) -> Evaluated:
    """Evaluate a small model, or an opened one, without the wiring check, and read the losses back."""
    parquet, lm = text.with_suffix(".parquet"), model.lm if isinstance(model, Small) else model
    run = rnneval.evaluate(lm, text, check=False, losses=parquet, **options)
    return Evaluated(run=run, losses=pd.read_parquet(parquet))


def codes(run: Run) -> set[str]:
    """The codes of a run's warnings."""
    return {warning.code for warning in run.warnings}


def numbers_of(summary):
    """Return the numbers of the summary of a state by name; those of a course or an interval have a name each."""
    flat = {}
    for name, value in msgspec.to_builtins(summary).items():
        if name == "norms":
            flat |= {f"norms.{at}": each for at, each in enumerate(value)}
        elif name == "growth":
            flat |= {f"growth.{key}": each for key, each in value.items() if key != "unit"}
        else:
            flat[name] = value
    return flat
