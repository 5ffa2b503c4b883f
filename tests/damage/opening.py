"""Many damaged checkpoints, opened one after another by a process that is used again, and restarted where it dies."""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.damage.checkpoints import Subject
from tests.damage.mutating import Files, Mutant
from tests.damage.worker import SECONDS

_PATIENCE = SECONDS + 15
"""Seconds after which a process that does not even hear its alarm is killed."""
_STARTS = 300


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one mutant."""

    subject: str
    seed: int
    what: str
    outcome: str
    """`refused`, `unchanged`, `another`; `fault`, `hang`, `crash`, `canary`, `accepted` (under a checksum)."""
    protected: bool = False
    said: str = ""
    trace: str = ""


FINE = ("refused", "unchanged", "another")


class Opener:
    """Opens checkpoints in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._whole: dict[str, str] = {}
        self.memory = 0

    def outcome(self, subject: Subject, files: Files, seed: int) -> Outcome:
        """Open the mutant of a seed."""
        if subject.name not in self._whole:
            answer = self._opened(subject, files)
            assert answer.get("outcome") == "opened", (subject.name, answer)
            self._whole[subject.name] = answer["print"]
        found = subject.mutant(files, seed)
        answer = self._opened(subject, found.files)
        self.memory = max(self.memory, answer.get("memory", 0))
        return Outcome(
            subject=subject.name, seed=seed, what=found.what[:200], protected=found.protected,
            outcome=self._judged(subject, found, answer),
            said=answer.get("said", "") or "; ".join(answer.get("canaries", [])), trace=answer.get("trace", ""),
        )  # fmt: skip

    def _judged(self, subject: Subject, found: Mutant, answer: dict[str, Any]) -> str:
        if answer.get("canaries"):
            return "canary"
        if answer["outcome"] == "opened":
            if answer["print"] == self._whole[subject.name]:
                return "unchanged"
            return "accepted" if found.protected else "another"
        if answer["outcome"] == "refused" and not answer["said"].strip():
            return "fault"
        return str(answer["outcome"])

    def _opened(self, subject: Subject, files: Files) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="rnneval-mutant-") as name:
            folder = Path(name) / "m"
            for relative, raw in files.items():
                path = folder / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)
            return self._asked({"path": str(subject.opened_at(folder)), "options": subject.options})

    def _asked(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        line = self._line(_PATIENCE)
        if line:
            answer: dict[str, Any] = json.loads(line)
            return {**answer, "outcome": "hang"} if answer.get("said", "").startswith("TooLongError") else answer
        with suppress(subprocess.TimeoutExpired):
            return {"outcome": "crash", "said": f"the process ended with {process.wait(timeout=1)}"}
        self.close()
        return {"outcome": "hang", "said": f"no answer within {_PATIENCE} seconds"}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.damage.worker", str(self._folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )  # fmt: skip
            assert self._line(_STARTS) == "ready\n", "the process that opens checkpoints did not start"
        return self._process

    def _line(self, seconds: float) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline() if ready else ""

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


@contextmanager
def opener(folder: Path) -> Iterator[Opener]:
    """Give a process to open checkpoints with, which makes the whole ones in the folder first."""
    made = Opener(folder)
    made._running()
    try:
        yield made
    finally:
        made.close()
