"""Damaged and edited files of every kind: what rnneval makes of thousands of them.

Takes whole files (checkpoints of eight formats, records, tables, vocabularies), changes each as accidents and hands do
(cut off, bits flipped, runs zeroed, overwritten, doubled or cut out, members exchanged, JSON and HDF5 edited), and
opens it. Every change follows from its seed. A traceback, a hang above 20 s, a crash, a canary, or a flip under a
checksum that was accepted is a fault: it is listed, and the exit code is 1.

    PYTHONPATH=. python benchmarks/mutations.py --checkpoints 250 --plain 100 --out benchmarks/mutations.json
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.damage import checkpoints, plain
from tests.damage.opening import FINE, opener

Counts = dict[str, Counter[str]]


def of_checkpoints(count: int, first: int, only: list[str]) -> Iterator[dict[str, Any]]:
    """Open `count` mutants of each format, or of those named; give what is known after each."""
    by_subject: Counts = defaultdict(Counter)
    by_kind: Counts = defaultdict(Counter)
    faults = []
    folder = Path(tempfile.mkdtemp(prefix="rnneval-shelf-"))
    with opener(folder) as worker:
        for subject in checkpoints.subjects(folder).values():
            if only and subject.name not in only:
                continue
            files = subject.files(folder)
            begun = time.perf_counter()
            for seed in range(first, first + count):
                found = worker.outcome(subject, files, seed)
                by_subject[subject.name][found.outcome] += 1
                by_kind[found.what.partition(" ")[0]][found.outcome] += 1
                by_subject[subject.name]["under a checksum"] += found.protected
                if found.outcome not in FINE:
                    faults.append([subject.name, seed, found.what, found.outcome, found.said])
                    print(*faults[-1])
            print(subject.name, dict(by_subject[subject.name]), f"{time.perf_counter() - begun:.0f} s", flush=True)
            yield {"formats": by_subject, "changes": by_kind, "faults": faults, "largest_memory_kb": worker.memory}


def of_plain(count: int, first: int) -> dict[str, Any]:
    """Read `count` mutants of each record, table and vocabulary."""
    by_subject: Counts = defaultdict(Counter)
    faults = []
    for subject in plain.subjects():
        for seed in range(first, first + count):
            try:
                by_subject[subject.name][plain.outcome(subject, seed)[1]] += 1
            except Exception as error:
                by_subject[subject.name]["fault"] += 1
                faults.append([subject.name, seed, f"{type(error).__name__}: {error}"[:300]])
                print(*faults[-1])
        print(subject.name, dict(by_subject[subject.name]), flush=True)
    return {"kinds": by_subject, "faults": faults}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=250, help="mutants of each format")
    parser.add_argument("--plain", type=int, default=100, help="mutants of each record, table and vocabulary")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--only", action="append", default=[], metavar="FORMAT", help="this format of checkpoints")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"plain": {}, "checkpoints": {}}
    if given.plain:
        found["plain"] = of_plain(given.plain, given.first)
    if given.checkpoints:
        for found["checkpoints"] in of_checkpoints(given.checkpoints, given.first, given.only):
            save(found, given.out)  # a long run: what is done is kept
    save(found, given.out)
    return int(any(part.get("faults") for part in found.values()))


def save(found: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
