"""Families of hostile records, tables, vocabularies and sources for `benchmarks/hostile_growth.py`."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.hostile_growth import family
from tests.hostile.plain import keras_file

RECORDS = Path(__file__).resolve().parents[1] / "docs" / "records"
HEAD = "import tensorflow as tf\nfrom keras.layers import GRU\ng = GRU(8, return_sequences=True, return_state=True)\n"
REPORT = ["report", "r.json", "--out", "r.html"]
ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
ENTRIES = (10, 100, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
LINES = (100, 1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
DEEP = (3, 10, 30, 60, 100, 1_000, 10_000, 100_000)


def _table(path: Path, schema: str, columns: dict[str, Any], rows: int) -> None:
    """Write a table of so many rows, 65,536 a row group, each the same."""
    table = pa.table(columns).replace_schema_metadata({"rnneval.schema": schema})
    with pq.ParquetWriter(path, table.schema, write_page_checksum=True) as writer:
        for start in range(0, rows, table.num_rows):
            writer.write_table(table.slice(0, min(table.num_rows, rows - start)))


def _losses(rng: random.Random, rows: int, drawn: bool) -> dict[str, Any]:
    many = min(rows, 1 << 16)
    place = np.arange(many) if drawn else np.zeros(many, np.int64)
    nats = np.random.default_rng(rng.randrange(1 << 30)).random(many) if drawn else np.ones(many)
    return {"token": place, "document": place * 0, "byte_start": place, "byte_end": place + 1,
            "id": np.zeros(many, np.int32), "nats": nats}  # fmt: skip


@family("rows", ROWS)
def losses_of_one_value(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Losses that compress to nearly nothing."""
    _table(folder / "t.parquet", "rnneval.losses/1", _losses(rng, size, drawn=False), size)
    return ["report", "t.parquet", "--out", "r.html"]


@family("rows", ROWS[:-1])
def losses_of_drawn_values(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Losses as they are."""
    _table(folder / "t.parquet", "rnneval.losses/1", _losses(rng, size, drawn=True), size)
    return ["report", "t.parquet", "--out", "r.html"]


@family("rows", ROWS[:-1])
def history_rows(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A gradient history in one part."""
    many = min(size, 1 << 16)
    words = pa.DictionaryArray.from_arrays(np.zeros(many, np.int32), pa.array(["gru"]))
    norm = pa.DictionaryArray.from_arrays(np.zeros(many, np.int32), pa.array(["grad_norm"]))
    columns = {"step": np.arange(many), "layer": words, "variable": words, "statistic": norm, "value": np.ones(many)}
    (folder / "h").mkdir()
    _table(folder / "h" / "part-000000.parquet", "rnneval.gradient-history/1", columns, size)
    return ["report", "h", "--out", "r.html"]


@family("layers", ENTRIES)
def trace_layers(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A trace in which every row is of another layer."""
    names = pa.array([f"gru{number}" for number in range(size)]).dictionary_encode()
    repeated = pa.DictionaryArray.from_arrays(np.zeros(size, np.int32), pa.array(["h"]))
    norm = pa.DictionaryArray.from_arrays(np.zeros(size, np.int32), pa.array(["norm"]))
    whole = pa.nulls(size, pa.int64())
    columns = {"position": np.zeros(size, np.int64), "unit": whole, "lag": whole, "layer": names, "slot": repeated,
               "statistic": norm,
               "value": np.full(size, rng.random()),
               "low": whole.cast(pa.float64()), "high": whole.cast(pa.float64())}  # fmt: skip
    _table(folder / "t.parquet", "rnneval.trace/1", columns, size)
    return ["report", "t.parquet", "--out", "r.html"]


@family("checkpoints", ENTRIES)
def sweep_rows(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A sweep of checkpoints that all failed, each in a run of its own."""
    names = [f"run{number}/{rng.random()}.keras" for number in range(size)]
    columns = {"path": names, "run": [name.partition("/")[0] for name in names], "epoch": pa.nulls(size, pa.int64()),
               "step": pa.nulls(size, pa.int64()), "status": ["failed"] * size, "rule": ["zip-bomb"] * size,
               "error": ["no"] * size, "record": pa.nulls(size, pa.string())}  # fmt: skip
    _table(folder / "sweep.parquet", "rnneval.sweep/1", columns, size)
    return ["report", "sweep.parquet", "--out", "r.html"]


def _record(folder: Path, name: str, edit: Callable[[dict[str, Any]], None], arguments: list[str]) -> list[str]:
    record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    edit(record)
    (folder / "r.json").write_text(json.dumps(record), encoding="utf-8")
    return arguments


@family("copies of the text", (1, 3, 10, 30, 100, 200, 300, 400))
def run_blocks(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A run over the same text, many times: 436 blocks each."""

    def edit(run: dict[str, Any]) -> None:
        blocks, text = run["blocks"], run["text"]
        length, documents = blocks["bytes"][-1], text["documents"]
        ends = [end + length * copy for copy in range(size) for end in blocks["bytes"]]
        document = [number + documents * copy for copy in range(size) for number in blocks["document"]]
        sums = {name: values * size for name, values in blocks["sums"].items()}
        repeated = {name: values * size for name, values in blocks.items() if name != "sums"}
        run["blocks"] = {**repeated, "bytes": ends, "document": document, "sums": sums}
        for counts in (text, run["tokens"]):
            counts |= {name: count * size for name, count in counts.items() if isinstance(count, int)}
        run["total_nats"] *= size

    return _record(folder, "run", edit, ["gate", "r.json", "--require", "perplexity<=9"])


@family("states", ENTRIES)
def run_states(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A run of a model of many layers."""

    def edit(run: dict[str, Any]) -> None:
        state = next(iter(run["states"].values()))
        run["states"] = {f"gru{number}.h": state for number in range(size)}

    return _record(folder, "run", edit, REPORT)


@family("warnings", ENTRIES)
def run_warnings(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A run with many warnings."""
    warnings = [{"code": f"w{number}", "message": f"{rng.random()}"} for number in range(size)]
    return _record(folder, "run", lambda run: run.update(warnings=warnings), REPORT)


@family("entries", ENTRIES)
def wiring_flow(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A flow matrix of many layers."""
    flow = [
        {
            "into": {"layer": f"g{n}", "slot": "h"},
            "from": {"layer": f"g{n}", "slot": "h"},
            "kind": "carried",
            "calls": [1],
        }
        for n in range(size)
    ]
    return _record(folder, "wiring", lambda wiring: wiring.update(flow=flow), REPORT)


@family("comparisons", ENTRIES)
def gate_comparisons(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A verdict of many comparisons."""
    return _record(folder, "gate", lambda gate: gate.update(comparisons=gate["comparisons"][:1] * size), REPORT)


@family("variables", ENTRIES)
def gradient_variables(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """Gradients of many variables."""

    def edit(record: dict[str, Any]) -> None:
        variable = next(iter(record["variables"].values()))
        record["variables"] = {f"gru{number}.kernel": variable for number in range(size)}

    return _record(folder, "gradients", edit, REPORT)


@family("values", (1_000, 10_000, 100_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 60_000_000))
def record_values(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A record of a list of one kind of value."""
    unit = rng.choice(["0.1,", "999,", '"a",', "[],", "{},", "1,"])
    (folder / "r.json").write_text('{"schema": "rnneval.run/1", "x": [' + unit * size + "1]}")
    return ["gate", "r.json", "--require", "perplexity<=9"]


@family("brackets", DEEP)
def record_depth(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A record of lists in lists."""
    (folder / "r.json").write_text('{"schema": "rnneval.run/1", "x": ' + "[" * size + "]" * size + "}")
    return ["gate", "r.json", "--require", "perplexity<=9"]


@family("lines", LINES, tensorflow=True)
def vocabulary_lines(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A vocabulary of one token a line."""
    (folder / "v.txt").write_text("".join(f"{number:020}\n" for number in range(size)))
    return ["open", str(keras_file(folder / "m.keras")), "--vocab", "v.txt"]


def _source(folder: Path, text: str) -> list[str]:
    (folder / "a.py").write_text(HEAD + text)
    return ["lint", "a.py", "--format", "json"]


@family("lines", LINES, codes=(0, 1))
def source_lines(folder: Path, size: int, rng: random.Random) -> list[str]:
    """A source of one short line again and again."""
    return _source(folder, rng.choice(["a = 1\n", "a\n", "x = f(x)\n", "a[0] = b\n"]) * size)


@family("lines", LINES, codes=(0, 1))
def source_calls(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A source that calls one layer again and again."""
    return _source(folder, "x, s = g(x, initial_state=s)\n" * size)


@family("functions", ENTRIES, codes=(0, 1))
def source_functions(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """Functions that call each other, three deep and thirty wide."""
    text = "def a(x):\n" + "    x = g(x)\n" * 30 + "def b(x):\n" + "    a(x)\n" * 30
    return _source(
        folder, text + "".join(f"def c{number}(x):\n    g(x)\n" + "    b(x)\n" * 9 for number in range(size))
    )


@family("layers", ENTRIES, codes=(0, 1))
def source_layers(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """One class of many layers whose states cross."""
    made = "".join(f"        self.g{n} = GRU(8, return_sequences=True, return_state=True)\n" for n in range(size))
    called = "".join(f"        x, s = self.g{n}(x, initial_state=s)\n" for n in range(size))
    start = "class M(tf.keras.Model):\n    def __init__(self):\n"
    return _source(folder, start + made + "    def call(self, x, s):\n" + called + "        return x, s\n")


@family("levels", DEEP, codes=(0, 1))
def source_depth(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Blocks, brackets or values within each other."""
    kind = rng.randrange(3)
    if kind == 0:
        deep = min(size, 2_000)  # the blanks grow with the square
        return _source(folder, "".join(" " * n + "for i in x:\n" for n in range(deep)) + " " * deep + "g(x)\n")
    return _source(folder, "a = " + "[" * size + "g" + "]" * size + "\n" if kind == 1 else "a = (a, a)\n" * size)


@family("cells", ENTRIES, codes=(0, 1))
def notebook_cells(folder: Path, size: int, _rng: random.Random) -> list[str]:
    """A notebook of many cells."""
    cell = {"cell_type": "code", "source": f"{HEAD}%time x\nx, s = g(x, initial_state=s)\n"}
    (folder / "a.ipynb").write_text(json.dumps({"cells": [cell] * size}))
    return ["lint", "a.ipynb", "--format", "json"]


@family("levels", DEEP)
def settings_depth(folder: Path, size: int, rng: random.Random) -> list[str]:
    """Settings nested by brackets, by tables in a line or by dots."""
    kind = rng.randrange(3)
    text = ("a = " + "[" * size + "]" * size, "a = " + "{b = " * size + "1" + "}" * size, "a" + ".a" * size + " = 1")
    (folder / "pyproject.toml").write_text(text[kind] + "\n")
    (folder / "a.py").write_text("x = 1\n")
    return ["lint", "a.py"]
