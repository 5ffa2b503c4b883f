"""What tests of several pools share, and a pool for tests of what is done and not of who does it."""

import random
from collections.abc import Iterator, Sequence

from rnneval.evaluate.executor import Done, Task, WorkerDiedError
from tests.evaluate import calls


def ran(workers, *tasks):
    """Run calls, and give what came of each in their order."""
    given = [Task(key=k, call=call, arguments=tuple(a)) for k, (call, *a) in enumerate(tasks)]
    done = {one.key: one for one in workers.run(given)}
    return [done[k] for k in range(len(tasks))]


def assert_a_death_costs_its_own_task_alone(workers):
    """Run tasks of which one always dies and one raises, on the workers of any pool."""
    done = ran(workers, (calls.where, 0), (calls.die, 1), (calls.wrong, 2), *[(calls.where, k) for k in range(3, 7)])
    assert isinstance(done[1].error, WorkerDiedError)
    assert repr(done[2].error) == "ValueError('on purpose')"
    assert [one.value[0] for one in (done[0], *done[3:])] == [0, 3, 4, 5, 6]


class Shuffled:
    """Runs tasks here; of those that so many workers would have in hand, the next to end is drawn by a seed."""

    def __init__(self, workers: int, seed: int) -> None:
        self.workers, self._random = workers, random.Random(seed)  # noqa: S311
        self.ran: list[str] = []

    def run(self, tasks: Sequence[Task], *, here: None = None) -> Iterator[Done]:
        waiting = list(tasks)
        running: list[Task] = []
        while waiting or running:
            while waiting and len(running) < self.workers:
                running.append(waiting.pop(0))
            task = running.pop(self._random.randrange(len(running)))
            self.ran.append(task.call.__name__)
            try:
                yield Done(key=task.key, value=task.call(*task.arguments))
            except Exception as error:
                yield Done(key=task.key, error=error)
