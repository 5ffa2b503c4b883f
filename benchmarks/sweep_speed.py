"""What a task costs beside its work, and one text over one worker and over two.

    python benchmarks/sweep_model.py tinyshakespeare.txt model
    python benchmarks/sweep_speed.py model/gru.keras tinyshakespeare.txt --out benchmarks/sweep_speed.json

Every worker has one thread of TensorFlow. The first evaluation of each pool opens the model and compiles its steps; the
times are of those after it. One process alone, with all cores, stands beside.
"""

import argparse
import json
import time
from collections import deque
from pathlib import Path
from statistics import median

import numpy as np

import rnneval
from rnneval.evaluate.chunks import reader_over
from rnneval.evaluate.executor import Pool, Task, connected
from rnneval.evaluate.reopening import Opening
from rnneval.options import WorkerGroup

TASKS, ROUNDS = 100, 2


def overhead(pool: Pool, tokens: int, tasks: int) -> float:
    """Seconds a task that sends the ids of so many tokens and gets three numbers back for each, and does nothing."""
    ids = np.zeros(max(1, tokens), np.int32)
    waiting = deque(Task(key=k, call=np.tile, arguments=lambda: (ids, 3)) for k in range(tasks))
    began = time.perf_counter()
    for _ in pool.run(waiting):
        pass
    return (time.perf_counter() - began) / tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--part", default="20%:")
    parser.add_argument("--out", type=Path, default=Path("sweep_speed.json"))
    given = parser.parse_args()
    options = {"part": given.part, "check": False, "states": False}
    lm = rnneval.open(given.checkpoint)
    result: dict = {"workers": {}}
    for count in (1, 2):
        began = time.perf_counter()
        with connected(WorkerGroup(jobs=count), tasks=count) as pool:
            overhead(pool, 0, 2 * count)
            found = {"start_seconds": time.perf_counter() - began}
            found["milliseconds_a_task"] = 1e3 * overhead(pool, 0, TASKS)
            found["milliseconds_a_task_of_131072_tokens"] = 1e3 * overhead(pool, 1 << 17, TASKS)
            found["milliseconds_a_task_of_1048576_tokens"] = 1e3 * overhead(pool, 1 << 20, 10)
            reader = reader_over(pool, str(given.checkpoint), Opening())
            runs = [rnneval.evaluate(lm, given.text, reader=reader, **options) for _ in range(1 + ROUNDS)]
            found["first_seconds"] = runs[0].timing.seconds
            found["seconds"] = median(run.timing.seconds for run in runs[1:])
            found["tokens_per_second"] = runs[0].tokens.scored / found["seconds"]
        result["workers"][count] = found
        print(json.dumps(found), flush=True)
    alone = [rnneval.evaluate(lm, given.text, **options) for _ in range(1 + ROUNDS)]
    result["alone"] = {
        "seconds": median(run.timing.seconds for run in alone[1:]), "rows": alone[0].streams.count,
        "threads": alone[0].timing.threads,
    }  # fmt: skip
    result |= {
        "tokens": runs[0].tokens.scored, "chunks": runs[0].streams.chunks, "rows_of_a_chunk": runs[0].streams.count,
        "read_again": runs[0].streams.tokens_rerun / runs[0].tokens.scored,
        "speed_up_from_1_to_2": result["workers"][1]["seconds"] / result["workers"][2]["seconds"],
    }  # fmt: skip
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
