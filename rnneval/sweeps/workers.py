"""Worker processes: started on this machine, or those of a Dask scheduler that the user names."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from rnneval.errors import UsageError
from rnneval.options import WorkerGroup
from rnneval.processes import cores
from rnneval.sweeps.pool import Pool

_ADDRESS = re.compile(r"^(?:(?:tcp|tls|ws|wss)://)?[^/\s:]+:\d+$|^(?:tcp|tls)://\[[0-9a-f:]+\]:\d+$", re.IGNORECASE)


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
        if self.scheduler is not None and find_spec("distributed") is None:
            raise UsageError("distributed is not installed, and --scheduler needs it: pip install 'rnneval[dask]'")

    def processes(self, tasks: int) -> int:
        """Return how many processes are started on this machine for so many tasks."""
        return max(1, min(cores() if self.jobs is None else self.jobs, tasks))


@contextmanager
def connected(workers: Workers, *, tasks: int, duplicates: bool = False, deaths: int = 1) -> Iterator[Pool]:
    """Start or find workers, return a pool of them, and release them at the end.

    Args:
        workers: Which workers.
        tasks: How many tasks there will be: no more processes are started.
        duplicates: Whether a scheduler's workers start a task again that takes far longer than the others.
        deaths: So many workers may die of a task before it is given up; a user's own scheduler has its own rule.

    Raises:
        UsageError: `--memory` is no size, or no scheduler or worker is at the address.
    """
    if workers.scheduler is not None:
        from rnneval.sweeps.dask_pool import connected_to

        with connected_to(workers.scheduler, duplicates=duplicates) as pool:
            yield pool
        return
    from rnneval.sweeps.processes import ProcessPool, memory_of_each

    count = workers.processes(tasks)
    threads = workers.threads or max(1, cores() // count)
    with ProcessPool(count, threads=threads, memory=memory_of_each(workers.memory, count), deaths=deaths) as own:
        yield own
