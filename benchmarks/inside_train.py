"""Train the models that docs/inside.md looks into: GRU and LSTM 2 × 256, and one run that is meant to go wrong.

    python benchmarks/inside_train.py FOLDER [gru lstm broken] --text tinyshakespeare.txt --seconds 180

Each is trained on the first 90 % of the text for so many seconds; written are MODEL.keras, MODEL-history (the gradient
history) and vocab.json. Where a gradient is not finite, the steps up to there are printed.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd

from rnneval.callbacks import GradientNorms

ROWS, LENGTH = 32, 100


class Clock(keras.callbacks.Callback):
    """Stops after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Look at the clock."""
        self.model.stop_training = self.model.stop_training or time.monotonic() > self._end


def model_of(name: str, width: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    layer = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM, "broken": keras.layers.SimpleRNN}[name]
    units = 128 if name == "broken" else 256
    options = {"activation": "relu"} if name == "broken" else {}
    model = keras.Sequential(
        [
            keras.layers.Embedding(width, 64, name="embedding"),
            layer(units, return_sequences=True, name=f"{name}_1", **options),
            layer(units, return_sequences=True, name=f"{name}_2", **options),
            keras.layers.Dense(width, name="logits"),
        ]
    )
    good = keras.optimizers.Adam(2e-3, global_clipnorm=1.0)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.SGD(1.0) if name == "broken" else good,
    )
    return model


def segments(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments in random order: `(n, LENGTH)` inputs and targets."""
    count = (len(ids) - 1) // LENGTH
    x = ids[: count * LENGTH].reshape(count, LENGTH)
    y = ids[1 : count * LENGTH + 1].reshape(count, LENGTH)
    order = np.random.default_rng(0).permutation(count)
    return x[order], y[order]


def around(history: Path, step: int) -> str:
    """The model's own rows of the steps before one, and of it, as a table."""
    table = pd.read_parquet(history)
    table = table[(table["layer"] == "") & table["step"].between(step - 4, step)]
    wide = table.pivot_table(index="step", columns="statistic", values="value")
    return str(wide[["grad_norm", "weight_norm", "update_ratio", "not_finite"]].to_string())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=["gru", "lstm", "broken"])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=180)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    text = given.text.read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    (given.folder / "vocab.json").write_text(json.dumps(vocabulary))
    ids = np.array([vocabulary.index(c) for c in text[: int(0.9 * len(text))]], np.int32)
    x, y = segments(ids)
    for name in given.names:
        model = model_of(name, len(vocabulary))
        norms = GradientNorms(given.folder / f"{name}-history", steps_per_part=20, existing="replace")
        seconds = 40 if name == "broken" else given.seconds
        began = time.monotonic()
        done = model.fit(x, y, batch_size=ROWS, epochs=20, shuffle=False, verbose=0, callbacks=[norms, Clock(seconds)])
        model.save(given.folder / f"{name}.keras")
        if norms.first_not_finite is not None:
            print(around(given.folder / f"{name}-history", norms.first_not_finite[0]))
        print(name, f"{time.monotonic() - began:.0f} s", done.history, norms.first_not_finite, flush=True)


if __name__ == "__main__":
    main()
