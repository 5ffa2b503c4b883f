"""Processes that score blocks of rows beside this one, from a moment at which they pay.

A worker is a Python process of its own that imports NumPy, and nothing of the current folder or of the user's script.
It reads and writes the arrays of its blocks in memory that it shares with this process; a line on its input says that
they are there, and a byte on its output that they are done. Its input ends when this process does, whatever ends it.

Which process scores a block changes no digit. A worker that fails is left out, and its blocks are scored here.
"""

import contextlib
import mmap
import os
import pickle
import select
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rnneval.backends.numpy.network import Network, Recipe
from rnneval.backends.numpy.room import Ask
from rnneval.processes import cores, start_python

_MOST = 8
"""Processes, this one included: more are slowed down by memory and by what is not divided."""
_PATIENCE = 60.0
"""Seconds that a worker may take longer than 20 times as long as this process took for its own blocks."""


class Worker:
    """One process, as this one sees it."""

    def __init__(self, recipe_file: int, size: int) -> None:
        """Start it; `recipe_file` is a descriptor of the pickled recipe, `size` the bytes of its blocks."""
        self.ready = False
        shared = _anonymous()
        try:
            os.ftruncate(shared, size)
            self.memory = mmap.mmap(shared, size)
            self._process = start_python(
                "rnneval.backends.numpy.worker", recipe_file, shared, threads=1, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=(recipe_file, shared),
            )  # fmt: skip
        finally:
            os.close(shared)

    def is_ready(self) -> bool:
        """Return whether it has begun to wait for blocks; never waits itself."""
        self.ready = self.ready or self.finish(0)
        return self.ready

    def begin(self, ask: Ask) -> bool:
        """Let it score the blocks that lie in its memory; return whether it could be asked."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        try:
            self._process.stdin.write(f"{ask.time} {ask.sees} {' '.join(map(str, ask.rows))}\n".encode())
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def finish(self, seconds: float) -> bool:
        """Wait until it is done; return whether it is."""
        out = self._process.stdout
        assert out is not None  # noqa: S101 - a pipe was asked for
        return bool(select.select([out], [], [], seconds)[0]) and os.read(out.fileno(), 1) == b"."

    def stop(self) -> None:
        """End the process at once: it holds nothing that would have to be written."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # closing writes what the process has not read
                if pipe is not None:
                    pipe.close()
        self._process.wait()


def _anonymous() -> int:
    """Return a descriptor of memory that has no name, or else of a file that has none any more."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rnneval")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Team:
    """The workers of one scorer."""

    def __init__(self, recipe: Recipe, network: Network) -> None:
        """Take the recipe that workers make the network from."""
        self._recipe, self._network = recipe, network
        self._count = min(_MOST, cores()) - 1 if os.name == "posix" else 0
        self.workers: list[Worker] = []
        self._stop = weakref.finalize(self, _stop_all, self.workers)

    @property
    def can_start(self) -> bool:
        """True if there may be workers, and none was started."""
        return self._count > 0

    def start(self, ask: Ask) -> None:
        """Start the workers for steps of at most these sizes; they are not ready yet."""
        count, self._count = min(self._count, len(ask.rows) - 1), 0
        recipe = _anonymous()
        try:
            with os.fdopen(os.dup(recipe), "wb") as file:
                pickle.dump(self._recipe, file, protocol=5)
            for _ in range(count):
                self.workers.append(Worker(recipe, ask.size(self._network)))
        except OSError:  # no process, no memory: this process goes on alone
            self.stop()
        finally:
            os.close(recipe)

    def ready(self, ask: Ask) -> list[Worker]:
        """Return the workers that are ready and have room for the blocks of a step."""
        size = ask.size(self._network)
        return [worker for worker in self.workers if worker.is_ready() and len(worker.memory) >= size]

    def drop(self, worker: Worker) -> None:
        """Leave out a worker that failed."""
        self.workers.remove(worker)
        worker.stop()

    def stop(self) -> None:
        """End all workers."""
        _stop_all(self.workers)


def _stop_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().stop()


def patience(own: float) -> float:
    """Return for how many seconds a worker is waited for when this process took `own` for its blocks."""
    return _PATIENCE + 20 * own


def shared_out(rooms: Sequence[Any], parts: int) -> list[slice]:
    """Divide blocks among processes, in their order, as evenly as can be; the first has other work and gets no more.

    Example:
        >>> shared_out(range(5), 2)
        [slice(0, 2, None), slice(2, 5, None)]
    """
    bounds = [len(rooms) * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
