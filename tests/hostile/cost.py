"""The cost of one command in a process of its own: processor seconds, and the most memory that it ever held."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CHILD = """
import json, resource, sys
limit = 6 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from rnneval.cli.main import run
code = run(sys.argv[2:])
sys.stdout.flush()
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
with open(sys.argv[1], "w") as file:
    json.dump({"code": code, "seconds": used.ru_utime + used.ru_stime, "mb": int(peak.split()[1]) / 1024}, file)
"""


@dataclass(frozen=True)
class Cost:
    """The outcome of a command."""

    code: int
    seconds: float
    """Of the processor, user and system together."""
    mb: float
    """VmHWM: the peak of the resident memory."""
    printed: str
    said: str


def cost(*arguments: object, cwd: Path, seconds: float = 120) -> Cost:
    """Run `rnneval ARGUMENTS` in a folder, with 6 GB of address space at the most.

    Raises:
        subprocess.TimeoutExpired: it takes longer than `seconds` on the clock.
        AssertionError: it crashed.
    """
    result = cwd / "cost.json"
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CHILD, result, *map(str, arguments)],
        capture_output=True, text=True, errors="replace", cwd=cwd, timeout=seconds, check=False,
        stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(result.read_text())
    result.unlink()
    return Cost(**found, printed=done.stdout, said=done.stderr)


def require_refused(done: Cost, *words: str, mb: float = 1000) -> None:
    """Hold a refusal to what is promised: one line, exit code 2, 5 processor seconds, 1 GB more than an idle start."""
    assert done.code == 2, done
    assert done.said.count("\n") == 1, done.said
    assert done.said.startswith("rnneval: error: ")
    assert "defect" not in done.said
    assert [word for word in words if word not in done.said] == [], done.said
    assert done.seconds < 10, done  # twice what is promised: machines differ
    assert done.mb < mb, done
