"""Records, tables and vocabularies to be damaged, and what becomes of them; nothing here imports TensorFlow."""

import contextlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rnneval.cli.main import run
from rnneval.errors import RnnevalError
from rnneval.records import Finding, Gate, Wiring, encode, read, read_table, table_written
from rnneval.text import Vocabulary
from tests.damage.mutating import BYTES, Change, Files, Mutant, edit_json, mutant
from tests.gates.synthetic import ar_losses, make_run

LETTERS = "\n abcdefgh"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One kind of file, whole, and how rnneval reads it."""

    name: str
    files: Files
    changes: tuple[Change, ...]
    opened: Callable[[Path], Any]
    """Give what was read, which can be compared with `==`; an error is a `RnnevalError`."""
    commands: Callable[[Path], list[list[str]]] = lambda _: []
    """What must also end in one line, or in a result, when it is run on the folder."""
    protected: Callable[[Mutant], bool] = lambda _: False


def subjects() -> tuple[Subject, ...]:
    return (_run(), _gate(), _wiring(), *_tables(), _history(), *_vocabularies())


def outcome(subject: Subject, seed: int) -> tuple[Mutant, str]:
    """Make a mutant, read it, and say what became of it: `refused`, `unchanged`, `another`; a fault is raised."""
    found = mutant(subject.files, subject.changes, f"{subject.name} {seed}")
    with tempfile.TemporaryDirectory(prefix="rnneval-damage-") as name:
        folder = Path(name)
        original, changed = written(subject.files, folder / "original"), written(found.files, folder / "changed")
        whole = subject.opened(original)
        try:
            read_back = subject.opened(changed)
        except RnnevalError:
            result = "refused"
        else:
            result = "unchanged" if read_back == whole else "another"
        for command in subject.commands(folder):
            ended_well(command, refused=result == "refused")
    assert result == "refused" or not subject.protected(found), f"{found.what} was not refused"
    return found, result


def written(files: Files, folder: Path) -> Path:
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    folder.mkdir(exist_ok=True)
    return folder


def ended_well(command: list[str], *, refused: bool) -> None:
    """A result, or one line and exit code 2; never a traceback, nor a defect."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(command)
    said = err.getvalue()
    assert code in (0, 1, 2, 3), (command, code)
    assert "defect of rnneval" not in said, (command, said)
    assert "Traceback" not in said, (command, said)
    assert all(line.isprintable() for line in (out.getvalue() + said).split("\n")), command
    if code == 2:
        assert said.startswith("rnneval: error: "), said
        assert said.count("\n") == 1, said
    if refused:
        assert code == 2, (command, code, said)


def tally(subject: Subject, seeds: range) -> Counter[str]:
    """Count what becomes of many."""
    return Counter(outcome(subject, seed)[1] for seed in seeds)


# --- records ---


def _run() -> Subject:
    whole = make_run(ar_losses(24))

    def commands(folder: Path) -> list[list[str]]:
        new, old = str(folder / "changed" / "r.json"), str(folder / "original" / "r.json")
        # `gate` and `compare` have nothing more to say where the record cannot even be read.
        return [["gate", new, "--baseline", old], ["compare", old, new]]

    return Subject(
        name="run record",
        files={"r.json": encode(whole).encode()},
        changes=(*BYTES, edit_json, edit_json, edit_json, edit_json, edit_json),
        opened=lambda folder: read(folder / "r.json"),
        commands=commands,
    )


def _gate() -> Subject:
    from rnneval.gates import gate

    whole = gate(make_run(ar_losses(128)), baseline=make_run(ar_losses(128, 1)), require=["accuracy>=0.4"])
    assert isinstance(whole, Gate)
    return _record("gate record", whole)


def _wiring() -> Subject:
    found = Finding(rule="crossed-state", severity="error", layer="gru", line=3, message="crossed", help="carry it")
    whole = Wiring(
        verdict="fail", reason="crossed-state", layers=(), flow=(), findings=(found,), oracles={}, declared=(), calls=4,
        wired_by="author",
    )  # fmt: skip
    return _record("wiring record", whole)


def _record(name: str, whole: Any) -> Subject:
    def commands(folder: Path) -> list[list[str]]:
        return [["gate", str(folder / "changed" / "r.json"), "--require", "verdict==pass"]]

    return Subject(
        name=name,
        files={"r.json": encode(whole).encode()},
        changes=(*BYTES, edit_json, edit_json, edit_json, edit_json),
        opened=lambda folder: read(folder / "r.json"),
        commands=commands,
    )


# --- tables ---


def _tables() -> Iterator[Subject]:
    count = 400
    rng = np.random.default_rng(0)
    start = np.arange(count)
    losses = {
        "token": start, "document": start // 200, "byte_start": start, "byte_end": start + 1,
        "id": rng.integers(0, 9, count).astype(np.int32), "nats": rng.random(count),
    }  # fmt: skip
    yield _table("losses table", "rnneval.losses/1", losses)
    words = pa.array(["gru", "lstm"] * 200).dictionary_encode()
    trace = {
        "position": start, "unit": pa.nulls(count, pa.int32()), "layer": words, "slot": words, "statistic": words,
        "value": rng.random(count), "low": pa.nulls(count, pa.float64()), "high": pa.nulls(count, pa.float64()),
    }  # fmt: skip
    yield _table("trace table", "rnneval.trace/1", trace)


def _table(name: str, schema: str, columns: dict[str, Any]) -> Subject:
    raw = _parquet(pa.table(columns).replace_schema_metadata({"rnneval.schema": schema}))
    return Subject(
        name=name,
        files={"t.parquet": raw},
        changes=BYTES,
        opened=lambda folder: _plain(folder / "t.parquet"),
        protected=lambda found: _in_a_page(found, raw),
    )


def _history() -> Subject:
    parts = {}
    for number in range(3):
        words = pa.array(["", "gru"] * 50).dictionary_encode()
        table = pa.table(
            {"step": np.arange(100) + 100 * number, "layer": words, "variable": words,
             "statistic": pa.array(["grad_norm"] * 100).dictionary_encode(), "value": np.arange(100) * 0.5}
        )  # fmt: skip
        table = table.replace_schema_metadata({"rnneval.schema": "rnneval.gradient-history/1"})
        parts[f"part-{number:06}.parquet"] = _parquet(table)
    return Subject(name="history folder", files=parts, changes=BYTES, opened=_plain)


def _parquet(table: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        with table_written(path, table.schema) as writer:
            writer.write_table(table)
        return path.read_bytes()


def _plain(path: Path) -> Any:
    table = read_table(path)
    frame = table.to_pandas()
    columns = {name: frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}
    return columns, dict(table.schema.metadata)


def _in_a_page(found: Mutant, raw: bytes) -> bool:
    """Whether one bit was flipped between the first byte and the footer, headers of pages left out."""
    if found.kind != "flip":
        return False
    at = int(found.what.split(" ")[2].partition(".")[0])
    import pyarrow.parquet as pq

    described = pq.ParquetFile(io.BytesIO(raw)).metadata
    for group in range(described.num_row_groups):
        for number in range(described.num_columns):
            column = described.row_group(group).column(number)
            start = column.dictionary_page_offset or column.data_page_offset
            # A header of a page is smaller than 100 bytes here; what follows it to the end of the chunk is the page.
            if column.data_page_offset + 100 <= at < start + column.total_compressed_size:
                return True
    return False


# --- vocabularies ---


def _vocabularies() -> Iterator[Subject]:
    tokens = list(LETTERS)
    array = io.BytesIO()
    np.save(array, np.array(tokens))
    config = {"char_level": True, "word_index": json.dumps({token: i for i, token in enumerate(tokens, 1)})}
    kinds = {
        "v.json": json.dumps(tokens).encode(),
        "v_map.json": json.dumps({token: i for i, token in enumerate(tokens)}).encode(),
        "v_idx2char.json": json.dumps({str(i): token for i, token in enumerate(tokens)}).encode(),
        "v_keras.json": json.dumps({"class_name": "Tokenizer", "config": config}).encode(),
        "v.txt": b"\\n\n \na\nb\nc\nd\ne\nf\ng\nh\n",
        "v.npy": array.getvalue(),
    }
    for name, raw in kinds.items():
        yield _vocabulary(name, raw)


def _vocabulary(name: str, raw: bytes) -> Subject:
    changes = (*BYTES, *[edit_json] * 5) if name.endswith(".json") else BYTES
    return Subject(
        name=f"vocabulary {name}",
        files={name: raw},
        changes=changes,
        opened=lambda folder: Vocabulary.from_file(folder / name).tokens,
    )
