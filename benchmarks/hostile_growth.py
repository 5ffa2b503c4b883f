"""Hostile files in growing sizes: time and memory of the rnneval command must be linear in the size of its input.

A family is a kind of file with one measure that grows: attributes, layers, members, rows. Each drawn file is given to
the command in a process of its own, forked from one that has imported what the command needs. CPU seconds and the peak
of resident memory (VmHWM) beyond the memory at the fork are measured there, under a limit of both. A file fails if the
command takes more than 5 CPU seconds or 1 GB, if it is killed, if its exit code is not one of the family's, or if an
error is not one line. A family fails if its cost grows faster than its files do.

    PYTHONPATH=. python benchmarks/hostile_growth.py --out benchmarks/hostile_growth.json
    PYTHONPATH=. python benchmarks/hostile_growth.py --list

What is in the JSON file already is not run again, so that a long run can be stopped and continued. Families are
functions with the decorator `family`, here and in every module `benchmarks/hostile_growth_*.py`.
"""

import argparse
import contextlib
import importlib
import io
import json
import math
import os
import random
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MOST_SECONDS, MOST_MB = 5.0, 1024
KILLED_SECONDS, KILLED_MB = 12, 3072
"""Limits of the child; a file that reaches them has failed."""
NOISE_SECONDS, NOISE_MB = 0.5, 100.0
"""Below these the cost of a file says nothing about growth: start-up, caches and the pages of libraries."""
STEEPEST = 1.3
"""Largest exponent of cost over file size that still counts as linear: the width of the measuring error."""

LIBRARIES = ("seaborn", "jinja2", "pandas", "pyarrow.parquet", "scipy.special", "rnneval.cli.main", "rnneval.render")
"""What reports, gates and linting import when they run: imported before the fork, since it is no cost of a file."""

Build = Callable[[Path, int, random.Random], list[str]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of file that is drawn in growing sizes."""

    name: str
    grows: str
    """The measure that grows, in the plural: `attributes`."""
    sizes: tuple[int, ...]
    build: Build
    """Writes files of a size into a folder; returns the arguments of the rnneval command."""
    codes: tuple[int, ...]
    """The exit codes that are right: 0 where a file is accepted, 2 where it is refused."""
    tensorflow: bool
    """Whether the command needs TensorFlow, which is then imported before the fork."""


FAMILIES: dict[str, Family] = {}


def family(
    grows: str, sizes: tuple[int, ...], *, codes: tuple[int, ...] = (0, 2), tensorflow: bool = False
) -> Callable[[Build], Build]:
    """Register a function that builds the files of a family under the function's name with dashes."""

    def add(build: Build) -> Build:
        name = build.__name__.replace("_", "-")
        assert name not in FAMILIES, name
        FAMILIES[name] = Family(name=name, grows=grows, sizes=sizes, build=build, codes=codes, tensorflow=tensorflow)
        return build

    return add


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The measured cost of one file."""

    size: int
    """Of the measure that grows."""
    bytes: int
    """Of all files that were built."""
    code: int | None
    """The exit code; None where the process was killed or raised."""
    seconds: float
    """Of the processor."""
    megabytes: float
    """Peak of resident memory beyond the memory at the fork."""
    said: str
    """The line of error, cut at 200 characters."""


def measured(found: Family, size: int, seed: int) -> Cost:
    """Build the files of one size and run the command on them in a forked process."""
    with tempfile.TemporaryDirectory(prefix="rnneval-growth-") as name:
        folder = Path(name)
        arguments = found.build(folder, size, random.Random(seed))  # noqa: S311
        total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        told = _in_child(folder, arguments)
    return Cost(size=size, bytes=total, **told)


def _in_child(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Fork, run the command under limits, and return what the child measured of itself."""
    answer = folder / "answer.json"
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            _limit()
            answer.write_text(json.dumps(_run(folder, arguments)))
            code = 0
        os._exit(code)
    _, status, usage = os.wait4(child, 0)
    if answer.exists():
        return dict(json.loads(answer.read_text()))
    killed = f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended without an answer"
    seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    return {"code": None, "seconds": seconds, "megabytes": megabytes, "said": killed}


def _limit() -> None:
    address_space = _memory("VmSize") + KILLED_MB
    resource.setrlimit(resource.RLIMIT_AS, (int(address_space * 2**20),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (KILLED_SECONDS, KILLED_SECONDS + 1))


def _run(folder: Path, arguments: list[str]) -> dict[str, Any]:
    from rnneval.cli.main import run

    begun = _memory("VmRSS")
    os.chdir(folder)
    before, said = sum(os.times()[:2]), io.StringIO()
    code: int | None = None
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = run(arguments)
        except BaseException:
            said.write(traceback.format_exc(limit=-3))
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    if code == 2 and len(lines) != 1:
        code = None
    seconds, megabytes = sum(os.times()[:2]) - before, _memory("VmHWM") - begun
    return {"code": code, "seconds": seconds, "megabytes": megabytes, "said": " | ".join(lines)[-200:]}


def _memory(key: str) -> float:
    """Return a line of this process's status in megabytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def faults(found: Family, costs: list[Cost]) -> Iterator[str]:
    """Yield what is wrong with the costs of a family, a line each."""
    for cost in costs:
        at = f"{found.name} at {cost.size:,} {found.grows} ({cost.bytes:,} bytes)"
        if cost.code not in found.codes:
            yield f"{at}: exit code {cost.code}: {cost.said}"
        if not cost.seconds <= MOST_SECONDS:
            yield f"{at}: {cost.seconds:.1f} CPU seconds"
        if not cost.megabytes <= MOST_MB:
            yield f"{at}: {cost.megabytes:,.0f} MB"
    for what, noise in (("seconds", NOISE_SECONDS), ("megabytes", NOISE_MB)):
        steep = exponent([(cost.bytes, getattr(cost, what)) for cost in costs if getattr(cost, what) > noise])
        if not steep <= STEEPEST:
            yield f"{found.name}: {what} grow with the power {steep:.2f} of the file's size"


def exponent(points: list[tuple[float, float]]) -> float:
    """Return the slope of log cost over log size by least squares; 0 where the sizes do not span a factor of two.

    Example:
        >>> round(exponent([(1, 3.0), (10, 300.0), (100, 30000.0)]), 6)
        2.0
        >>> exponent([(1, 3.0), (1.5, 9.0)])
        0.0
    """
    if len(points) < 2 or max(size for size, _ in points) < 2 * min(size for size, _ in points):
        return 0.0
    x, y = ([math.log(point[axis]) for point in points] for axis in (0, 1))
    middle, level = math.fsum(x) / len(x), math.fsum(y) / len(y)
    above = math.fsum((a - middle) * (b - level) for a, b in zip(x, y, strict=True))
    return above / math.fsum((a - middle) ** 2 for a in x)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="FAMILY", help="run this family alone")
    parser.add_argument("--seeds", type=int, default=1, help="files drawn for each size (default 1)")
    parser.add_argument("--out", type=Path, help="JSON file for the costs; what is in it is not run again")
    parser.add_argument("--list", action="store_true", help="list the families and exit")
    given = parser.parse_args()
    load_families()
    if given.list:
        for found in FAMILIES.values():
            print(f"{found.name}: {', '.join(f'{size:,}' for size in found.sizes)} {found.grows}")
        return 0
    known = json.loads(given.out.read_text()) if given.out is not None and given.out.exists() else {}
    wanted = [found for found in FAMILIES.values() if not given.only or found.name in given.only]
    # Families without TensorFlow first: what has been imported once stays in every later fork.
    for found in sorted(wanted, key=lambda found: found.tensorflow):
        for library in (*LIBRARIES, *(("rnneval.models.keras",) if found.tensorflow else ())):
            importlib.import_module(library)
        held = known.setdefault(found.name, {})
        for seed in range(given.seeds):
            for size in found.sizes:
                if f"{size}/{seed}" not in held:
                    held[f"{size}/{seed}"] = asdict(measured(found, size, seed))
                    save(known, given.out)
        print(summary(found, costs_of(known, found)), flush=True)
    wrong = [line for found in wanted for line in faults(found, costs_of(known, found))]
    for line in wrong:
        print(line)
    return int(bool(wrong))


def load_families() -> None:
    """Import every module of families beside this one."""
    # Run as a script this module is `__main__`: the families must register in the very same registry.
    sys.modules.setdefault("benchmarks.hostile_growth", sys.modules[__name__])
    for path in sorted(Path(__file__).parent.glob("hostile_growth_*.py")):
        importlib.import_module(f"benchmarks.{path.stem}")


def costs_of(known: dict[str, Any], found: Family) -> list[Cost]:
    """Return the costs of a family in the order of its sizes."""
    return sorted((Cost(**held) for held in known.get(found.name, {}).values()), key=lambda cost: cost.size)


def summary(found: Family, costs: list[Cost]) -> str:
    """Return a line on the files of a family."""
    refused = sum(cost.code == 2 for cost in costs)
    worst = max(cost.seconds for cost in costs), max(cost.megabytes for cost in costs)
    return f"{found.name}: {len(costs)} files, {refused} refused, up to {worst[0]:.2f} CPU s and {worst[1]:,.0f} MB"


def save(known: dict[str, Any], out: Path | None) -> None:
    """Write the costs so that a killed run leaves the old file or the new one."""
    if out is not None:
        beside = out.with_name(f".{out.name}.part")
        beside.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        beside.replace(out)


if __name__ == "__main__":
    sys.exit(main())
