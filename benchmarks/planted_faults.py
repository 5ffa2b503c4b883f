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
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import torch
import transformers

from tests.wiring.torch.planted import Fault, faults_of, locate, plant
from tests.wiring.torch.tiny import NAMES, made

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)


def judge(fault: Fault, seed: int) -> dict[str, Any]:
    """What is said of one planted fault."""
    began = time.perf_counter()
    found = locate(plant(fault, seed))
    return {
        "fault": str(fault),
        "kind": fault.kind,
        "model": fault.model,
        "by": found and found.by,
        "rule": found and found.rule,
        "module": found and found.module,
        "arrays": found and list(found.arrays),
        "result": result(fault, found),
        "seconds": round(time.perf_counter() - began, 2),
    }


def result(fault: Fault, found: Any) -> str:
    """Return `right`, `module` (and not the array), `near` (a module around or inside), `wrong` or `unseen`."""
    if found is None:
        return "unseen"
    if found.module in fault.modules:
        return "right" if fault.names(found.arrays) else "module"
    inside = any(found.module.startswith(f"{m}.") or m.startswith(f"{found.module}.") for m in fault.modules)
    return "near" if inside or not found.module else "wrong"


def drawn(count: int, names: list[str], seed: int) -> list[Fault]:
    """Draw faults: the models in turn, of each the kinds in turn."""
    generator = random.Random(seed)  # noqa: S311
    queues = []
    for name in names:
        kinds = defaultdict(list)
        for fault in faults_of(name):
            kinds[fault.kind].append(fault)
        for faults in kinds.values():
            generator.shuffle(faults)
        turns = [
            [faults[k] for faults in kinds.values() if k < len(faults)] for k in range(max(map(len, kinds.values())))
        ]
        queues.append([fault for turn in turns for fault in turn])
    chosen = [queue[k] for k in range(max(map(len, queues))) for queue in queues if k < len(queue)]
    return chosen[:count]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=list(NAMES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "planted_faults.json")
    given = parser.parse_args()
    right = {}
    for name in given.models:
        found = locate(made(name, given.seed))
        right[name] = found and str(found)
        print(f"{name}: {'nothing found' if found is None else found}", flush=True)
    rows = []
    for fault in drawn(given.faults, given.models, given.seed):
        rows.append(judge(fault, given.seed))
        if rows[-1]["result"] != "right":
            print(rows[-1], flush=True)
    counts = Counter(row["result"] for row in rows)
    summary = {
        "faults": len(rows),
        **counts,
        "alarms on right models": sum(value is not None for value in right.values()),
    }
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    given.out.write_text(
        json.dumps({"versions": versions, "summary": summary, "right models": right, "rows": rows}, indent=1)
    )
    print(summary, Counter((row["kind"], row["by"]) for row in rows), sum(row["seconds"] for row in rows))


if __name__ == "__main__":
    main()
