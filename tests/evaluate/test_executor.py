"""Workers of this machine and of a Dask cluster: a death costs one task, digits agree, none outlives its parent."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster

import rnneval
from rnneval.errors import UsageError
from rnneval.evaluate import executor
from rnneval.evaluate.chunks import reader_over
from rnneval.evaluate.executor import WorkerDiedError, connected
from rnneval.options import OpeningGroup, WorkerGroup
from tests.evaluate import calls
from tests.evaluate.pools import assert_a_death_costs_its_own_task_alone, ran
from tests.evaluate.small import LETTERS, evaluated, letters, stacked


@pytest.fixture(scope="module")
def processes():
    """Two worker processes of this machine."""
    with connected(WorkerGroup(jobs=2), tasks=9) as pool:
        yield pool


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers, as a user would start them."""
    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.scheduler.http.routes": [],
                "distributed.worker.http.routes": []}  # fmt: skip
    address = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(settings), LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **address) as found:
        found.wait_for_workers(2, timeout=120)
        yield found


@pytest.fixture(scope="module")
def dask_workers(cluster):
    with connected(WorkerGroup(scheduler=cluster.scheduler_address), tasks=9) as pool:
        yield pool


@pytest.fixture(params=["processes", "dask_workers"])
def pool(request):
    """Two workers of either kind."""
    yield request.getfixturevalue(request.param)
    if request.param == "dask_workers":  # Dask starts those again that a test has killed
        request.getfixturevalue("cluster").wait_for_workers(2, timeout=120)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint that NumPy runs, with its vocabulary and a text."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "vocab.json").write_text(json.dumps(list(LETTERS)))
    stacked("GRU", (8,)).lm.model.save(folder / "gru.keras")
    return folder / "gru.keras", letters(folder, 4_000)


def test_a_process_that_dies_costs_its_own_task_alone(pool):
    assert_a_death_costs_its_own_task_alone(pool)


def children():
    """Processes of this one, but for the tracker of `multiprocessing`, which stays until this one ends."""
    return {each.pid for each in psutil.Process().children() if "resource_tracker" not in " ".join(each.cmdline())}


def test_tasks_run_in_two_processes_with_one_thread_and_no_port_is_open(tmp_path):
    before = children()
    with connected(WorkerGroup(jobs=2), tasks=9) as workers:
        done = ran(workers, *[(calls.where, k) for k in range(6)], (calls.prints, 3))
        assert [one.result()[0] for one in done[:6]] == list(range(6))
        processes = {one.result()[1] for one in done[:6]}
        assert len(processes) <= workers.workers == 2
        assert processes <= children() - before
        assert {one.result()[2] for one in done[:6]} == {"1"}
        assert done[6].result() == 3  # and nothing is printed
        ports = [port for pid in processes for port in psutil.Process(pid).net_connections()]
        assert [port for port in ports if port.status == psutil.CONN_LISTEN] == []
    assert children() == before


def test_an_error_that_cannot_be_pickled_is_named(processes):
    (done,) = ran(processes, (calls.wrong_in_its_own_way, 4))
    assert repr(done.exception()) == "RuntimeError('OwnError: 4')"


def test_memory_beyond_the_limit_is_not_given():
    with connected(WorkerGroup(jobs=1, memory="300MB"), tasks=1) as workers:
        large, small = ran(workers, (calls.fill, 400 << 20), (calls.where, 1))
    assert isinstance(large.exception(), (MemoryError, WorkerDiedError))
    assert small.result()[0] == 1


def read_by(pool, model, *, chunk=700, **options):
    """Evaluate over a pool; return the run and the losses."""
    checkpoint, text = model
    reader = None if pool is None else reader_over(pool, str(checkpoint), OpeningGroup(), chunk=chunk)
    seen = evaluated(rnneval.open(checkpoint, backend="numpy"), text, states=False, reader=reader, **options)
    return seen.run, seen.nats


def test_one_text_has_the_same_digits_on_any_workers(processes, dask_workers, model):
    one, expected = read_by(None, model, streams=1)
    here, nats = read_by(processes, model)
    there, others = read_by(dask_workers, model)
    assert (nats == others).all()
    assert here.blocks == there.blocks
    assert abs(nats - expected).max() < 1e-5
    assert abs(nats.mean() - expected.mean()) < 1e-8
    assert (here.signature, here.tokens) == (one.signature, one.tokens)
    assert (here.streams.workers, there.streams.workers) == (2, 2)
    assert here.streams.chunks == there.streams.chunks == 7  # of 640: ten segments of 64


def test_a_worker_that_is_killed_while_it_reads_costs_its_chunk_alone(pool, model):
    _, expected = read_by(pool, model)
    struck = []

    def strike(*_):
        if not struck:
            (done,) = ran(pool, (calls.where, 0))
            struck.append(done.result()[1])
            os.kill(struck[0], signal.SIGKILL)

    _, nats = read_by(pool, model, progress=strike)
    assert struck
    assert (nats == expected).all()


def test_a_sweep_has_the_same_digits_on_any_workers(cluster, model, tmp_path):
    checkpoint, text = model
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for k in (1, 2, 3):
        shutil.copy(checkpoint, folder / f"ckpt_{k}.keras")
    (folder / "broken.keras").write_bytes(checkpoint.read_bytes()[:500])
    options = {"opening": {"vocabulary": checkpoint.with_name("vocab.json")}, "check": False, "states": False}
    seen = [
        rnneval.sweep(folder, text, out=tmp_path / name, **workers, **options)
        for name, workers in {"a": {"jobs": 2}, "b": {"scheduler": cluster.scheduler_address}}.items()
    ]
    for swept in seen:
        assert [row.status for row in swept.rows] == ["failed", "ok", "ok", "ok"]
        assert [row.run.blocks for row in swept.rows[1:]] == [row.run.blocks for row in seen[0].rows[1:]]
    run, _ = read_by(None, model, streams=1)
    assert seen[0].rows[1].run.total_nats == pytest.approx(run.total_nats, abs=1e-4)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_when_their_parent_is_killed_or_interrupted(tmp_path, how):
    """Ctrl-C reaches all processes of a terminal at once; a signal that kills reaches one."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nprint('script', flush=True)\n"
        "from rnneval.evaluate.executor import connected\nfrom rnneval.options import WorkerGroup\n"
        "from tests.evaluate import calls\n"
        "with connected(WorkerGroup(jobs=2), tasks=2) as pool:\n"
        "    list(pool.run(calls.made, [(k, calls.tell, (k, sys.argv[1])) for k in (0, 1)]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and len(list(tmp_path.glob("*.pid"))) < 2:
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)  # the tracker of `multiprocessing` as well
    assert {int(path.stem) for path in tmp_path.glob("*.pid")} < {each.pid for each in started}
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, how)
    printed, said = process.communicate(timeout=60)
    assert printed == "script\n"  # once: workers do not run it
    if how == signal.SIGINT:
        assert said.count("Traceback") == 1
        assert said.endswith("KeyboardInterrupt\n")
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []


def test_workers_end_with_what_waits_for_them():
    before = children()
    with connected(WorkerGroup(jobs=2), tasks=2) as workers:
        assert next(workers.run(calls.wait, (0, 600)))[1].result() == 0
    assert children() == before  # and the task of ten minutes was not waited for


@pytest.mark.parametrize(
    ("given", "said"),
    [({"scheduler": "tcp://127.0.0.1:8786", "jobs": 2}, "brings its own workers"), ({"jobs": 0}, "give at least 1")],
)
def test_workers_that_cannot_be(given, said):
    with pytest.raises(UsageError, match=said):
        WorkerGroup(**given)


@pytest.mark.parametrize(("memory", "said"), [("much", "not a size"), ("1MB", "too little"), ("-4GB", "not a size")])
def test_memory_that_cannot_be(memory, said):
    with pytest.raises(UsageError, match=said), connected(WorkerGroup(memory=memory), tasks=1):
        pass


def test_dask_that_is_not_installed_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr("rnneval.options.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"^distributed is not installed.*pip install 'rnneval\[dask\]'$"):
        WorkerGroup(scheduler="127.0.0.1:8786")


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr(executor, "_ANSWER", 1)
    with (
        pytest.raises(UsageError, match=r"^scheduler='127\.0\.0\.1:9': no Dask scheduler answers there"),
        connected(WorkerGroup(scheduler="127.0.0.1:9"), tasks=1),
    ):
        pass
