"""Tasks, their results, and what a pool of workers does with them."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol


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
    error: BaseException | None = None
    """The error that it raised, or `WorkerDiedError`."""
    seconds: float = 0.0


class WorkerDiedError(Exception):
    """Every worker process that ran this task died."""


class Pool(Protocol):
    """Runs tasks on workers."""

    @property
    def workers(self) -> int:
        """The most workers that were there at once."""
        ...

    def run(self, waiting: deque[Task]) -> Iterator[Done]:
        """Run the waiting tasks in this order; more may be added between two results."""
        ...
