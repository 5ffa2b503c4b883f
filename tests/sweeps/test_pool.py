"""Real worker processes of this machine: a death costs one task, no port is open, none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path

import psutil
import pytest

from rnneval.errors import UsageError
from rnneval.sweeps.workers import Task, WorkerDiedError, Workers, connected, memory_of_each
from tests.sweeps import calls
from tests.sweeps.pools import assert_a_death_costs_its_own_task_alone, ran


@pytest.fixture(scope="module")
def workers():
    """Two worker processes for all tests of this file."""
    with connected(Workers(jobs=2), tasks=9) as pool:
        yield pool


def test_tasks_run_in_two_processes_of_their_own_and_no_port_is_open(workers):
    done = ran(workers, *[(calls.where, k) for k in range(6)], (calls.wait, 0.3), (calls.wait, 0.3))
    assert [one.value[0] for one in done[:6]] == list(range(6))
    processes = {one.value[1] for one in done[:6]}
    assert os.getpid() not in processes
    assert len(processes) <= workers.workers == 2
    assert {one.value[2] for one in done[:6]} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
    assert min(one.seconds for one in done[6:]) >= 0.3
    listening = [
        connection
        for process in (psutil.Process(), *psutil.Process().children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == []


def test_a_process_that_dies_costs_its_own_task_alone(workers, tmp_path):
    assert_a_death_costs_its_own_task_alone(workers, tmp_path)


def test_what_a_task_prints_or_raises_is_not_taken_for_its_result(workers):
    printed, unpicklable = ran(workers, (calls.prints, 3), (calls.wrong_in_its_own_way, 4))
    assert printed.value == 3
    assert repr(unpicklable.error) == "RuntimeError('OwnError: 4')"


def test_a_process_larger_than_it_may_be_is_ended(tmp_path):
    with connected(Workers(jobs=1, memory="300MB"), tasks=1) as pool:
        large, small = ran(pool, (calls.fill, 400 << 20), (calls.where, 1))
    assert isinstance(large.error, WorkerDiedError)
    assert small.value[0] == 1


def test_workers_end_when_what_waits_for_them_stops(tmp_path):
    with connected(Workers(jobs=2), tasks=2) as pool:
        before = {process.pid for process in psutil.Process().children()}
        tasks = [Task(key=k, call=calls.wait, arguments=partial(tuple, [s])) for k, s in enumerate((0, 60))]
        found = pool.run(deque(tasks))
        assert next(found).value == 0
        began = time.monotonic()
        found.close()
        assert time.monotonic() - began < 30  # not the 60 of the task that is left
    assert {process.pid for process in psutil.Process().children()} - before == set()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom collections import deque\nprint('script', flush=True)\n"
        "from rnneval.sweeps.workers import Task\nfrom rnneval.sweeps.workers import Workers, connected\n"
        "from tests.sweeps import calls\n"
        "with connected(Workers(jobs=2), tasks=2) as pool:\n"
        "    tasks = [Task(key=k, call=calls.tell, arguments=lambda k=k: (k, sys.argv[1])) for k in (0, 1)]\n"
        "    list(pool.run(deque(tasks)))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and len(list(tmp_path.glob("*.pid"))) < 2:
        time.sleep(0.05)
    workers = [psutil.Process(int(path.stem)) for path in tmp_path.glob("*.pid")]
    process.send_signal(signal.SIGKILL)
    assert process.communicate()[0] == "script\n"  # once: workers do not run it
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


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


@pytest.mark.parametrize(("memory", "said"), [("much", "not a size"), ("1MB", "too little"), ("-4GB", "not a size")])
def test_memory_that_cannot_be(memory, said):
    with pytest.raises(UsageError, match=said), connected(Workers(memory=memory), tasks=1):
        pass


def test_sizes():
    given = ["4GB", "4 gb", "512MiB", "0.5GiB", "300000000B", "1TB"]
    assert [memory_of_each(size, 1) for size in given] == [4 * 10**9, 4 * 10**9, 1 << 29, 1 << 29, 3 * 10**8, 10**12]
    assert 2 * memory_of_each(None, 2) in range(psutil.virtual_memory().total + 1)
