"""A pool for tests of what is done and not of who does it: this process, finishing in an order of its own."""

import random
from collections import deque
from collections.abc import Iterator

from rnneval.sweeps.pool import Done, Task


class Shuffled:
    """Runs tasks here; of those that so many workers would have in hand, the next to end is drawn by a seed."""

    def __init__(self, workers: int, seed: int) -> None:
        self.workers, self._random = workers, random.Random(seed)  # noqa: S311
        self.ran: list[str] = []

    def run(self, waiting: deque[Task]) -> Iterator[Done]:
        running: list[Task] = []
        while waiting or running:
            while waiting and len(running) < self.workers:
                running.append(waiting.popleft())
            task = running.pop(self._random.randrange(len(running)))
            self.ran.append(task.call.__name__)
            try:
                yield Done(key=task.key, value=task.call(*task.arguments()))
            except Exception as error:
                yield Done(key=task.key, error=error)
