"""Many rows against one stream: the same number, how much is read again, how much faster.

    python benchmarks/streams_exact.py --text tinyshakespeare.txt --out streams_exact.json model.keras …

Every checkpoint is evaluated on the last tenth of the text with one row and with 64, alternating, and each token's loss
is compared. Two more models are trained for the purpose (GRU 2 × 256, LSTM 256) with --train.
"""

import argparse
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import rnneval
from rnneval.demo.files import Recipe
from rnneval.demo.steps import train

STEPS = 500


def compared(path: Path, text: Path, vocabulary: list[str], rows: int, rounds: int) -> dict:
    """Evaluate one checkpoint both ways, `rounds` times in turn."""
    lm = rnneval.open(path, vocabulary=vocabulary)
    seconds: dict[int, list[float]] = {1: [], rows: []}
    nats = {}
    with tempfile.TemporaryDirectory() as folder:
        losses = Path(folder) / "losses.parquet"
        for _ in range(rounds):
            for count in (1, rows):
                run = rnneval.evaluate(lm, text, part="90%:", streams=count, losses=losses, check=False)
                seconds[count].append(run.timing.seconds)
                nats[count] = pd.read_parquet(losses)["nats"].to_numpy()
    difference = nats[rows] - nats[1]
    return {
        "layers": [f"{layer.kind} {layer.units}" for layer in run.checkpoint.layers],
        "mean_difference": float(difference.mean()),
        "worst_token_difference": float(np.abs(difference).max()),
        "read_again": run.streams.tokens_rerun / run.tokens.scored,
        "passes": run.streams.passes,
        "audited_loss_difference": run.streams.audited_loss_difference,
        "forgetting": json.loads(rnneval.records.encode(run))["streams"].get("forgetting_length"),
        "speed_ratio": float(np.median(seconds[1]) / np.median(seconds[rows])),
        "seconds": {str(count): values for count, values in seconds.items()},
    }


def trained(name: str, text: str, vocabulary: list[str], folder: Path) -> Path:
    """Train a small model on the first nine tenths."""
    look = {character: index for index, character in enumerate(vocabulary)}
    ids = np.array([look[character] for character in text[: len(text) * 9 // 10]], np.int32)
    path = folder / f"{name}.keras"
    if name == "gru-2x256":
        train(ids, len(vocabulary), Recipe(units=(256, 256), steps=STEPS)).save(path)
    else:
        model = keras.Sequential(
            [keras.layers.Embedding(65, 64), keras.layers.LSTM(256, return_sequences=True), keras.layers.Dense(65)]
        )
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        rows = ids[: len(ids) // 101 * 101].reshape(-1, 101)
        model.fit(rows[:, :-1], rows[:, 1:], batch_size=32, epochs=1, verbose=0)
        model.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("streams_exact.json"))
    given = parser.parse_args()
    text = given.text.read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        made = (
            [trained(name, text, vocabulary, Path(folder)) for name in ("gru-2x256", "lstm-256")] if given.train else []
        )
        for path in [*given.checkpoints, *made]:
            result[path.stem] = compared(path, given.text, vocabulary, given.rows, given.rounds)
            print(path.stem, json.dumps(result[path.stem]), flush=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
