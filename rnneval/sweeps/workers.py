"""Worker processes and the tasks they run: processes of this machine, or those of a Dask scheduler that the user names.

On this machine a death costs the task that died, and a process too large is ended. A scheduler's tasks go over several
machines, one per worker at a time.
"""

import contextlib
import logging
import pickle
import re
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from typing import Any, Protocol, Self

import psutil

from rnneval.errors import UsageError
from rnneval.options import WorkerGroup
from rnneval.processes import cores, start_python

_ADDRESS = re.compile(r"^(?:(?:tcp|tls|ws|wss)://)?[^/\s:]+:\d+$|^(?:tcp|tls)://\[[0-9a-f:]+\]:\d+$", re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b", re.IGNORECASE)
_LEAST = 1 << 28  # bytes that TensorFlow alone takes
_FULL = 0.95  # a process that takes this part of its memory is ended
_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": "65536"}  # glibc gives memory back, so that no model counts for the next one
_LOOK = 0.1  # seconds between looks at the memory of the processes

_PATIENCE = 30  # seconds to wait for a scheduler, and for the first worker
_TICK = 1.0  # seconds between checks for slow tasks and for workers that came or went
_ALONE = 300.0  # seconds without any worker before the run is given up
_SLOW = 3.0  # a task that takes this many times as long as the median is started again on another worker
_AT_LEAST = 5.0  # … but not before it has run for this many seconds
_ANSWER = 60.0  # seconds for an answer to come over the network


@dataclass(frozen=True, kw_only=True)
class Task:
    """One call on a worker. It returns the same on any worker, so it may be made twice."""

    key: Any
    call: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    """Called when the task is sent: the arguments of all tasks at once may not fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """Result of a task."""

    key: Any
    value: Any = None
    error: BaseException | None = None  # the error that it raised, or `WorkerDiedError`
    seconds: float = 0.0


class WorkerDiedError(Exception):
    """Every worker process that ran this task died."""


class Pool(Protocol):
    """Runs tasks on workers."""

    @property
    def workers(self) -> int:
        """The most workers that were there at once."""

    def run(self, waiting: deque[Task]) -> Iterator[Done]:
        """Run the waiting tasks in this order; more may be added between two results."""


@dataclass(frozen=True, kw_only=True)
class Workers(WorkerGroup):
    """The workers to start or to connect to; without `jobs`, one process per core."""

    threads: int | None = None
    """Threads of TensorFlow in a process; None: an equal share of the cores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler is None:
            return
        if not _ADDRESS.match(self.scheduler):
            raise UsageError(f"--scheduler {self.scheduler}: not an address: give one such as tcp://10.0.0.1:8786")
        if self.jobs is not None or self.memory is not None:
            raise UsageError("--scheduler brings its own workers: leave out --jobs and --memory")
        if find_spec("distributed") is None:
            raise UsageError("distributed is not installed, and --scheduler needs it: pip install 'rnneval[dask]'")


@contextmanager
def connected(workers: Workers, *, tasks: int, duplicates: bool = False, deaths: int = 1) -> Iterator[Pool]:
    """Start or find workers, return a pool of them, and release them at the end.

    No more processes are started than there are tasks. With `duplicates`, a scheduler's workers start a task again that
    takes far longer than the others. So many `deaths` may a task cause before it is given up; a user's own scheduler
    has its own rule.
    """
    if workers.scheduler is not None:
        with _connected_to(workers.scheduler, duplicates=duplicates) as pool:
            yield pool
        return
    count = max(1, min(workers.jobs or cores(), tasks))
    threads = workers.threads or max(1, cores() // count)
    with ProcessPool(count, threads=threads, memory=memory_of_each(workers.memory, count), deaths=deaths) as own:
        yield own


# Processes of this machine


def memory_of_each(given: str | None, processes: int) -> int:
    """Return how many bytes each process may use: what is given, or an equal share of the machine's.

    Example:
        >>> memory_of_each("1.5GiB", 2)
        1610612736
    """
    if given is None:
        most: int = psutil.virtual_memory().total
        with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
            most = min(most, int(Path("/sys/fs/cgroup/memory.max").read_text()))
        return most // processes
    size = _SIZE.fullmatch(given.strip())
    if size is None:
        raise UsageError(f"--memory {given}: not a size: give one such as 4GB or 512MiB")
    unit = size[2].lower()
    base = 1024 if unit.endswith("i") else 1000
    found = int(float(size[1]) * base ** (" kmgt".index(unit[0]) if unit else 0))
    if found < _LEAST:
        raise UsageError(f"--memory {given}: too little for TensorFlow itself: give 512MiB or more")
    return found


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
        """Run the waiting tasks; where no process can be started, a UsageError says so."""
        running: set[Future[Done]] = set()
        with ThreadPoolExecutor(self._count) as threads:
            try:
                while waiting or running:
                    while waiting and len(running) < self._count:
                        if self._free.empty():  # fewer tasks run than workers may be
                            self._all.append(_Worker(self._threads))
                            self._free.put(self._all[-1])
                        task = waiting.popleft()
                        running.add(threads.submit(self._done, task, task.arguments(), self._free.get()))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                for worker in self._all if running else ():
                    worker.stop()  # the threads wait for them

    def _done(self, task: Task, arguments: tuple[Any, ...], worker: "_Worker") -> Done:
        began = time.monotonic()
        sent = pickle.dumps((task.call, arguments), protocol=5)
        value: Any = None
        error: BaseException | None = WorkerDiedError(f"{self._deaths + 1} processes died of it")
        try:
            for _ in range(self._deaths + 1):
                with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
                    value, error = worker.ask(sent)
                    break
        finally:
            self._free.put(worker)
        return Done(key=task.key, value=value, error=error, seconds=time.monotonic() - began)

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
        """Let the process make a pickled call, and return its result or error; EOFError or OSError: it died."""
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
            process = self._process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes were asked for
        try:
            process.stdin.write(sent)
            process.stdin.flush()
            answer: tuple[Any, BaseException | None] = pickle.load(process.stdout)  # noqa: S301 - of our own process
        except BaseException as error:
            closed = process.stdin.closed or process.stdout.closed  # by another thread, while it was read
            self.kill()
            if closed and isinstance(error, ValueError):
                raise EOFError from error
            raise
        return answer

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


# Workers of a Dask scheduler


@contextmanager
def _connected_to(address: str, *, duplicates: bool) -> Iterator["DaskPool"]:
    """Return a pool of a scheduler's workers; there must be some, and none may run two models in one process."""
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"--scheduler {address}: no Dask scheduler answers there ({why}): start one with `dask scheduler`"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError as error:
            raise UsageError(
                f"--scheduler {address}: no worker has come in {_PATIENCE} seconds: start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from error
        for name, worker in client.scheduler_info(n_workers=-1)["workers"].items():
            if worker["nthreads"] > 1:
                raise UsageError(
                    f"--scheduler {address}: worker {name} runs {worker['nthreads']} tasks at once in one process, and "
                    "a model is for one: start it with --nthreads 1 (and --nworkers for more of them)"
                )
        yield DaskPool(client, duplicates=duplicates)


class DaskPool:
    """Workers of a Dask cluster, through its client."""

    def __init__(self, client: Any, *, duplicates: bool) -> None:
        """Take a `distributed.Client`; with `duplicates`, slow tasks are started again on idle workers."""
        self._client, self._duplicates = client, duplicates
        self.workers = 0
        """The most workers that were there at once."""
        self._running: dict[Any, tuple[Task, float]] = {}  # the task of each future, and when it began
        self._seconds: list[float] = []
        self._alone_since: float | None = None
        self._slow: dict[str, Any] = {}
        """Workers with a slow task, by address, with its future: they get no other task."""

    def run(self, waiting: deque[Task]) -> Iterator[Done]:
        """Run the waiting tasks, until the scheduler is gone, or no worker has been there for five minutes."""
        import distributed

        try:
            while waiting or self._running:
                self._start(waiting)
                ended: list[Any] = []
                if self._running:
                    with contextlib.suppress(TimeoutError):
                        ended += distributed.wait([*self._running], timeout=_TICK, return_when="FIRST_COMPLETED").done
                else:
                    time.sleep(_TICK)
                for future in ended:
                    if (done := self._take(future)) is not None:
                        yield done
                if self._duplicates and not waiting:
                    self._begin_again()
        finally:
            self._drop(list(self._running))

    def _start(self, waiting: deque[Task]) -> None:
        there = len(self._client.scheduler_info(n_workers=-1)["workers"])
        self.workers = max(self.workers, there)
        now = time.monotonic()
        self._alone_since = None if there else (self._alone_since or now)
        if self._alone_since is not None and now - self._alone_since > _ALONE:
            raise UsageError(f"no worker has been there for {_ALONE:.0f} seconds: start some, and run it again")
        held_up = set(self._slow.values())
        free = there - len(self._slow) - sum(future not in held_up for future in self._running)
        while waiting and free > 0:
            self._submit(waiting.popleft())
            free -= 1

    def _submit(self, task: Task, workers: list[str] | None = None) -> None:
        """Send a task to one of some workers: by default to one without a slow task."""
        began = time.monotonic()
        if workers is None and self._slow:
            there = self._client.scheduler_info(n_workers=-1)["workers"]
            workers = [address for address in there if address not in self._slow]
        # Preferred and not required: a worker that was restarted has another address, and nothing may wait for the old.
        future = self._client.submit(
            task.call, *task.arguments(), pure=False, workers=workers or None, allow_other_workers=bool(workers)
        )
        self._running[future] = task, began

    def _take(self, future: Any) -> Done | None:
        """Return the result of a future; None for the later of two, and where no answer comes."""
        from distributed import KilledWorker

        if future not in self._running:
            return None
        task, began = self._running.pop(future)
        self._slow = {address: slow for address, slow in self._slow.items() if slow is not future}
        self._drop([other for other, (also, _) in self._running.items() if also is task])
        seconds = time.monotonic() - began
        self._seconds.append(seconds)
        if future.status == "finished":
            try:
                return Done(key=task.key, value=future.result(timeout=_ANSWER), seconds=seconds)
            except (TimeoutError, KilledWorker):
                # The answer was lost with its worker, or its worker stands still: the task is started again.
                self._client.cancel([future], force=True)
                self._submit(task)
                return None
        if future.status == "error":
            error = future.exception()
            error = WorkerDiedError(str(error)) if isinstance(error, KilledWorker) else error
            return Done(key=task.key, error=error, seconds=seconds)
        raise UsageError("the Dask scheduler is gone: what was finished is kept; run the same command again")

    def _drop(self, futures: list[Any]) -> None:
        for future in futures:
            del self._running[future]
        if futures:
            self._client.cancel(futures, force=True, reason="not needed any more", msg="")

    def _begin_again(self) -> None:
        """Start tasks that take far longer than the others again, on idle workers."""
        if not self._seconds:
            return
        slow = max(_AT_LEAST, _SLOW * median(self._seconds))
        late = {
            future.key: future
            for future, (_, began) in self._running.items()
            if time.monotonic() - began > slow and future not in self._slow.values()
        }
        if not late:
            return
        processing = self._client.processing()
        idle = [address for address, keys in processing.items() if not keys and address not in self._slow]
        for address, keys in processing.items():
            for future in (late[key] for key in keys if key in late):
                if idle:
                    self._slow[address] = future
                    self._submit(self._running[future][0], [idle.pop()])
