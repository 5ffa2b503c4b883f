"""Workers of a Dask scheduler: tasks over several machines, one per worker at a time."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from rnneval.errors import UsageError
from rnneval.sweeps.pool import Done, Task, WorkerDiedError

_PATIENCE = 30  # seconds to wait for a scheduler, and for the first worker
_TICK = 1.0  # seconds between checks for slow tasks and for workers that came or went
_ALONE = 300.0  # seconds without any worker before the run is given up
_SLOW = 3.0
"""A task that takes this many times as long as the median is started again on another worker."""
_AT_LEAST = 5.0  # … but not before it has run for this many seconds
_ANSWER = 60.0  # seconds for an answer to come over the network


@dataclass(kw_only=True, eq=False)
class _Running:
    task: Task
    began: float


class DaskPool:
    """Workers of a Dask cluster, through its client."""

    def __init__(self, client: Any, *, duplicates: bool) -> None:
        """Take a `distributed.Client`; with `duplicates`, slow tasks are started again on idle workers."""
        self._client, self._duplicates = client, duplicates
        self._running: dict[Any, _Running] = {}
        self._seconds: list[float] = []
        self._most = 0
        self._alone_since: float | None = None
        self._slow: dict[str, Any] = {}
        """Workers with a slow task, by address, with its future: they get no other task."""

    @property
    def workers(self) -> int:
        """The most workers that were there at once."""
        return self._most

    def run(self, waiting: deque[Task]) -> Iterator[Done]:
        """Run the waiting tasks.

        Raises:
            UsageError: the scheduler is gone, or no worker is left for five minutes.
        """
        try:
            while waiting or self._running:
                self._start(waiting)
                for future in self._ended():
                    if (done := self._take(future)) is not None:
                        yield done
                if self._duplicates and not waiting:
                    self._begin_again()
        finally:
            self._drop(list(self._running))

    def _start(self, waiting: deque[Task]) -> None:
        held_up = set(self._slow.values())
        free = self._count() - len(self._slow) - sum(future not in held_up for future in self._running)
        while waiting and free > 0:
            self._submit(_Running(task=waiting.popleft(), began=time.monotonic()), self._quick())
            free -= 1

    def _quick(self) -> list[str] | None:
        """Return the preferred workers; None if all are equal."""
        if not self._slow:
            return None
        return [
            address for address in self._client.scheduler_info(n_workers=-1)["workers"] if address not in self._slow
        ]

    def _count(self) -> int:
        workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        self._most = max(self._most, workers)
        now = time.monotonic()
        self._alone_since = None if workers else (self._alone_since or now)
        if self._alone_since is not None and now - self._alone_since > _ALONE:
            raise UsageError(f"no worker has been there for {_ALONE:.0f} seconds: start some, and run it again")
        return workers

    def _submit(self, running: _Running, workers: list[str] | None = None) -> None:
        task = running.task
        # Preferred and not required: a worker that was restarted has another address, and nothing may wait for the old.
        future = self._client.submit(
            task.call, *task.arguments(), pure=False, workers=workers or None, allow_other_workers=bool(workers)
        )
        self._running[future] = running

    def _ended(self) -> list[Any]:
        from distributed import wait

        if not self._running:
            time.sleep(_TICK)
            return []
        try:
            return list(wait(list(self._running), timeout=_TICK, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            return []

    def _take(self, future: Any) -> Done | None:
        """Return the result of a future; None for the later of two, and where no answer comes."""
        from distributed import KilledWorker

        running = self._running.pop(future, None)
        if running is None:
            return None
        self._slow = {address: slow for address, slow in self._slow.items() if slow is not future}
        twins = [other for other, also in self._running.items() if also.task is running.task]
        self._drop(twins)
        seconds = time.monotonic() - running.began
        self._seconds.append(seconds)
        key, status = running.task.key, future.status
        if status == "finished":
            try:
                return Done(key=key, value=future.result(timeout=_ANSWER), seconds=seconds)
            except (TimeoutError, KilledWorker):
                # The answer was lost with its worker, or its worker stands still: the task is started again.
                self._client.cancel([future], force=True)
                self._submit(_Running(task=running.task, began=time.monotonic()), self._quick())
                return None
        if status == "error":
            return Done(key=key, error=_error(future.exception()), seconds=seconds)
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
            for future, running in self._running.items()
            if time.monotonic() - running.began > slow and future not in self._slow.values()
        }
        if not late:
            return
        processing = self._client.processing()
        idle = [address for address, keys in processing.items() if not keys and address not in self._slow]
        for address, keys in processing.items():
            for future in (late[key] for key in keys if key in late):
                if idle:
                    self._slow[address] = future
                    again = _Running(task=self._running[future].task, began=time.monotonic())
                    self._submit(again, [idle.pop()])


def _error(error: BaseException) -> BaseException:
    from distributed import KilledWorker

    return WorkerDiedError(str(error)) if isinstance(error, KilledWorker) else error


@contextmanager
def connected_to(address: str, *, duplicates: bool) -> Iterator[DaskPool]:
    """Return a pool of the workers of a scheduler; with `duplicates`, slow tasks are started again on idle workers.

    Raises:
        UsageError: no scheduler or no worker that can be used is at the address.
    """
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
        _require_workers(client, address)
        yield DaskPool(client, duplicates=duplicates)


def _require_workers(client: Any, address: str) -> None:
    """Refuse a scheduler without workers, and workers that would run two models in one process."""
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
                f"--scheduler {address}: worker {name} runs {worker['nthreads']} tasks at once in one process, and a "
                "model is for one: start it with --nthreads 1 (and --nworkers for more of them)"
            )
