"""Tasks on workers, through an executor of `concurrent.futures`: local processes, or those of a Dask cluster.

A process that dies breaks the executor of this machine, and all running tasks end with the same error. So they are run
again when all others are done, one at a time: the task whose process dies again is given up. A Dask scheduler repeats
the tasks of a dead worker itself, and gives up the one whose workers die again and again.
"""

import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from rnneval.errors import UsageError
from rnneval.options import WorkerGroup
from rnneval.processes import THREADS, cores, without_current_folder

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?)b", re.IGNORECASE)
_LEAST = 1 << 28  # bytes that TensorFlow alone takes
_SETTINGS = {
    **dict.fromkeys(THREADS, "1"),
    "PYTHONSAFEPATH": "1",  # a module of the current folder must not stand in for another one
    "MALLOC_TRIM_THRESHOLD_": "65536",  # glibc gives memory back, so that no model counts for the next one
}
_PATIENCE = 30  # seconds to wait for a scheduler, and for its first worker


@dataclass(frozen=True, kw_only=True)
class Task:
    """One call on a worker. It returns the same on any worker, so it may be made again."""

    key: Any
    call: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    """Called when the task is submitted: the arguments of all tasks at once may not fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """Result of a task."""

    key: Any
    value: Any = None
    error: BaseException | None = None  # the error that it raised, or `WorkerDiedError`


class WorkerDiedError(Exception):
    """The workers that ran a task died."""


@contextmanager
def connected(workers: WorkerGroup, *, tasks: int) -> Iterator["Pool"]:
    """Return a pool of workers, and release them at the end; no more processes are started than there are tasks."""
    if workers.scheduler is not None:
        with _cluster(workers.scheduler) as pool:
            yield pool
        return
    count = max(1, min(workers.jobs or cores(), tasks))
    with ProcessPool(count, memory=memory_of_each(workers.memory, count)) as own:
        yield own


class Pool(ABC):
    """Runs tasks on an executor."""

    death: type[BaseException]
    """The error of a task whose worker died."""
    blames_one = False
    """Whether only the task that killed the worker ends with this error."""
    workers = 0
    """The most workers that were there at once."""

    def run(self, waiting: deque[Task], *, here: Callable[[Task], Any] | None = None) -> Iterator[Done]:
        """Run the waiting tasks in this order, and yield each result; more may be added between two results.

        `here` runs tasks in this process, which takes the first one, and another whenever it is free. So that workers
        need not wait for it, each is given a further task while it runs one.
        """
        running: dict[Future[Any], Task] = {}
        suspects: deque[Task] = deque()
        while waiting or running or suspects:
            alone = not waiting and not running
            own = waiting.popleft() if here is not None and waiting else None
            tasks, room = (suspects, 1) if alone else (waiting, self._room() * (1 if here is None else 2))
            while tasks and len(running) < room:
                task = tasks.popleft()
                try:
                    running[self._submit(task)] = task
                except UsageError:  # no process can be started: this one goes on alone
                    if here is None or alone:
                        raise
                    tasks.appendleft(task)
                    break
            if here is not None and own is not None:
                yield Done(key=own.key, value=here(own))
            else:
                wait(running, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future.done()]:
                task, error = running.pop(future), future.exception()
                if not isinstance(error, self.death):
                    yield Done(key=task.key, error=error, value=None if error else future.result())
                elif alone or self.blames_one:
                    yield Done(key=task.key, error=WorkerDiedError("its worker died"))
                else:
                    suspects.append(task)

    @abstractmethod
    def _room(self) -> int:
        """Return how many tasks may be submitted at once."""

    @abstractmethod
    def _submit(self, task: Task) -> Future[Any]:
        """Submit a task to the executor."""


# Processes of this machine


class ProcessPool(Pool):
    """Processes of this machine, each with one thread of linear algebra, started as tasks are submitted."""

    death = BrokenProcessPool

    def __init__(self, count: int, *, memory: int | None) -> None:
        """Take the number of processes, and the bytes that each may allocate; None: any number."""
        self._count, self._memory = count, memory
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        """End the processes at once, whatever they are doing: they hold nothing that would have to be written."""
        executor, self._executor = self._executor, None
        if executor is not None:
            for process in _processes_of(executor):
                process.kill()
            executor.shutdown(cancel_futures=True)

    def _room(self) -> int:
        return self._count

    def _submit(self, task: Task) -> Future[Any]:
        with suppress(BrokenProcessPool):
            return self._submitted(task)
        self._stop()
        return self._submitted(task)

    def _submitted(self, task: Task) -> Future[Any]:
        try:
            with _as_workers():
                if self._executor is None:
                    spawning = multiprocessing.get_context("spawn")
                    self._executor = ProcessPoolExecutor(self._count, spawning, _begin, (self._memory,))
                future = self._executor.submit(_call, task.call, *task.arguments())
        except (OSError, NotImplementedError) as error:  # the latter where the system has no semaphores
            self._stop()
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"a worker process cannot be started: {why}: give fewer --jobs") from error
        self.workers = max(self.workers, len(_processes_of(self._executor)))
        return future


def _processes_of(executor: ProcessPoolExecutor) -> list[Any]:
    return list((executor._processes or {}).values())  # Python 3.14 has `kill_workers`


@contextmanager
def _as_workers() -> Iterator[None]:
    """Start processes in the block that have one thread, ignore Ctrl-C and do not run the script of this process.

    Ctrl-C reaches all processes of a terminal: only this one answers to it. A script that trains a model and then
    evaluates it would train again in every worker.
    """
    before, main = {name: os.environ.get(name) for name in _SETTINGS}, sys.modules["__main__"]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    os.environ.update(_SETTINGS)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if blocked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _begin(memory: int | None) -> None:
    """Begin a worker: it prints nothing, allocates no more than it may, and ends with the process that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    if memory is not None and sys.platform == "linux":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        memory = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))
    with without_current_folder():
        import_module("rnneval.evaluate.rows")  # and NumPy, which must be the installed one


def _call(call: Callable[..., Any], *arguments: Any) -> Any:
    """Make a call in a worker; an error that pickle cannot carry is raised by its name and message."""
    try:
        return call(*arguments)
    except Exception as error:
        carried = None
        with suppress(Exception):
            carried = str(pickle.loads(pickle.dumps(error)))  # noqa: S301 - written in this line
        if carried == str(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a worker
    parent.join()
    os._exit(1)


def memory_of_each(size: str | None, processes: int) -> int | None:
    """Return how many bytes each process may allocate: an equal share of the machine's if no size is given.

    None: only Linux counts what a process allocates.

    Example:
        >>> memory_of_each("1.5GiB", 2)
        1610612736
    """
    if size is None:
        return _all_memory() // processes if sys.platform == "linux" else None
    if sys.platform != "linux":
        raise UsageError(f"--memory {size}: only Linux can limit the memory of a process: leave it out")
    parts = _SIZE.fullmatch(size.strip())
    if parts is None:
        raise UsageError(f"--memory {size}: not a size: give one such as 4GB or 512MiB")
    unit = parts[2].lower()
    base = 1024 if unit.endswith("i") else 1000
    allowed = int(float(parts[1]) * base ** (" kmgt".index(unit[0]) if unit else 0))
    if allowed < _LEAST:
        raise UsageError(f"--memory {size}: too little for TensorFlow itself: give 512MiB or more")
    return allowed


def _all_memory() -> int:
    most: int = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        most = min(most, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return most


# Workers of a Dask cluster


@contextmanager
def _cluster(address: str) -> Iterator["DaskPool"]:
    """Connect to a scheduler that has workers; at the end, what is left of the tasks is dropped with the connection."""
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"--scheduler {address}: no Dask scheduler answers there ({why}): start one with `dask scheduler`, and "
            "give its address, such as tcp://10.0.0.1:8786"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise UsageError(
                f"--scheduler {address}: no worker has come in {_PATIENCE} seconds: start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from error
        yield DaskPool(client)


class DaskPool(Pool):
    """Workers of a Dask cluster: its scheduler decides which runs a task, and how often it is tried."""

    blames_one = True

    def __init__(self, client: Any) -> None:
        """Take a `distributed.Client`."""
        from distributed import KilledWorker

        self.death = KilledWorker
        self._client, self._executor = client, client.get_executor(pure=False)

    def run(self, waiting: deque[Task], *, here: Callable[[Task], Any] | None = None) -> Iterator[Done]:
        """Run the waiting tasks; a UsageError says that the scheduler is gone."""
        try:
            yield from super().run(waiting, here=here)
        except (OSError, TimeoutError, CancelledError) as error:
            raise UsageError(
                "the Dask scheduler is gone: what was finished is kept; run the same command again"
            ) from error

    def _room(self) -> int:
        threads: dict[str, int] = self._client.nthreads()
        self.workers = max(self.workers, len(threads))
        return max(1, sum(threads.values()))  # a task that waits on a worker is blamed for its death as well

    def _submit(self, task: Task) -> Future[Any]:
        future: Future[Any] = self._executor.submit(task.call, *task.arguments())
        return future
