"""The model of the benchmarks of long texts: GRU 64, trained for some seconds on the first 100,000 characters.

python benchmarks/sweep_model.py TEXT FOLDER
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np


def main() -> None:
    text, folder = Path(sys.argv[1]).read_text(encoding="utf-8"), Path(sys.argv[2])
    vocabulary = sorted(set(text))
    look = {character: index for index, character in enumerate(vocabulary)}
    ids = np.array([look[character] for character in text[:100_000]], np.int32)
    rows = ids[: len(ids) // 101 * 101].reshape(-1, 101)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(len(vocabulary), 64), keras.layers.GRU(64, return_sequences=True)]
    model = keras.Sequential([*layers, keras.layers.Dense(len(vocabulary))])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(rows[:, :-1], rows[:, 1:], batch_size=32, epochs=8, verbose=0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    model.save(folder / "gru.keras")


if __name__ == "__main__":
    main()
