"""Calls on workers, through an executor of `concurrent.futures`: local processes, or those of a Dask cluster.

A worker that dies may take other calls with it: all that a broken pool of processes held end with the same error. So
these are made again one at a time, until one of them dies alone: it is given up, and the rest go on together.
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
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Self, TypeVar

from rnneval.errors import UsageError
from rnneval.options import WorkerGroup
from rnneval.processes import THREADS, cores, without_current_folder

T = TypeVar("T")
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)(?P<i>i?)b", re.IGNORECASE)
_LEAST = 1 << 28  # bytes that TensorFlow alone takes
_SETTINGS = {
    **dict.fromkeys(THREADS, "1"),
    "PYTHONSAFEPATH": "1",  # a module of the current folder must not stand in for another one
    "MALLOC_TRIM_THRESHOLD_": "65536",  # glibc gives memory back, so that no model counts for the next one
}
_ANSWER, _PATIENCE = 3, 30  # seconds to wait for the answer of a scheduler, and for its first worker


class WorkerDiedError(Exception):
    """The workers that made a call died."""


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
    """Processes of this machine, each with one thread of linear algebra, started as calls are submitted."""

    death: type[BaseException] = BrokenProcessPool  # the error of calls whose worker died
    tries_again = False  # whether a call has that error only after several workers died
    workers = 0  # the most that were there at once

    def __init__(self, count: int, *, memory: int | None = None) -> None:
        """Take the number of processes, and the bytes that each may allocate; None: any number."""
        self._count, self._memory = count, memory
        self._executor: ProcessPoolExecutor | None = None

    def run(
        self, call: Callable[[T], Any], items: Sequence[T], *, here: Callable[[T], Any] | None = None
    ) -> Iterator[tuple[T, Future[Any]]]:
        """Call a function with each item, and yield the item with its future, which is done.

        It returns the same on any worker, so a call may be made again. The future has a `WorkerDiedError` where the
        workers died of it. `here` is called in this process: with the first item, then others that no worker has begun.
        """
        left, alone = list(items), False
        while left:
            some, left = (left[:1], left[1:]) if alone else (left, [])
            hit = []  # items whose worker died
            for item, done in self._together(call, some, here):
                if isinstance(done.exception(), self.death):
                    hit.append(item)
                else:
                    yield item, done
            if died := len(hit) == 1 and (alone or self.tries_again):
                yield hit.pop(), _ended(error=WorkerDiedError("its worker died"))
            left, alone, here = [*hit, *left], not died if alone else bool(hit), None

    def _together(
        self, call: Callable[[T], Any], items: Sequence[T], here: Callable[[T], Any] | None
    ) -> Iterator[tuple[T, Future[Any]]]:
        """Submit calls at once, and yield all that is done; where no process can be started, make all of them here."""
        waiting, futures = deque(items), dict[Future[Any], T]()
        while waiting or futures:
            own = [waiting.popleft()] if here is not None and waiting else []
            try:
                while waiting and (here is None or len(futures) < 2 * self._count):
                    futures[self._submit(call, waiting[0])] = waiting[0]
                    waiting.popleft()
            except UsageError:
                if here is None:
                    raise
                self._count = 0
            for item in own:
                assert here is not None  # noqa: S101 - there is an own item
                yield item, _ended(here(item))
            for done in wait(futures, 0 if own else None, FIRST_COMPLETED).done:
                yield futures.pop(done), done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes at once, whatever they are doing: they hold nothing that would have to be written."""
        executor, self._executor = self._executor, None
        if executor is not None:
            for process in _processes_of(executor):
                process.kill()
            executor.shutdown(cancel_futures=True)

    def _submit(self, call: Callable[[T], Any], item: T) -> Future[Any]:
        """Submit a call to the executor; one that is broken gives way to another."""
        try:
            with _as_workers():
                if self._executor is None:
                    spawning = multiprocessing.get_context("spawn")
                    self._executor = ProcessPoolExecutor(self._count, spawning, _begin, (self._memory,))
                future = self._executor.submit(_call, call, item)
        except BrokenProcessPool:
            self.__exit__()
            return self._submit(call, item)
        except (OSError, NotImplementedError) as error:  # the latter where the system has no semaphores
            self.__exit__()
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"a worker process cannot be started: {why}: give fewer --jobs") from error
        self.workers = max(self.workers, len(_processes_of(self._executor)))
        return future


def _ended(value: Any = None, error: BaseException | None = None) -> Future[Any]:
    """Return a future that is done."""
    future = Future[Any]()
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
    return future


def _processes_of(executor: ProcessPoolExecutor) -> list[Any]:
    return list((executor._processes or {}).values())  # Python 3.14 has `kill_workers`


@contextmanager
def _as_workers() -> Iterator[None]:
    """Start processes in the block that have one thread, ignore Ctrl-C and do not run the script of this process.

    Ctrl-C reaches all processes of a terminal: only this one answers to it. A script that trains a model and then
    evaluates it would train again in every worker.
    """
    before = {name: value for name, value in os.environ.items() if name in _SETTINGS}
    main = sys.modules["__main__"]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if hasattr(signal, "pthread_sigmask") else None
    os.environ.update(_SETTINGS)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name in _SETTINGS:
            del os.environ[name]
        os.environ.update(before)
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


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    parent.join()
    os._exit(1)


def _call(call: Callable[[T], Any], item: T) -> Any:
    """Make a call in a worker; an error that pickle cannot carry is raised by its name and message."""
    try:
        return call(item)
    except Exception as error:
        carried = None
        with suppress(Exception):
            carried = str(pickle.loads(pickle.dumps(error)))  # noqa: S301 - written in this line
        if carried == str(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def memory_of_each(size: str | None, processes: int) -> int | None:
    """Return how many bytes each process may allocate: an equal share of the machine's if no size is given.

    None: only Linux counts what a process allocates.

    >>> memory_of_each("1.5GiB", 2)
    1610612736
    """
    if sys.platform != "linux":
        if size is not None:
            raise UsageError(f"--memory {size}: only Linux can limit the memory of a process: leave it out")
        return None
    if size is None:
        most: int = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
            most = min(most, int(Path("/sys/fs/cgroup/memory.max").read_text()))
        return most // processes
    parts = _SIZE.fullmatch(size.strip())
    if parts is None:
        raise UsageError(f"--memory {size}: not a size: give one such as 4GB or 512MiB")
    base, power = 1024 if parts["i"] else 1000, " kmgt".index(parts["unit"].lower() or " ")
    allowed = int(float(parts["number"]) * base**power)
    if allowed < _LEAST:
        raise UsageError(f"--memory {size}: too little for TensorFlow itself: give 512MiB or more")
    return allowed


# Workers of a Dask cluster


@contextmanager
def _cluster(address: str) -> Iterator["DaskPool"]:
    """Connect to a scheduler that has workers; at the end, what is left of the calls is dropped with the connection."""
    from distributed import Client

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        client = Client(address, timeout=_ANSWER)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        raise UsageError(
            f"--scheduler {address}: no Dask scheduler answers there ({type(error).__name__}): start one with "
            "`dask scheduler`, and give its address, such as tcp://10.0.0.1:8786"
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

    def run(
        self, call: Callable[[T], Any], items: Sequence[T], *, here: Callable[[T], Any] | None = None
    ) -> Iterator[tuple[T, Future[Any]]]:
        """Make calls; a UsageError says that the scheduler is gone."""
        try:
            yield from super().run(call, items, here=here)
        except (OSError, TimeoutError, CancelledError) as error:
            raise UsageError(
                "the Dask scheduler is gone: what was finished is kept; run the same command again"
            ) from error

    def _submit(self, call: Callable[[T], Any], item: T) -> Future[Any]:
        self.workers = max(self.workers, len(self._client.nthreads()))
        future: Future[Any] = self._cluster.submit(call, item)
        return future
