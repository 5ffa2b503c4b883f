"""What tests of several pools share, and a pool for tests of what is done and not of who does it."""

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from rnneval.evaluate.executor import WorkerDiedError
from tests.evaluate import calls

T = TypeVar("T")


def ran(workers, *given):
    """Make calls, and give the future of each in their order."""
    items = [(k, call, tuple(a)) for k, (call, *a) in enumerate(given)]
    done = {item[0]: future for item, future in workers.run(calls.made, items)}
    return [done[k] for k in range(len(items))]


def assert_a_death_costs_its_own_task_alone(workers):
    """Run tasks of which one always dies and one raises, on the workers of any pool."""
    done = ran(workers, (calls.where, 0), (calls.die, 1), (calls.wrong, 2), *[(calls.where, k) for k in range(3, 7)])
    assert isinstance(done[1].exception(), WorkerDiedError)
    assert repr(done[2].exception()) == "ValueError('on purpose')"
    assert [one.result()[0] for one in (done[0], *done[3:])] == [0, 3, 4, 5, 6]


class Shuffled:
    """Makes calls here; of those that so many workers would have in hand, the next to end is drawn by a seed."""

    def __init__(self, workers: int, seed: int) -> None:
        self.workers, self._random = workers, random.Random(seed)  # noqa: S311
        self.ran: list[Any] = []

    def run(self, call: Callable[[T], Any], items: Sequence[T], *, here: None = None) -> Iterator[tuple[T, Future]]:
        waiting = list(items)
        running: list[T] = []
        while waiting or running:
            while waiting and len(running) < self.workers:
                running.append(waiting.pop(0))
            item = running.pop(self._random.randrange(len(running)))
            self.ran.append(item)
            done = Future()
            try:
                done.set_result(call(item))
            except Exception as error:
                done.set_exception(error)
            yield item, done
