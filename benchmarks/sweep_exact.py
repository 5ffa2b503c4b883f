"""One text over 1, 2 and 4 workers, one of them killed in the middle, against one stream in one process.

python benchmarks/sweep_model.py tinyshakespeare.txt model
python benchmarks/sweep_exact.py model/gru.keras tinyshakespeare.txt --out benchmarks/sweep_exact.json
"""

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

import rnneval
from rnneval.evaluate.chunks import reader_over
from rnneval.evaluate.executor import connected
from rnneval.evaluate.reopening import Opening
from rnneval.options import WorkerGroup


def a_worker() -> psutil.Process:
    """The worker process that has most in its memory: one that has opened the model."""
    return max(psutil.Process().children(recursive=True), key=lambda process: process.memory_info().rss)


def struck(what: signal.Signals, log: list[dict]) -> Callable[[int, int], None]:
    """A progress function that sends a signal to one worker once three tenths of the text have been read."""

    def progress(done: int, total: int) -> None:
        if not log and done > 0.3 * total:
            process = a_worker()
            os.kill(process.pid, what)
            log.append({"signal": what.name, "pid_was_a_child": True, "tokens_read": done, "of": total})

    return progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--part", default="95%:")
    parser.add_argument("--chunk", type=int, default=1 << 12)
    parser.add_argument("--out", type=Path, default=Path("sweep_exact.json"))
    given = parser.parse_args()
    options = {"part": given.part, "check": False, "states": False}
    with tempfile.TemporaryDirectory() as folder:
        losses = Path(folder) / "losses.parquet"
        lm = rnneval.open(given.checkpoint)
        one = rnneval.evaluate(lm, given.text, streams=1, losses=losses, **options)
        expected = pd.read_parquet(losses)["nats"].to_numpy()
        result = {"tokens": one.tokens.scored, "one_stream": one.total_nats, "runs": []}
        seen = []
        for count, what in (
            (1, None),
            (2, None),
            (4, None),
            (1, "SIGKILL"),
            (2, "SIGKILL"),
            (4, "SIGKILL"),
        ):
            log: list[dict] = []
            progress = None if what is None else struck(signal.Signals[what], log)
            began = time.monotonic()
            with connected(WorkerGroup(jobs=count), tasks=count) as pool:
                reader = reader_over(pool, str(given.checkpoint), Opening(), chunk=given.chunk)
                run = rnneval.evaluate(lm, given.text, reader=reader, losses=losses, progress=progress, **options)
            nats = pd.read_parquet(losses)["nats"].to_numpy()
            seen.append((nats, run.blocks))
            result["runs"].append(
                {
                    "workers": count, "struck": log, "total_nats": run.total_nats,
                    "difference_a_token": (run.total_nats - one.total_nats) / one.tokens.scored,
                    "worst_token": float(np.abs(nats - expected).max()),
                    "the_same_digits_as_the_first": bool((nats == seen[0][0]).all() and run.blocks == seen[0][1]),
                    "chunks": run.streams.chunks, "passes": run.streams.passes,
                    "read_again": run.streams.tokens_rerun / run.tokens.scored,
                    "audited_loss_difference": run.streams.audited_loss_difference,
                    "seconds_with_start": round(time.monotonic() - began, 1),
                }
            )  # fmt: skip
            print(json.dumps(result["runs"][-1]), flush=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
