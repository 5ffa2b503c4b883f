"""Dask workers: processes on this machine, or those of a scheduler that the user names."""

import importlib.machinery
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import rnneval
from rnneval.errors import UsageError
from rnneval.options import WorkerGroup
from rnneval.sweeps.pool import DaskPool

_PATIENCE = 30  # seconds to wait for a scheduler, and for the first worker
_ADDRESS = re.compile(r"^(?:(?:tcp|tls|ws|wss)://)?[^/\s:]+:\d+$|^(?:tcp|tls)://\[[0-9a-f:]+\]:\d+$", re.IGNORECASE)
_SETTINGS: dict[str, Any] = {
    # TensorFlow's memory cannot be spilled, and a worker that is paused for it would never go on.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # No pages behind any port.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # Set before a worker starts: nothing that lies in the current folder stands in for a module.
    "distributed.nanny.pre-spawn-environ": {"PYTHONSAFEPATH": "1", "MALLOC_TRIM_THRESHOLD_": "65536"},
}


@dataclass(frozen=True, kw_only=True)
class Workers(WorkerGroup):
    """The workers to start or to connect to; without `jobs`, one process per core."""

    threads: int | None = None
    """Threads of TensorFlow in a process; None: an equal share of the cores."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheduler is not None and not _ADDRESS.match(self.scheduler):
            raise UsageError(f"--scheduler {self.scheduler}: not an address: give one such as tcp://10.0.0.1:8786")
        if self.scheduler is not None and (self.jobs is not None or self.memory is not None):
            raise UsageError("--scheduler brings its own workers: leave out --jobs and --memory")

    def processes(self, tasks: int) -> int:
        """Return how many processes are started on this machine for so many tasks."""
        return max(1, min(cores() if self.jobs is None else self.jobs, tasks))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_dask() -> None:
    """Refuse an environment without Dask.

    Raises:
        UsageError: Dask's distributed, or cryptography, which keeps other users of the machine out, is not installed.
    """
    missing = [name for name in ("distributed", "cryptography") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed, and work in several processes needs it: "
            "pip install 'rnneval[sweep]'"
        )


@contextmanager
def connected(workers: Workers, *, tasks: int, duplicates: bool = False, deaths: int = 1) -> Iterator[DaskPool]:
    """Start or find workers, return a pool of them, and release them at the end.

    Args:
        workers: Which workers.
        tasks: How many tasks there will be: no more processes are started.
        duplicates: Whether a task that takes far longer than the others is started again on an idle worker.
        deaths: So many workers may die of a task before it is given up; a user's own scheduler has its own rule.

    Raises:
        UsageError: Dask is not installed, `--memory` is no size, or there is no scheduler or no worker at the address.
    """
    require_dask()
    import dask
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)
    settings = {**_SETTINGS, "distributed.scheduler.allowed-failures": deaths}
    with dask.config.set(settings), _importable_by_workers():
        if workers.scheduler is None:
            with _local(workers, tasks) as cluster, Client(cluster) as client:
                yield DaskPool(client, duplicates=duplicates)
        else:
            with _client(workers.scheduler) as client:
                yield DaskPool(client, duplicates=duplicates)


@contextmanager
def _local(workers: Workers, tasks: int) -> Iterator[Any]:
    from distributed import LocalCluster

    count = workers.processes(tasks)
    threads = str(workers.threads or max(1, cores() // count))
    cluster = LocalCluster(
        n_workers=count,
        threads_per_worker=1,  # of Dask's: a model's state is one process's own
        processes=True,
        host="127.0.0.1",
        security=True,  # certificates of this cluster alone: no other user of the machine can give it work
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL + 1,
        memory_limit=_memory(workers.memory),
        env={"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads, "OMP_NUM_THREADS": threads},
    )
    try:
        yield cluster
    finally:
        with suppress(Exception):  # what is in the way of closing must not hide why it is closed
            cluster.close(timeout=10)


def _memory(given: str | None) -> Any:
    from dask.utils import parse_bytes

    if given is None:
        return "auto"
    try:
        size = parse_bytes(given)
    except ValueError as error:
        raise UsageError(f"--memory {given}: not a size: give one such as 4GB or 512MiB") from error
    if size < 1 << 28:
        raise UsageError(f"--memory {given}: too little for TensorFlow itself: give 512MiB or more")
    return size


@contextmanager
def _client(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"--scheduler {address}: no Dask scheduler answers there ({why}): start one with `dask scheduler`"
        ) from error
    with client:
        _require_workers(client, address)
        yield client


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


@contextmanager
def _importable_by_workers() -> Iterator[None]:
    """Let worker processes, which get this one's search path, find this very rnneval.

    It is on the path where it is installed. In a checkout it was found through the current folder, which is off the
    path by now: then the checkout is put at its end.
    """
    home = str(Path(rnneval.__file__).resolve().parents[1])
    if importlib.machinery.PathFinder.find_spec("rnneval") is not None:
        yield
        return
    sys.path.append(home)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(home)
