"""Tasks on workers, through an executor of `concurrent.futures`: local processes, or those of a Dask cluster.

A worker that dies may take other tasks with it: all that a broken pool of processes held end with the same error. So
these are run again one at a time, until one of them dies alone: it is given up, and the rest go on together.
"""

import logging
import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    arguments: tuple[Any, ...]


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
    with Pool(count, memory=memory_of_each(workers.memory, count)) as own:
        yield own


class Pool:
    """Processes of this machine, each with one thread of linear algebra, started as tasks are submitted."""

    death: type[BaseException] = BrokenProcessPool
    """The error of tasks whose worker died."""
    tries_again = False
    """Whether a task has that error only after several workers died of it, or of one that they held at the time."""
    workers = 0
    """The most workers that were there at once."""

    def __init__(self, count: int, *, memory: int | None = None) -> None:
        """Take the number of processes, and the bytes that each may allocate; None: any number."""
        self._count, self._memory = count, memory
        self._executor: ProcessPoolExecutor | None = None

    def run(self, tasks: Sequence[Task], *, here: Callable[[Task], Any] | None = None) -> Iterator[Done]:
        """Run tasks, and yield the result of each when it is there.

        `here` runs tasks in this process: the first one, and then others that no worker has begun.
        """
        left = list(tasks)
        while left:
            hit = []  # keys of the tasks whose worker died
            for done in self._together(left, here):
                if isinstance(done.error, self.death):
                    hit.append(done.key)
                else:
                    yield done
            left, here = [task for task in left if task.key in hit], None
            if len(left) == 1 and self.tries_again:
                yield Done(key=left.pop().key, error=WorkerDiedError("its workers died"))
            died = False
            while left and not died:
                (done,) = self._together([left.pop(0)], None)
                died = isinstance(done.error, self.death)
                yield Done(key=done.key, error=WorkerDiedError("its worker died")) if died else done

    def _together(self, tasks: Sequence[Task], here: Callable[[Task], Any] | None) -> Iterator[Done]:
        """Submit tasks at once, and yield all results; where no process can be started, run all of them here.

        With `here`, each worker is given one task more than it runs: so it need not wait for this process.
        """
        waiting, futures = deque(tasks), dict[Future[Any], Task]()
        while waiting or futures:
            own = waiting.popleft() if here is not None and waiting else None
            try:
                while waiting and (here is None or len(futures) < 2 * self._count):
                    future = self._submit(waiting[0])
                    futures[future] = waiting.popleft()
            except UsageError:
                if here is None:
                    raise
                self._count = 0
            if here is not None and own is not None:
                yield Done(key=own.key, value=here(own))
            for future in wait(futures, 0 if own else None, FIRST_COMPLETED).done:
                task, error = futures.pop(future), future.exception()
                yield Done(key=task.key, error=error, value=None if error else future.result())

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

    def _submit(self, task: Task) -> Future[Any]:
        """Submit a task to the executor; one that is broken gives way to another."""
        try:
            with _as_workers():
                if self._executor is None:
                    spawning = multiprocessing.get_context("spawn")
                    self._executor = ProcessPoolExecutor(self._count, spawning, _begin, (self._memory,))
                future = self._executor.submit(_call, task.call, *task.arguments)
        except BrokenProcessPool:
            self._stop()
            return self._submit(task)
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

    tries_again = True

    def __init__(self, client: Any) -> None:
        """Take a `distributed.Client`."""
        from distributed import KilledWorker

        super().__init__(1)
        self.death, self._client, self._cluster = KilledWorker, client, client.get_executor(pure=False)

    def run(self, tasks: Sequence[Task], *, here: Callable[[Task], Any] | None = None) -> Iterator[Done]:
        """Run tasks; a UsageError says that the scheduler is gone."""
        try:
            yield from super().run(tasks, here=here)
        except (OSError, TimeoutError, CancelledError) as error:
            raise UsageError(
                "the Dask scheduler is gone: what was finished is kept; run the same command again"
            ) from error

    def _submit(self, task: Task) -> Future[Any]:
        self.workers = max(self.workers, len(self._client.nthreads()))
        future: Future[Any] = self._cluster.submit(task.call, *task.arguments)
        return future
