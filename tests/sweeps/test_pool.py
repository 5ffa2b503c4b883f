"""Real worker processes: a death costs the task that died, a straggler holds nobody up, no port is open to others."""

import os
import sys
from collections import deque

import psutil
import pytest
from distributed import Future

from rnneval.errors import UsageError
from rnneval.sweeps import cluster, pool
from rnneval.sweeps.cluster import Workers, connected
from rnneval.sweeps.pool import Task, WorkerDiedError
from tests.sweeps import calls


@pytest.fixture(scope="module")
def workers():
    """Two worker processes for all tests of this file."""
    with connected(Workers(jobs=2), tasks=9, duplicates=True) as pool:
        yield pool


def ran(workers, *tasks):
    """Run calls, and give what came of each in their order."""
    waiting = deque(Task(key=k, call=call, arguments=lambda a=a: a) for k, (call, *a) in enumerate(tasks))
    done = {one.key: one for one in workers.run(waiting)}
    return [done[k] for k in range(len(tasks))]


def test_tasks_run_in_processes_of_their_own_and_no_port_is_open_to_others(workers):
    done = ran(workers, *[(calls.where, k) for k in range(6)])
    assert [one.value[0] for one in done] == list(range(6))
    assert os.getpid() not in {one.value[1] for one in done}
    assert {one.value[2] for one in done} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
    listening = {
        connection.laddr.ip
        for process in (psutil.Process(), *psutil.Process().children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_process_that_dies_costs_its_own_task_alone(workers, tmp_path):
    done = ran(
        workers, (calls.where, 0), (calls.die, 1), (calls.where, 2), (calls.wrong, 3),
        (calls.die_once, str(tmp_path / "flag")), *[(calls.where, k) for k in range(5, 9)],
    )  # fmt: skip
    assert isinstance(done[1].error, WorkerDiedError)
    assert repr(done[3].error) == "ValueError('on purpose')"
    assert done[4].value == "alive"  # tried once more
    assert [one.value[0] for one in (done[0], done[2], *done[5:])] == [0, 2, 5, 6, 7, 8]


def test_an_answer_that_does_not_come_is_asked_for_again(workers, monkeypatch):
    result, limits = Future.result, []

    def slow(future, timeout=None):
        limits.append(timeout)
        if len(limits) == 1:
            raise TimeoutError
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", slow)
    assert [one.value[0] for one in ran(workers, *[(calls.where, k) for k in range(3)])] == [0, 1, 2]
    assert limits == [pool._ANSWER] * 4


def test_a_straggler_does_not_hold_the_rest(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "_AT_LEAST", 0.2)
    monkeypatch.setattr(pool, "_TICK", 0.2)
    flag = str(tmp_path / "flag")
    done = ran(workers, (calls.stop_once, flag), *[(calls.wait, 0.01)] * 4)
    assert [one.value for one in done] == ["went on", 0.01, 0.01, 0.01, 0.01]
    assert ran(workers, (calls.where, 7))[0].value[0] == 7  # by the worker that is left
    for process in psutil.Process().children(recursive=True):
        if process.status() == psutil.STATUS_STOPPED:
            process.kill()


def test_what_is_not_installed_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None if name == "distributed" else sys)
    with (
        pytest.raises(UsageError, match=r"^distributed not installed.*pip install 'rnneval\[sweep\]'$"),
        connected(Workers(), tasks=1),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scheduler": "tcp://127.0.0.1:8786", "jobs": 2}, "brings its own workers"),
        ({"scheduler": "somewhere"}, "not an address: give one such as tcp://"),
        ({"jobs": 0}, "give at least 1"),
    ],
)
def test_workers_that_cannot_be(given, said):
    with pytest.raises(UsageError, match=said):
        Workers(**given)


@pytest.mark.parametrize(("memory", "said"), [("much", "not a size"), ("1MB", "too little")])
def test_memory_that_cannot_be(memory, said):
    with pytest.raises(UsageError, match=said), connected(Workers(memory=memory), tasks=1):
        pass
