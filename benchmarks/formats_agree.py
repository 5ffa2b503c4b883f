"""One trained model, every format and both contracts: one and the same number.

Trains the model of TensorFlow's text-generation tutorial (Embedding 256, GRU 1024, Dense) on the first 90 % of a text,
saves it as a subclassed model's weights (`.weights.h5`, TensorFlow checkpoint) and as a Sequential model of the same
weights (`.keras`, `.h5`), evaluates each by the command line on the last 10 %, and compares `total_nats`.

    python benchmarks/formats_agree.py --text tinyshakespeare.txt --folder /tmp/formats --out formats_agree.json
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve()


class MyModel(keras.Model):
    """The tutorial's model, adapted to Keras 3 (`get_initial_state` takes a batch size) and nothing else."""

    def __init__(self, vocab_size, embedding_dim=256, rnn_units=1024):
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, embedding_dim)
        self.gru = keras.layers.GRU(rnn_units, return_sequences=True, return_state=True)
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, inputs, states=None, return_state=False, training=False):
        """Give logits, and the state where it is asked for."""
        x = self.embedding(inputs, training=training)
        if states is None:
            states = self.gru.get_initial_state(tf.shape(x)[0])
        x, states = self.gru(x, initial_state=states, training=training)
        x = self.dense(x, training=training)
        return (x, states) if return_state else x


def train(text: str, vocabulary: list[str], units: int, epochs: int) -> MyModel:
    ids = np.array([vocabulary.index(c) for c in text[: len(text) * 9 // 10]], np.int32)
    rows = len(ids) // 101
    chunks = ids[: rows * 101].reshape(rows, 101)
    data = tf.data.Dataset.from_tensor_slices((chunks[:, :-1], chunks[:, 1:])).shuffle(rows, seed=0)
    model = MyModel(len(vocabulary), rnn_units=units)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data.batch(64, drop_remainder=True), epochs=epochs, verbose=2)
    return model


def save(model: MyModel, vocabulary: list[str], folder: Path) -> dict[str, list[str]]:
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    builder = ["--builder", f"{HERE}:MyModel", "--builder-arg", f"rnn_units={model.gru.units}"]
    model.save_weights(folder / "m.weights.h5")
    tf.train.Checkpoint(model=model).save(str(folder / "ckpt" / "m"))
    (folder / "ckpt" / "vocab.json").write_text(json.dumps(vocabulary))
    gru = keras.layers.GRU(model.gru.units, return_sequences=True)
    flat = keras.Sequential([keras.layers.Embedding(len(vocabulary), 256), gru, keras.layers.Dense(len(vocabulary))])
    flat(tf.ones((1, 1), tf.int32))
    flat.set_weights(model.get_weights())
    flat.save(folder / "m.keras")
    flat.save(folder / "m.h5")
    return {"m.keras": [], "m.h5": [], "m.weights.h5": builder, "ckpt": builder}


def evaluate(path: Path, arguments: list[str], text: Path, out: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "rnneval", "evaluate", path, text, "--part", "90%:", "--out", out, *arguments]
    subprocess.run(list(map(str, command)), check=True)
    run = json.loads(out.read_text())
    return {
        "total_nats": run["total_nats"],
        "contract": run["checkpoint"]["contract"],
        "tokens": run["tokens"],
        "characters": run["text"]["characters"],
        "seconds": run["timing"]["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("formats_agree.json"))
    parser.add_argument("--units", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=1)
    given = parser.parse_args()
    keras.utils.set_random_seed(0)
    given.folder.mkdir(parents=True, exist_ok=True)
    text = given.text.read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    start = time.perf_counter()
    model = train(text, vocabulary, given.units, given.epochs)
    trained = time.perf_counter() - start
    formats = save(model, vocabulary, given.folder)
    runs = {
        name: evaluate(given.folder / name, arguments, given.text, given.folder / f"{name}.run.json")
        for name, arguments in formats.items()
    }
    totals = [float(run["total_nats"]) for run in runs.values()]  # type: ignore[arg-type]
    result = {
        "training_seconds": trained,
        "runs": runs,
        "largest_relative_difference": (max(totals) - min(totals)) / min(totals),
    }
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
