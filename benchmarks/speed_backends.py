"""NumPy beside Keras: the same command on the same file, in turn, each in a process of its own.

    python benchmarks/speed_models.py MODELS char-gru128 char-lstm2x256 word-gru512 --data DATA
    PYTHONPATH=. python benchmarks/speed_backends.py --models MODELS --data DATA --out speed_backends.json

Two questions, for each model. How long does the whole command take, from a cold start, with all defaults, on the first
100,000 characters? At what rate is a long text read, repairs included, without the wiring check and the states? The
long text is tinyshakespeare for characters, and WikiText-2's test part for words. A third command, `numpy, no
TensorFlow`, cannot import TensorFlow or Keras at all. Figures are medians over rounds with the smallest and the largest;
ratios are taken within a round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BLOCKED = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
RUN = "from rnneval.cli.main import run; import sys; sys.exit(run(sys.argv[1:]))"
CONTENDERS = {
    "keras": ("", ["--backend", "keras"]),
    "numpy": ("", ["--backend", "numpy"]),
    "numpy, no TensorFlow": (BLOCKED, []),
}
SHORT = 100_000


def evaluated(before: str, words: list[str]) -> tuple[float, dict[str, Any]]:
    """Run `rnneval evaluate` in a new process; return its seconds by the clock and its record."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", before + RUN, "evaluate", *words, "--format", "json", "-q"],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"rnneval evaluate {' '.join(words)}: exit {done.returncode}: {done.stderr}")
    return seconds, json.loads(done.stdout)


def case(model: Path, text: Path, vocabulary: Path, rounds: int) -> dict[str, Any]:
    """Measure one model on both questions."""
    words = [str(model), str(text), "--vocab", str(vocabulary), "--unknown", "<unk>"]
    if vocabulary.stem == "char":
        words = words[:-2]
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    totals: dict[str, float] = {}
    for turn in range(rounds):
        names = list(CONTENDERS)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before, chosen = CONTENDERS[name]
            clock, _ = evaluated(before, [*words, *chosen, "--part", f":{SHORT}"])
            seconds[name].append(clock)
            if "TensorFlow" in name:
                continue
            _, record = evaluated(before, [*words, *chosen, "--no-check", "--no-states"])
            rates[name].append(record["timing"]["tokens_per_second"])
            totals[name] = record["total_nats"] / record["tokens"]["scored"]
    return {
        "command_seconds": {name: spread(found) for name, found in seconds.items()},
        "tokens_per_second": {name: spread(found) for name, found in rates.items() if found},
        "numpy_by_keras": spread([a / b for a, b in zip(rates["numpy"], rates["keras"], strict=True)]),
        "difference_of_nats_a_token": abs(totals["numpy"] - totals["keras"]),
    }


def spread(found: list[float]) -> dict[str, float]:
    """Return the median, the smallest and the largest."""
    return {name: round(of(found), 4) for name, of in (("median", statistics.median), ("low", min), ("high", max))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RNNEVAL_DATA", ".")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    out = given.out.absolute()
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for model in sorted(given.models.absolute().glob("*.keras")):
            kind = model.stem.partition("-")[0]
            text = given.data / ("tinyshakespeare.txt" if kind == "char" else "wikitext2.test.txt")
            found[model.stem] = case(model, text.absolute(), given.models.absolute() / f"{kind}.json", given.rounds)
            print(model.stem, json.dumps(found[model.stem], indent=1), flush=True)
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
