"""Workers of a Dask scheduler: a death costs the task that died, a straggler holds nobody up."""

import dask
import psutil
import pytest
from distributed import Future, LocalCluster

from rnneval.errors import UsageError
from rnneval.sweeps import workers as worker_pools
from rnneval.sweeps.workers import Workers, connected
from tests.sweeps import calls
from tests.sweeps.pools import assert_a_death_costs_its_own_task_alone, ran


@pytest.fixture
def workers():
    """A scheduler and two new workers, as a user would start them; gives a pool of them."""
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.http.routes": [],
                "distributed.worker.http.routes": []}  # fmt: skip
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
    ):
        cluster.wait_for_workers(2, timeout=120)
        with connected(Workers(scheduler=cluster.scheduler_address), tasks=9, duplicates=True) as pool:
            yield pool


def test_a_process_that_dies_costs_its_own_task_alone(workers, tmp_path):
    assert_a_death_costs_its_own_task_alone(workers, tmp_path)


def test_an_answer_that_does_not_come_is_asked_for_again(workers, monkeypatch):
    result, limits = Future.result, []

    def slow(future, timeout=None):
        limits.append(timeout)
        if len(limits) == 1:
            raise TimeoutError
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", slow)
    assert [one.value[0] for one in ran(workers, *[(calls.where, k) for k in range(3)])] == [0, 1, 2]
    assert limits == [worker_pools._ANSWER] * 4


def test_a_straggler_does_not_hold_the_rest(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(worker_pools, "_AT_LEAST", 0.2)
    monkeypatch.setattr(worker_pools, "_TICK", 0.2)
    flag = str(tmp_path / "flag")
    done = ran(workers, (calls.stop_once, flag), *[(calls.wait, 0.01)] * 4)
    assert [one.value for one in done] == ["went on", 0.01, 0.01, 0.01, 0.01]
    assert ran(workers, (calls.where, 7))[0].value[0] == 7  # by the worker that is left
    for process in psutil.Process().children(recursive=True):
        if process.status() == psutil.STATUS_STOPPED:
            process.kill()


def test_what_is_not_installed_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr("rnneval.sweeps.workers.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"^distributed is not installed.*pip install 'rnneval\[dask\]'$"):
        Workers(scheduler="127.0.0.1:8786")


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr(worker_pools, "_PATIENCE", 1)
    with (
        pytest.raises(UsageError, match=r"^--scheduler 127\.0\.0\.1:9: no Dask scheduler answers there"),
        connected(Workers(scheduler="127.0.0.1:9"), tasks=1),
    ):
        pass
