"""Cached models of transformers: what two ways of reading the same text make of them, and what rnneval's check says.

    PYTHONPATH=benchmarks:. python benchmarks/cached_models.py now [CLASS…]    # the classes of the installed release
    PYTHONPATH=benchmarks:. python benchmarks/cached_models.py now [CLASS…] --only loops --loops generate- reset
    PYTHONPATH=benchmarks:. python benchmarks/cached_models.py packages        # other packages, where installed
    PYTHONPATH=benchmarks:. python benchmarks/cached_models.py history ENVIRONMENTS [RELEASE…]
    PYTHONPATH=benchmarks:. python benchmarks/cached_models.py tables          # writes the tables of the page

writes docs/records/cached_models.json, which docs/cached-models.md shows. `history` starts
`ENVIRONMENTS/tRELEASE/bin/python` for each release, where `uv pip install --no-deps transformers==RELEASE` and the
releases of tokenizers and huggingface_hub that it asks for were installed. The tests make none of this.
"""

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cached-models.md"
RECORD = ROOT / "docs" / "records" / "cached_models.json"


def load() -> dict[str, Any]:
    """Return the record, empty where there is none."""
    if not RECORD.exists():
        return {"versions": {}, "now": {}, "packages": {}, "history": {}}
    record: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


@contextmanager
def changing() -> Iterator[dict[str, Any]]:
    """Change the record while no other process does."""
    with (Path(tempfile.gettempdir()) / "cached_models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = load()
        yield record
        store(record)


def store(record: Mapping[str, Any]) -> None:
    """Write the record; sizes keep three digits."""
    text = json.dumps(_rounded(record), indent=1, ensure_ascii=False, sort_keys=False)
    RECORD.write_text(f"{text}\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.3g}") if abs(value) != float("inf") else "infinite"
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def run_now(
    names: Sequence[str], *, loops: bool, checks: bool, only_calls: bool, begins: Sequence[str] = ("",)
) -> None:
    """Run the loops, in float32 and float64, and the check on classes of the installed release.

    Of the loops, those whose names begin with one of `begins` are run, and the others stay as the record has them.
    """
    import torch
    import transformers
    from cached.configurations import CLASSES, build
    from cached.loops import LOOPS, measure

    if not loops or checks:
        from cached.checked import calls, check

    quiet()
    for name in names or CLASSES:
        begun, entry = time.process_time(), {}
        if loops:
            some = [loop for loop in LOOPS if loop.startswith(tuple(begins))]
            entry["float32"] = measure(build(name), some)
            entry["float64"] = measure(build(name, dtype=torch.float64), some)
        if checks:
            entry["check"] = check(build(name))
        if checks or only_calls:
            entry["calls"] = calls(build(name))
        print(f"{name}: {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)
        with changing() as record:
            record["versions"] |= {"transformers": transformers.__version__, "torch": torch.__version__}
            record["date"] = dt.datetime.now(tz=dt.UTC).date().isoformat()
            before = record["now"].setdefault(name, {})
            for precision in {"float32", "float64"} & entry.keys():
                sizes = {**before.get(precision, {}), **entry[precision]}
                entry[precision] = {loop: sizes[loop] for loop in LOOPS if loop in sizes}
            before.update(entry)


def run_history(environments: Path, releases: Sequence[str], *, checks: bool) -> None:
    """Run each release's rows in its own environment."""
    from cached.rows import RELEASES

    for release in releases or RELEASES:
        command = [environments / f"t{release}" / "bin" / "python", "-m", "cached.history", *["--check"] * checks]
        paths = os.pathsep.join(map(str, (ROOT / "benchmarks", ROOT)))
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            print(f"{release}: ended with {done.returncode}", file=sys.stderr, flush=True)
            continue
        printed = json.loads(done.stdout.splitlines()[-1])
        print(f"{release}: {len(printed['rows'])} rows", file=sys.stderr, flush=True)
        with changing() as record:
            entry = record["history"].setdefault(release, {"rows": {}, "checks": {}})
            entry["rows"].update(printed["rows"])
            entry["checks"].update(printed["checks"])


def quiet() -> None:
    """Run on one thread, without the warnings of the libraries."""
    import torch

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def main() -> None:
    """Run a part of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["now", "packages", "history", "tables"])
    parser.add_argument("names", nargs="*")
    parser.add_argument(
        "--only", choices=["loops", "check", "calls"], help="run this alone; calls: the check's tests of calls"
    )
    parser.add_argument("--loops", nargs="+", default=[""], metavar="NAME", help="run loops that begin so alone")
    options = parser.parse_intermixed_args()
    loops, checks = options.only in {None, "loops"}, options.only in {None, "check"}
    if options.part == "now":
        run_now(options.names, loops=loops, checks=checks, only_calls=options.only == "calls", begins=options.loops)
    elif options.part == "history":
        run_history(Path(options.names[0]), options.names[1:], checks=checks)
    elif options.part == "packages":
        from cached.packages import run_packages

        quiet()
        found = run_packages(checks=checks)
        with changing() as record:
            record["packages"] |= found
    else:
        from cached.tables import put

        PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), load()), encoding="utf-8")


if __name__ == "__main__":
    main()
