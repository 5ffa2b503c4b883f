"""The wiring check over its corpus: which rule names which fault, and whether intervention agrees with the tape.

    nice python benchmarks/wiring_corpus.py --seeds 0 1 2 --made 60 --intervene

Writes benchmarks/wiring_corpus.json after every model (a run that was stopped is taken up where it was) and prints the
table that docs/evidence/wiring.md shows.
"""
# ruff: noqa: E402, S311

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from rnneval.evaluate.check import check
from tests.wiring.corpus.case import Case, by_hand
from tests.wiring.corpus.generator import case_of, recipes


def judge(case: Case, seed: int) -> dict[str, Any]:
    """What the check says of one model."""
    began = time.perf_counter()
    wiring = check(case.build(), declare=case.declare, seed=seed)
    faults = [finding for finding in wiring.findings if finding.severity == "error"]
    errors = [finding.rule for finding in faults]
    named = next((finding for finding in faults if finding.rule == case.rule), None)
    return {
        "name": case.name,
        "seed": seed,
        "right": case.right,
        "held_back": case.held_back,
        "rule": case.rule,
        "expected": case.verdict,
        "verdict": wiring.verdict,
        "reason": wiring.reason,
        "rules": list(dict.fromkeys(errors)),
        "layer": named and named.layer,
        "line": named and named.line,
        "message": named and named.message,
        "oracles": [name for name, oracle in wiring.oracles.items() if oracle.verdict == "fail"],
        "seconds": round(time.perf_counter() - began, 2),
    }


def agreement(case: Case) -> dict[str, Any]:
    """Whether altering one emitted state at a time finds the same sources as the walk over the tape."""
    from tests.wiring.keras.agreement import compare

    return compare(case)


def everything(made: int) -> list[Case]:
    folder = Path(tempfile.mkdtemp(prefix="rnneval-corpus-"))
    chosen = list(recipes())
    random.Random(0).shuffle(chosen)
    return [*by_hand(), *(case_of(recipe, folder) for recipe in chosen[:made])]


def table(rows: list[dict[str, Any]]) -> str:
    """Fault × what found it, over all seeds."""
    wrong = [row for row in rows if not row["right"]]
    lines = [
        "| rule that names it | runs | fail | named by it | named first | oracles that fail |",
        "|---|---|---|---|---|---|",
    ]
    for rule in sorted({row["rule"] for row in wrong}):
        mine = [row for row in wrong if row["rule"] == rule]
        oracles = Counter(name for row in mine for name in row["oracles"])
        lines.append(
            f"| `{rule}` | {len(mine)} | {sum(row['verdict'] == 'fail' for row in mine)} "
            f"| {sum(rule in row['rules'] for row in mine)} | {sum(row['rules'][:1] == [rule] for row in mine)} "
            f"| {', '.join(f'{name} {count}' for name, count in oracles.most_common()) or 'none'} |"
        )
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    right, wrong = [r for r in rows if r["right"]], [r for r in rows if not r["right"]]
    return {
        "right_models": len({r["name"] for r in right}),
        "right_runs": len(right),
        "false_alarms": sorted({r["name"] for r in right if r["verdict"] == "fail"}),
        "not_as_expected": sorted({r["name"] for r in right if r["verdict"] != r["expected"]}),
        "wrong_models": len({r["name"] for r in wrong}),
        "wrong_runs": len(wrong),
        "missed": sorted({r["name"] for r in wrong if r["verdict"] != "fail"}),
        "named_by_another_rule": sorted({r["name"] for r in wrong if r["rule"] not in r["rules"]}),
        "no_layer": sorted({r["name"] for r in wrong if r["rule"] in r["rules"] and not r["layer"]}),
        "no_layer_nor_line": {
            r["name"]: r["message"] for r in wrong if r["rule"] in r["rules"] and not r["layer"] and not r["line"]
        },
        "named_share": round(sum(r["rule"] in r["rules"] for r in wrong) / max(len(wrong), 1), 4),
        "seconds_median": sorted(r["seconds"] for r in rows)[len(rows) // 2] if rows else 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--made", type=int, default=0, help="how many of the generator's models (480 in all)")
    parser.add_argument("--intervene", action="store_true", help="also compare the tape with interventions, seed 0")
    parser.add_argument("--out", type=Path, default=HERE / "wiring_corpus.json")
    options = parser.parse_args()
    known = (
        json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"rows": [], "agreement": []}
    )
    done = {(row["name"], row["seed"]) for row in known["rows"]}
    compared = {row["name"] for row in known["agreement"]}
    for seed in options.seeds:
        for case in everything(options.made):
            if (case.name, seed) not in done:
                known["rows"].append(judge(case, seed))
                _save(known, options.out)
    if options.intervene:
        for case in everything(options.made):
            if case.name not in compared:
                known["agreement"].append(agreement(case))
                _save(known, options.out)
    print(table(known["rows"]))
    print(json.dumps(known["summary"], indent=1))


def _save(known: dict[str, Any], path: Path) -> None:
    known["summary"] = summary(known["rows"])
    compared = [row for row in known["agreement"] if row["slots"]]
    known["summary"]["agreement"] = {
        "models": len(compared),
        "slots": sum(row["slots"] for row in compared),
        "differ": sorted(row["name"] for row in compared if row["differ"]),
        "cannot": sorted(row["name"] for row in known["agreement"] if row["why"]),
    }
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
