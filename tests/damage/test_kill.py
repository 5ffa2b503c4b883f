"""kill -9 at any moment of writing: the old file or the new one, each readable; of a history whole parts only."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from rnneval.records import read, read_table

MOMENTS = 12
WRITERS = {
    "record": """
from rnneval.records import write
from rnneval.records import Gate
version = 0
while True:
    version += 1
    write(Gate(verdict="pass", reason=str(version) * 200_000, comparisons=(), warnings=()), sys.argv[1])
    print(version, flush=True)
""",
    "losses": """
import numpy as np, pyarrow as pa
from rnneval.records import table_written
schema = pa.schema([("token", pa.int64()), ("nats", pa.float64())], metadata={"rnneval.schema": "rnneval.losses/1"})
version = 0
while True:
    version += 1
    with table_written(sys.argv[1], schema) as writer:
        for _ in range(20):
            column = np.full(20_000, version)
            writer.write_table(pa.table([pa.array(column), pa.array(column * 0.5)], schema=schema))
    print(version, flush=True)
""",
    "history": """
import numpy as np
from rnneval.callbacks.histories import Parts
parts = Parts(sys.argv[1], "step", "rnneval.gradient-history/1", existing="append")
version = 0
columns = [(f"layer{i}", "kernel", "grad_norm") for i in range(30)]
while True:
    parts.write(np.arange(300), columns, np.random.default_rng(version).random((300, 30)))
    version += 1
    print(version, flush=True)
""",
}


def writing(name: str, target: Path) -> subprocess.Popen[bytes]:
    """A process that writes one version after another; returns when the first is there."""
    code = "import sys\n" + WRITERS[name]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout.readline() == b"1\n"
    return process


def killed_at(moments: int, name: str, target: Path) -> Iterator[int]:
    """Kill a writer at random moments, and give the last version that it is known to have finished each time."""
    drawn = random.Random(name)  # noqa: S311 - moments, no secrets
    for _ in range(moments):
        process = writing(name, target)
        time.sleep(drawn.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
        process.stdout.close()
        assert process.wait(timeout=10) == -signal.SIGKILL
        yield int(rest[-1]) if rest else 1


def versions(name: str, target: Path) -> int:
    """Read what is there, which must be whole, and give its version."""
    if name == "record":
        reason = read(target).reason
        version = reason[: len(reason) // 200_000]
        assert reason == version * 200_000
        return int(version)
    for table in (pd.read_parquet(target), read_table(target).to_pandas()):
        if name == "losses":
            assert len(table) == 400_000
            assert (table["token"] == table["token"][0]).all()
            assert (table["nats"] == table["token"] * 0.5).all()
        else:
            assert len(table) % 9_000 == 0
    return int(table["token"][0]) if name == "losses" else len(table) // 9_000


def whole_after_every_kill(moments: int, name: str, target: Path) -> None:
    for round_, finished in enumerate(killed_at(moments, name, target)):
        found = versions(name, target)
        if name == "history":
            assert found >= finished
            for part in target.glob("part-*.parquet"):
                part.unlink()
        else:
            # The next one may have taken its place before the process could say so.
            assert found in (finished, finished + 1), round_
    litter = [path.name for path in (target if target.is_dir() else target.parent).iterdir()]
    assert all(name == target.name or name.startswith(".") for name in litter)


@pytest.mark.parametrize("name", WRITERS)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(name, tmp_path):
    if name == "losses":
        pa.set_cpu_count(1)
    whole_after_every_kill(MOMENTS // 4, name, tmp_path / "out")
