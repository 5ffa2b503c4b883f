"""Worker processes on this machine: a death costs the task that died, a process too large is ended."""

import contextlib
import pickle
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

import psutil

from rnneval.errors import UsageError
from rnneval.processes import start_python
from rnneval.sweeps.pool import Done, Task, WorkerDiedError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b", re.IGNORECASE)
_LEAST = 1 << 28
"""Bytes that TensorFlow alone takes."""
_FULL = 0.95
"""A process that takes this part of its memory is ended."""
_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": "65536"}  # glibc gives memory back, so that no model counts for the next one
_LOOK = 0.1  # seconds between looks at the memory of the processes


class ProcessPool:
    """Processes of this machine that run tasks, started with the first task for each of them."""

    def __init__(self, count: int, *, threads: int, memory: int, deaths: int) -> None:
        """Take the number of processes, threads and bytes in each, and after how many deaths a task is given up."""
        self._count, self._threads, self._memory, self._deaths = count, threads, memory, deaths
        self._all: list[_Worker] = []
        self._free: SimpleQueue[_Worker] = SimpleQueue()
        self._closed = threading.Event()

    @property
    def workers(self) -> int:
        """The most workers that were there at once."""
        return len(self._all)

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        for worker in self._all:
            worker.stop()

    def run(self, waiting: deque[Task]) -> Iterator[Done]:
        """Run the waiting tasks.

        Raises:
            UsageError: no process can be started.
        """
        running: set[Future[Done]] = set()
        with ThreadPoolExecutor(self._count) as threads:
            try:
                while waiting or running:
                    while waiting and len(running) < self._count:
                        task = waiting.popleft()
                        running.add(threads.submit(self._done, task, task.arguments(), self._worker()))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                for worker in self._all if running else ():
                    worker.stop()  # the threads wait for them

    def _worker(self) -> "_Worker":
        """Return a worker without a task: there are fewer running tasks than workers may be."""
        if self._free.empty():
            worker = _Worker(self._threads)
            self._all.append(worker)
            return worker
        return self._free.get()

    def _done(self, task: Task, arguments: tuple[Any, ...], worker: "_Worker") -> Done:
        began = time.monotonic()
        sent = pickle.dumps((task.call, arguments), protocol=5)
        try:
            for _ in range(self._deaths + 1):
                with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
                    value, error = worker.ask(sent)
                    return Done(key=task.key, value=value, error=error, seconds=time.monotonic() - began)
            died = WorkerDiedError(f"{self._deaths + 1} processes died of it")
            return Done(key=task.key, error=died, seconds=time.monotonic() - began)
        finally:
            self._free.put(worker)

    def _watch(self) -> None:
        """End processes that take more memory than they may."""
        while not self._closed.wait(_LOOK):
            for worker in list(self._all):
                if worker.memory() > _FULL * self._memory:
                    worker.kill()


class _Worker:
    """One process at a time: where it has died, the next task starts another one."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def ask(self, sent: bytes) -> tuple[Any, BaseException | None]:
        """Let the process make a pickled call, and return its result or error.

        Raises:
            EOFError, OSError: the process died.
            UsageError: no process can be started.
        """
        process = self._started()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes were asked for
        try:
            process.stdin.write(sent)
            process.stdin.flush()
            answer: tuple[Any, BaseException | None] = pickle.load(process.stdout)  # noqa: S301 - of our own process
        except BaseException:
            self.kill()
            raise
        return answer

    def _started(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._stopped:
                raise EOFError
            if self._process is None:
                try:
                    self._process = start_python(
                        "rnneval.sweeps.worker", threads=self._threads, settings=_SETTINGS, stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    )  # fmt: skip
                except OSError as error:
                    why = error.strerror or error
                    raise UsageError(f"a worker process cannot be started: {why}: give fewer --jobs") from error
            return self._process

    def memory(self) -> int:
        """Return how many bytes the process takes; 0 if there is none."""
        process = self._process
        try:
            return 0 if process is None else int(psutil.Process(process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def kill(self) -> None:
        """End the process at once: it holds nothing that would have to be written."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError, ValueError):  # closing writes what the process has not read
                    if pipe is not None:
                        pipe.close()

    def stop(self) -> None:
        """End the process, and start none in its place."""
        self._stopped = True
        self.kill()


def memory_of_each(given: str | None, processes: int) -> int:
    """Return how many bytes each process may use: what is given, or an equal share of the machine's.

    Raises:
        UsageError: what is given is no size, or TensorFlow alone takes more.

    Example:
        >>> memory_of_each("1.5GiB", 2)
        1610612736
    """
    if given is None:
        return _memory_of_machine() // processes
    size = _SIZE.fullmatch(given.strip())
    if size is None:
        raise UsageError(f"--memory {given}: not a size: give one such as 4GB or 512MiB")
    unit = size[2].lower()
    base = 1024 if unit.endswith("i") else 1000
    found = int(float(size[1]) * base ** (" kmgt".index(unit[0]) if unit else 0))
    if found < _LEAST:
        raise UsageError(f"--memory {given}: too little for TensorFlow itself: give 512MiB or more")
    return found


def _memory_of_machine() -> int:
    """Return the bytes of the machine, or of the container that this process is in."""
    most: int = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        most = min(most, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return most
