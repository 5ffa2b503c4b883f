"""A sweep that is killed five times and resumed, against one that is left alone: the same table?

    python benchmarks/sweep_resume.py --out benchmarks/sweep_resume.json

32 checkpoints and two broken files. Each kill is SIGKILL to the whole process group, workers included, at a moment
drawn at random while the sweep still works; the last run finishes what is left.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from rnneval import recordfile

LETTERS = "\n abcdefgh"
CHECKPOINTS, KILLS = 32, 5
TIMES = ["seconds", "tokens_per_second"]


def make(folder: Path) -> Path:
    """Save small models of random weights, two files that are none, and a text."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "vocab.json").write_text(json.dumps(list(LETTERS)))
    for k in range(CHECKPOINTS):
        kind = (keras.layers.GRU, keras.layers.LSTM)[k % 2]
        layers = [keras.layers.Embedding(len(LETTERS), 8), kind(32, return_sequences=True), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        model(np.ones((1, 1), np.int32))
        rng = np.random.default_rng(k)
        model.set_weights([rng.normal(0, 0.5 / np.sqrt(w.shape[0]), w.shape) for w in model.get_weights()])
        model.save(folder / "checkpoints" / f"ckpt_{k}.keras")
    whole = (folder / "checkpoints" / "ckpt_0.keras").read_bytes()
    (folder / "checkpoints" / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (folder / "checkpoints" / "empty.h5").touch()
    text = folder / "text.txt"
    text.write_text("".join(np.random.default_rng(1).choice(list(LETTERS), 40_000)))
    return text


def begin(folder: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "rnneval", "sweep", str(folder / "checkpoints"), str(folder / "text.txt")]
    return subprocess.Popen(
        [*command, "--out", str(out), "--jobs", "2", "--quiet"], start_new_session=True, stderr=subprocess.PIPE
    )


def finished(out: Path) -> int:
    return len(list(out.glob("records/*.json")))


def killed(folder: Path, out: Path, rng: random.Random) -> dict:
    """Kill a run once it has made between none and six records, and a little later."""
    before, wanted, began = finished(out), rng.randrange(7), time.monotonic()
    process = begin(folder, out)
    while process.poll() is None and finished(out) < before + wanted:
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 2))
    assert process.poll() is None, f"the sweep ended before it was killed: {process.stderr.read()}"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return {"seconds": round(time.monotonic() - began, 1), "records_before": before, "records": finished(out)}


def table(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "sweep.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("sweep_resume.json"))
    given = parser.parse_args()
    rng = random.Random(given.seed)  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        alone, resumed = folder / "alone", folder / "resumed"
        began = time.monotonic()
        code = begin(folder, alone).wait()
        undisturbed = time.monotonic() - began
        kills = [killed(folder, resumed, rng) for _ in range(KILLS)]
        assert not (resumed / "sweep.parquet").exists()
        last = begin(folder, resumed).wait()
        first, second = table(alone), table(resumed)
        same = first.drop(columns=TIMES).equals(second.drop(columns=TIMES))
        sums = [
            recordfile.read_run(alone / row).blocks == recordfile.read_run(resumed / row).blocks
            for row in first["record"].dropna()
        ]
        left = [path.name for path in resumed.rglob("*") if path.is_file() and path.suffix not in {".json", ".parquet"}]
    result = {
        "checkpoints": len(first), "failed": int((first["status"] == "failed").sum()), "exit_codes": [code, last],
        "undisturbed_seconds": round(undisturbed, 1), "kills": kills, "same_table_but_times": bool(same),
        "records_with_the_same_sums_in_every_block": f"{sum(sums)} of {len(sums)}", "unfinished_files_left": left,
    }  # fmt: skip
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
