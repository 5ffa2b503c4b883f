"""NumPy beside Keras: the same command on the same file, in turn, each in a process of its own.

    python benchmarks/speed_models.py MODELS char-gru128 char-lstm2x256 word-gru512 --data DATA
    PYTHONPATH=. python benchmarks/speed_backends.py --models MODELS --data DATA --out speed_backends.json \
        [--before CHECKOUT] [--rounds 5] [NAMES…]

Two questions, for each model. How long does the whole command take, from a cold start, with all defaults, on the first
100,000 characters? At what rate is a long text read, repairs included, without the wiring check and the states? The
long text is tinyshakespeare for characters, and WikiText-2's test part for words. A third command, `numpy, no
TensorFlow`, cannot import TensorFlow or Keras at all. `--before` names a checkout of an older rnneval, which runs in
turn with the others. Figures are medians over rounds, with the smallest and the largest. Ratios are taken within a
round. A model that stands in the file is not measured again.

A model `NAME-lasting` is made of `NAME`: 64 of its units keep their state for 400,000 tokens.
"""

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py

BLOCKED = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
RUN = "from rnneval.cli.main import run; import sys; sys.exit(run(sys.argv[1:]))"
CONTENDERS = {
    "keras": ("", ["--backend", "keras"]),
    "numpy": ("", ["--backend", "numpy"]),
    "numpy, no TensorFlow": (BLOCKED, []),
    "before": ("", []),
}
SHORT = 100_000
HERE = Path(__file__).parents[1]


def evaluated(before: str, words: list[str], checkout: Path) -> tuple[float, dict[str, Any]]:
    """Run `rnneval evaluate` in a new process; return its seconds by the clock and its record."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", before + RUN, "evaluate", *words, "--format", "json", "-q"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"rnneval evaluate {' '.join(words)}: exit {done.returncode}: {done.stderr}")
    return seconds, json.loads(done.stdout)


def case(model: Path, text: Path, vocabulary: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one model on both questions."""
    contenders = {name: how for name, how in CONTENDERS.items() if name != "before" or given.before}
    words = [str(model), str(text), "--vocab", str(vocabulary), "--unknown", "<unk>"]
    if vocabulary.stem == "char":
        words = words[:-2]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    totals: dict[str, float] = {}
    for turn in range(given.rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before, chosen = contenders[name]
            checkout = given.before if name == "before" else HERE
            clock, _ = evaluated(before, [*words, *chosen, "--part", f":{SHORT}"], checkout)
            seconds[name].append(clock)
            if "TensorFlow" in name:
                continue
            _, record = evaluated(before, [*words, *chosen, "--no-check", "--no-states"], checkout)
            rates[name].append(record["timing"]["tokens_per_second"])
            totals[name] = record["total_nats"] / record["tokens"]["scored"]
    return {
        "command_seconds": {name: spread(found) for name, found in seconds.items()},
        "tokens_per_second": {name: spread(found) for name, found in rates.items() if found},
        **{
            f"numpy_by_{name}": spread([a / b for a, b in zip(rates["numpy"], rates[name], strict=True)])
            for name in ("keras", "before")
            if rates.get(name)
        },
        "difference_of_nats_a_token": abs(totals["numpy"] - totals["keras"]),
    }


def make_lasting(source: Path, target: Path) -> None:
    """Write a copy of a model with one GRU whose first 64 units hardly change: their update gate is at 1 − 2e-6."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".h5"):
                changed = io.BytesIO(content)
                with h5py.File(changed, "r+") as file:
                    file["layers/gru/cell/vars/2"][:, :64] = 6.5  # of two biases, which are added up
                content = changed.getvalue()
            new.writestr(name, content)


def spread(found: list[float]) -> dict[str, float]:
    """Return the median, the smallest and the largest."""
    return {name: round(of(found), 4) for name, of in (("median", statistics.median), ("low", min), ("high", max))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAMES", help="models; all in the folder by default")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="checkout of an older rnneval")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RNNEVAL_DATA", ".")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    out = given.out.absolute()
    models = given.models.absolute()
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    if out.exists():
        found = json.loads(out.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in given.names or sorted(model.stem for model in models.glob("*.keras")):
            if name in found:
                continue
            model = models / f"{name}.keras"
            if name.endswith("-lasting") and not model.exists():
                make_lasting(models / f"{name.removesuffix('-lasting')}.keras", model)
            kind = name.partition("-")[0]
            text = given.data / ("tinyshakespeare.txt" if kind == "char" else "wikitext2.test.txt")
            found[name] = case(model, text.absolute(), models / f"{kind}.json", given)
            print(name, json.dumps(found[name], indent=1), flush=True)
            out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
