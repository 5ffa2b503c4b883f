"""How long the commands without TensorFlow take, beside `python -c pass`; and check beside evaluate.

    PYTHONPATH=. python benchmarks/speed_commands.py --out speed_commands.json

Every command is a process of its own, in turn, so many rounds; what is shown is the median of the clock. The records of
gate and report are made on the spot, from a small model. `lint` reads ten lines (start-up), and rnneval itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SNIPPET = """import keras

class Model(keras.Model):
    def __init__(self):
        super().__init__()
        self.gru = keras.layers.GRU(8, return_sequences=True, return_state=True)

    def call(self, x, states=None):
        return self.gru(x, initial_state=states)
"""


def records(folder: Path) -> None:
    """Two run records of a small model, and the model."""
    import keras
    import numpy as np
    import tensorflow as tf

    import rnneval
    from rnneval.text import Vocabulary

    keras.utils.set_random_seed(0)
    letters = list("abcdefgh \n")
    layer = keras.layers.GRU(16, return_sequences=True)
    model = keras.Sequential([keras.layers.Embedding(10, 8), layer, keras.layers.Dense(10)])
    model(tf.ones((1, 1), tf.int32))
    model.save(folder / "m.keras")
    (folder / "vocab.json").write_text(json.dumps(letters))
    (folder / "text.txt").write_text("".join(np.random.default_rng(0).choice(letters, 50_000)))
    lm = rnneval.wrap(model, vocabulary=Vocabulary.from_tokens(letters))
    for name in ("base.json", "run.json"):
        rnneval.evaluate(lm, folder / "text.txt", check=False).save(folder / name)


def commands(folder: Path) -> dict[str, list[str]]:
    (folder / "snippet.py").write_text(SNIPPET)
    rnneval = [sys.executable, "-m", "rnneval"]
    model = [str(folder / "m.keras"), "--vocab", str(folder / "vocab.json")]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import numpy": [sys.executable, "-c", "import numpy"],
        "import tensorflow": [sys.executable, "-c", "import tensorflow"],
        "rnneval --help": [*rnneval, "--help"],
        "rnneval evaluate --help": [*rnneval, "evaluate", "--help"],
        "rnneval lint, ten lines": [*rnneval, "lint", str(folder / "snippet.py")],
        "rnneval lint, rnneval itself": [*rnneval, "lint", str(ROOT / "rnneval")],
        "rnneval gate": [*rnneval, "gate", str(folder / "run.json"), "--baseline", str(folder / "base.json")],
        "rnneval compare": [*rnneval, "compare", str(folder / "run.json"), str(folder / "base.json")],
        "rnneval report": [*rnneval, "report", str(folder / "run.json"), "--out", str(folder / "r.html")],
        "rnneval check, GRU 16": [*rnneval, "check", *model, "--quiet"],
        "rnneval evaluate, 50,000 characters": [*rnneval, "evaluate", model[0], str(folder / "text.txt"), *model[1:]],
    }


def timed(command: list[str]) -> float:
    """Seconds of a command, by the clock."""
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - began
    if ran.returncode not in {0, 1, 3}:
        raise SystemExit(f"{' '.join(command)}: {ran.stderr[-500:]}")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        records(Path(name))
        found: dict[str, list[float]] = {}
        for turn in range(given.rounds + 1):  # the first writes .pyc files and fills the disk's cache
            for label, command in commands(Path(name)).items():
                seconds = timed(command)
                if turn:
                    found.setdefault(label, []).append(seconds)
    shown = {
        label: {"median": statistics.median(values), "least": min(values), "most": max(values)}
        for label, values in found.items()
    }
    given.out.write_text(json.dumps(shown, indent=1) + "\n")
    for label, values in shown.items():
        print(f"{label:40} {values['median']:.3f} s")


if __name__ == "__main__":
    main()
