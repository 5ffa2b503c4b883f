"""Planted faults: which module and which array of the state the flow matrix and the first diverging module name.

    python benchmarks/planted_faults.py --faults 200

Plants faults into tiny models with random weights (tests/wiring/torch/planted.py says how), drawn from all that can be
planted, the models and the kinds in turn. Writes benchmarks/planted_faults.json, and prints a summary. A fault is
*seen* if there is a finding at all, *right* if it names the module and the array, and *wrong* if it names a module that
has nothing to do with it. The models without a fault must have no finding.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch
import transformers

from tests.wiring.torch.planted import KINDS, Fault, faults_of, locate, plant
from tests.wiring.torch.tiny import NAMES, made

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)


def judge(fault: Fault, seed: int) -> dict[str, Any]:
    """What is said of one planted fault."""
    began = time.process_time()
    found = locate(plant(fault, seed))
    return {
        "fault": str(fault),
        "kind": fault.kind,
        "model": fault.model,
        "by": found and found.by,
        "rule": found and found.rule,
        "module": found and found.module,
        "arrays": found and list(found.arrays),
        "result": fault.result(found),
        "seconds": round(time.process_time() - began, 2),
    }


def alarm(name: str, seed: int) -> str:
    """What is said of a right model: nothing, if all is well."""
    found = locate(made(name, seed))
    return "" if found is None else str(found)


def drawn(count: int, names: list[str], seed: int) -> list[Fault]:
    """Draw faults: the models in turn, of each the kinds in turn, beginning with another kind for each model."""
    generator = random.Random(seed)  # noqa: S311
    queues = []
    for number, name in enumerate(names):
        by_kind = defaultdict(list)
        for fault in faults_of(name):
            by_kind[fault.kind].append(fault)
        kinds = sorted(by_kind.values(), key=lambda faults: (KINDS.index(faults[0].kind) - number) % len(KINDS))
        for faults in kinds:
            generator.shuffle(faults)
        queues.append([faults[k] for k in range(max(map(len, kinds))) for faults in kinds if k < len(faults)])
    chosen = [queue[k] for k in range(max(map(len, queues))) for queue in queues if k < len(queue)]
    return chosen[:count]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=list(NAMES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "planted_faults.json")
    given = parser.parse_args()
    faults = drawn(given.faults, given.models, given.seed)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        found = dict(zip(given.models, pool.map(alarm, given.models, repeat(given.seed)), strict=True))
        print({name: text for name, text in found.items() if text} or "right models: nothing found", flush=True)
        rows: list[dict[str, Any]] = []
        for row in pool.map(judge, faults, repeat(given.seed)):
            rows.append(row)
            if row["result"] != "right":
                print(row, flush=True)
            if len(rows) % 10 == 0 or len(rows) == len(faults):
                write(given.out, found, rows)


def write(path: Path, right: dict[str, str], rows: list[dict[str, Any]]) -> None:
    """Write what there is so far, and print the summary."""
    counts = Counter(row["result"] for row in rows)
    summary = {"faults": len(rows), **counts, "alarms on right models": sum(map(bool, right.values()))}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    content = {"versions": versions, "summary": summary, "right models": right, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(summary, flush=True)


if __name__ == "__main__":
    main()
