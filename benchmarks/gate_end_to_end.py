"""The verdicts a person would give, from saved models to the gate, through the command line alone.

    python benchmarks/gate_end_to_end.py --data FOLDER --out end_to_end.json

Models of gate_models.py (trained on the first 40 % of tinyshakespeare), a right and a wrong stack and a byte model are
evaluated on the last 10 %; then: the same checkpoint twice, 1 % noise on one weight matrix, half the training, another
seed, the wrong stack, a byte model against a character model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import gate_models
import numpy as np

HERE = Path(__file__).parent
PART = "90%:"


def rnneval(*arguments: object) -> tuple[int, str, float]:
    """Run a command; its exit code, standard output and seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "rnneval", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.returncode, done.stdout, time.perf_counter() - began


def train_others(data: Path, cache: Path) -> None:
    """A byte model and both stacks, on the same text as the character models."""
    import keras

    ids, _, vocabulary = gate_models.character_text(data)
    raw = np.frombuffer((data / "tinyshakespeare.txt").read_bytes(), dtype=np.uint8).astype(np.int32)
    (cache / "bytes.json").write_text(json.dumps(list(range(256))))
    if not (cache / "shakespeare-byte.keras").exists():
        gate_models.train(raw[: int(len(raw) * 0.4)], 256, 0, cache / "shakespeare-byte.keras", None)
    sys.path.insert(0, str(HERE))
    import gate_stacks

    rng = np.random.default_rng(0)
    for name in ("Right", "Wrong"):
        path = cache / f"stack-{name}.weights.h5"
        if path.exists():
            continue
        keras.utils.set_random_seed(0)
        model = getattr(gate_stacks, name)(vocabulary)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=loss)
        starts = rng.integers(0, len(ids) - 101, size=(gate_models.STEPS * 64, 1))
        windows = ids[starts + np.arange(101)]
        model.fit(windows[:, :-1], windows[:, 1:], batch_size=64, shuffle=False, verbose=0)
        model.save_weights(path)


def evaluate(data: Path, cache: Path, name: str) -> Path:
    """A record of one model on the last tenth of the text."""
    text = data / "tinyshakespeare.txt"
    out = cache / f"{name}.run.json"
    options: list[object] = ["--vocab-from", text]
    if name.startswith("stack"):
        checkpoint = cache / f"{name}.weights.h5"
        options += ["--builder", f"{HERE / 'gate_stacks.py'}:{name.removeprefix('stack-')}"]
    else:
        checkpoint = cache / f"{name}.keras"
    if name.endswith("byte"):
        options = ["--tokens", "byte", "--vocab", cache / "bytes.json"]
    code, _, seconds = rnneval("evaluate", checkpoint, text, "--part", PART, "--out", out, "--quiet", *options)
    print(f"{name}: exit {code}, {seconds:.0f} s", flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("RNNEVAL_DATA"), help="default: $RNNEVAL_DATA")
    parser.add_argument("--cache", type=Path, default=gate_models.CACHE)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the texts are: --data FOLDER or RNNEVAL_DATA")
    data, cache = Path(arguments.data), arguments.cache
    gate_models.make(data, cache)
    train_others(data, cache)
    names = ("char-0", "char-0-noise", "char-0-half", "char-1", "stack-Right", "stack-Wrong", "shakespeare-byte")
    runs = {name: evaluate(data, cache, name) for name in names}
    again = cache / "char-0-again.run.json"
    evaluate(data, cache, "char-0").rename(again)
    runs["char-0"] = evaluate(data, cache, "char-0")
    bits = ("--allow", "bits_per_char=+0.02")
    cases = {
        "the same checkpoint twice": (again, runs["char-0"]),
        "1 % noise on one matrix": (runs["char-0-noise"], runs["char-0"]),
        "half the training": (runs["char-0-half"], runs["char-0"]),
        "another seed": (runs["char-1"], runs["char-0"]),
        "the seeds the other way round": (runs["char-0"], runs["char-1"]),
        "the wrong stack": (runs["stack-Wrong"], runs["stack-Right"]),
        "byte model against characters": (runs["shakespeare-byte"], runs["char-0"]),
        "the same, by bits a character": (runs["shakespeare-byte"], runs["char-0"], *bits),
    }
    results = {}
    for name, (candidate, baseline, *options) in cases.items():
        code, printed, _ = rnneval("gate", candidate, "--baseline", baseline, "--format", "json", *options)
        comparison = json.loads(printed)["comparisons"][0]
        names = {side: Path(comparison[side]).name for side in ("baseline", "candidate")}
        reason = comparison["reason"].replace(f"{cache}/", "")
        results[name] = {"exit": code, **comparison, **names, "reason": reason}
        interval = " ".join(f"{comparison.get(key, float('nan')):+.5f}" for key in ("difference", "low", "high"))
        print(f"{name}: {comparison['verdict']} (exit {code}), {interval}; {comparison['reason']}", flush=True)
    arguments.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
