"""Keras' releases: the parts of rnneval that touch Keras' internals, under each minor release that is supported.

For each pair of a Keras and a TensorFlow release, uv makes an environment (Python 3.11), and the default tests of each
part run there: the state tap (hoisted loops, states at every step), the wiring hooks (stubs in place of recurrent
layers) and the optimizer watch (gradients and logs of a training). The exit code is 1 if a test fails.

    PYTHONPATH=. python benchmarks/keras_versions.py --out benchmarks/keras_versions.json
    PYTHONPATH=. python benchmarks/keras_versions.py --out benchmarks/keras_versions.json --only 3.15

Pairs that the JSON file has already are not run again unless `--only` names them. It needs uv and a network.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "3.11"
PAIRS = (
    ("3.10", "2.18"), ("3.10", "2.19"), ("3.11", "2.20"), ("3.12", "2.20"), ("3.13", "2.20"), ("3.14", "2.21"),
    ("3.15", "2.21"),
)  # fmt: skip
"""Minor releases of Keras and TensorFlow. A new release of Keras is added here, beside the newest TensorFlow."""
PARTS = {
    "state tap": (
        "models/test_hoisted.py",
        "engine/diagnostics/test_trajectories.py",
        "engine/diagnostics/test_states.py",
    ),
    "wiring hooks": ("models/wiring/test_probe.py", "models/wiring/test_walk.py", "models/wiring/test_origin.py"),
    "optimizer watch": ("callbacks/test_gradient_norms.py", "callbacks/test_state_norms.py"),
}
"""The tests of each part, below `tests/`."""


def tried(keras: str, tensorflow: str) -> dict[str, Any]:
    """Run the tests of every part under a pair of releases; return exact versions and what came of the tests."""
    uv = shutil.which("uv") or sys.exit("keras_versions: uv is not there: pip install uv")
    with tempfile.TemporaryDirectory(prefix="rnneval-keras-") as folder:
        python = str(Path(folder) / "bin" / "python")
        wanted = [f"{ROOT}[test]", f"keras=={keras}.*", f"tensorflow=={tensorflow}.*"]
        subprocess.run([uv, "venv", "-q", "--clear", "--python", PYTHON, folder], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--compile-bytecode", "--python", python, *wanted], check=True)
        about = "from importlib.metadata import version as v; print(v('keras'), v('tensorflow'), v('numpy'))"
        run = subprocess.run([python, "-c", about], check=True, capture_output=True, text=True)
        versions = dict(zip(("keras", "tensorflow", "numpy"), run.stdout.split(), strict=True))
        return {**versions, "parts": {part: outcome(python, paths) for part, paths in PARTS.items()}}


def outcome(python: str, paths: tuple[str, ...]) -> dict[str, Any]:
    """Run tests; return how many passed and how many were skipped, those that failed, and the seconds."""
    began = time.monotonic()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{path}" for path in paths)]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
    if run.returncode > 1 or bool(run.returncode) != bool(failed):
        sys.exit(f"pytest ended with {run.returncode}:\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    last = run.stdout.rstrip().rpartition("\n")[2]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", last)}
    return {
        "passed": counts.get("passed", 0),
        "skipped": counts.get("skipped", 0),
        "failed": failed,
        "seconds": round(time.monotonic() - began),
    }


def main() -> int:
    """Try the pairs that are wanted, and write the file after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], metavar="KERAS", help="minor releases of Keras, such as 3.15")
    given = parser.parse_args()
    found = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    for keras, tensorflow in PAIRS:
        pair = f"{keras} with {tensorflow}"
        if keras in given.only or (pair not in found and not given.only):
            found[pair] = tried(keras, tensorflow)
            print(pair, json.dumps(found[pair]), flush=True)
            ordered = {f"{k} with {t}": found[f"{k} with {t}"] for k, t in PAIRS if f"{k} with {t}" in found}
            given.out.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
    return int(any(part["failed"] for pair in found.values() for part in pair["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
