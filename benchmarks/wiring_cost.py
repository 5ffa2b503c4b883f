"""What the wiring check costs on layers of real size, after the imports, and that nothing grows with the text.

    python benchmarks/wiring_cost.py

Writes benchmarks/wiring_cost.json. CPU seconds stand beside wall seconds, since a shared machine stretches the latter.
The text is never read by the check: its cost is that of a few fixed segments, whatever will be evaluated.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from rnneval.evaluate.check import check  # noqa: E402

LIMIT = 5.0


class Stack(keras.Model):
    """Layers with a state each, in a list."""

    def __init__(self, kind: Any, units: int, depth: int, vocab_size: int = 65) -> None:
        super().__init__()
        self.embedding = keras.layers.Embedding(vocab_size, 256)
        self.rnns = [kind(units, return_sequences=True, return_state=True) for _ in range(depth)]
        self.dense = keras.layers.Dense(vocab_size)

    def call(self, inputs: Any, states: Any = None, return_state: bool = False) -> Any:
        """One segment."""
        x = self.embedding(inputs)
        new = []
        for i, rnn in enumerate(self.rnns):
            x, *state = rnn(x, initial_state=None if states is None else states[i])
            new.append(state if len(state) > 1 else state[0])
        return (self.dense(x), new) if return_state else self.dense(x)


def measure(kind: Any, units: int, depth: int) -> dict[str, Any]:
    model = Stack(kind, units, depth)
    model(tf.ones((2, 2), tf.int32))
    wall, cpu = time.perf_counter(), time.process_time()
    wiring = check(model)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "layers": f"{depth} × {kind.__name__}({units})",
        "parameters": model.count_params(),
        "verdict": wiring.verdict,
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "wiring_cost.json")
    options = parser.parse_args()
    measure(keras.layers.GRU, 8, 1)  # TensorFlow's own warm-up
    sizes = ((keras.layers.GRU, 1024, 2), (keras.layers.LSTM, 1024, 2), (keras.layers.GRU, 64, 2))
    rows = [measure(kind, units, depth) for kind, units, depth in sizes]
    result = {"limit_seconds": LIMIT, "cpus": os.cpu_count(), "load": os.getloadavg()[0], "rows": rows}
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
