"""The table of a sweep (docs/reference/tables.md), a row per checkpoint, and what a checkpoint's name says."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import rnneval
from rnneval.errors import RecordError
from rnneval.records import Run, table_written
from rnneval.records import read_table as checked_table
from rnneval.records._base import quoted
from rnneval.records.run import score_in_words
from rnneval.records.tables import SWEEP, TABLES

if TYPE_CHECKING:
    import pandas as pd

FILE = "sweep.parquet"
RECORDS = "records"
OK, NOT_VALID, FAILED = STATUSES = "ok", "not-valid", "failed"
_SCORES = ("bits_per_char", "cross_entropy")
_WHOLE_NUMBERS = {"epoch", "step", "parameters", "tokens"}
_ENDING = re.compile(r"(\.(weights|keras|h5|hdf5|ckpt|tf))+$", re.IGNORECASE)
_EPOCH = re.compile(r"(?<![a-z])(?:epochs?|ep|e)[-_=. ]?(\d+)", re.IGNORECASE)
_STEP = re.compile(r"(?<![a-z])(?:(?:global_?)?steps?|iter(?:ation)?s?|batch|it|s)[-_=. ]?(\d+)", re.IGNORECASE)
# A number that is no part of a decimal: `05` of `model.05-1.23`, none of `loss1.23`.
_BARE = re.compile(r"(?<!\d)(?<!\d\.)(\d+)(?!\d|\.\d)")


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """Result of one checkpoint."""

    name: str
    sha256: str
    run: Run | None = None
    record: str | None = None
    error: str | None = None
    rule: str | None = None

    @property
    def status(self) -> str:
        """`ok`, `not-valid` or `failed`."""
        if self.run is None:
            return FAILED
        return OK if self.run.valid else NOT_VALID

    def columns(self) -> dict[str, Any]:
        """Return the row of the table: every column, None for what is not there."""
        folder, epoch, step = place_of(self.name)
        run, scores = self.run, dict[str, float | None]()
        checkpoint, timing = (run.checkpoint, run.timing) if run else (None, None)
        for name, score in sorted(run.scores.items()) if run else ():
            scores |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        return {
            "path": self.name, "run": folder, "epoch": epoch, "step": step, "status": self.status, "rule": self.rule,
            "error": self.error, "sha256": self.sha256, "format": checkpoint and checkpoint.format,
            "parameters": checkpoint and checkpoint.parameters, "record": self.record,
            "signature": run and run.signature, "text_sha256": run and run.text.sha256,
            "vocabulary_sha256": run and run.vocabulary and run.vocabulary.sha256, "tokens": run and run.tokens.scored,
            "total_nats": run.total_nats if run and run.valid else None, "seconds": timing and timing.seconds,
            "tokens_per_second": timing and timing.tokens_per_second,
            "warnings": run and " ".join(dict.fromkeys(warning.code for warning in run.warnings)),
            **(scores if run and run.valid else dict.fromkeys(scores)),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """Result of a sweep."""

    rows: tuple[SweepRow, ...]  # one row for each checkpoint, in natural order of their names
    out: Path
    finished_before: int  # number of checkpoints whose records were there

    @property
    def failed(self) -> tuple[SweepRow, ...]:
        """Checkpoints without a valid number."""
        return tuple(row for row in self.rows if row.status in {FAILED, NOT_VALID})

    @property
    def warned(self) -> tuple[SweepRow, ...]:
        """Checkpoints whose records hold warnings."""
        return tuple(row for row in self.rows if row.run is not None and row.run.warnings)

    def to_frame(self) -> "pd.DataFrame":
        """Return the table as a pandas DataFrame, with the columns that docs/reference/tables.md lists."""
        import pandas as pd

        return pd.read_parquet(self.out / FILE)

    @property
    def best(self) -> SweepRow | None:
        """The valid checkpoint with the least bits per character, or nats per token; None if none is valid."""
        valid = {row.name: row for row in self.rows if row.status == OK}
        first = best_first([row.columns() for row in valid.values()])
        return valid[first[0]["path"]] if first else None

    def __repr__(self) -> str:
        place = f"{len(self.rows)} checkpoints in {quoted([str(self.out)])}"
        if (best := self.best) is None or best.run is None:
            return f"<Sweep of {place}: none is valid>"
        score = score_in_words(best.run.scores, best.run.signature)
        return f"<Sweep of {place}: best is {quoted([best.name])} with {score}, {best.run.signature}>"

    def _repr_html_(self) -> str:
        return rnneval.as_html(self)


def write_table(rows: Sequence[SweepRow], folder: str | os.PathLike[str], described: Mapping[str, str]) -> None:
    """Write the table into the folder atomically."""
    import pyarrow as pa

    columns = [row.columns() for row in rows]
    fields = []
    for name in dict.fromkeys(chain.from_iterable(columns)):
        kind = pa.int64() if name in _WHOLE_NUMBERS else pa.float64()
        fields.append((name, pa.string() if TABLES[SWEEP].get(name) is str else kind))
    schema = pa.schema(fields, metadata={"rnneval.schema": SWEEP, **described})
    with table_written(Path(folder) / FILE, schema) as writer:
        writer.write_table(pa.Table.from_pylist(columns, schema=schema))


def read_table(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the table of a sweep's folder, a dictionary a row; a RecordError says what is wrong with it."""
    path = Path(folder) / FILE
    if not path.is_file():
        raise RecordError(
            f"{os.fspath(folder)}: no {FILE} in it: give the --out folder of a finished rnneval sweep, or records"
        )
    table = checked_table(path)
    if (table.schema.metadata or {}).get(b"rnneval.schema") != SWEEP.encode():
        raise RecordError(f"{path}: not a table of rnneval sweep (schema {SWEEP}): run the sweep again")
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        record, status = row.get("record"), row.get("status")
        inside = record is None or PurePosixPath(record).parts == (RECORDS, PurePosixPath(record).name)
        if not inside or status not in STATUSES or (record is None) != (status == FAILED) or row.get("path") is None:
            raise RecordError(f"{path}: rows that no sweep writes (path, status or record): run the sweep again")
    return rows


def records_of(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the paths of the run records of a sweep by checkpoint, in the order of its table; failures have none."""
    rows = read_table(folder)
    records = {row["path"]: Path(folder) / row["record"] for row in rows if row.get("record") is not None}
    if not records:
        raise RecordError(f"{os.fspath(folder)}: a sweep whose {len(rows)} checkpoints all failed: no record to read")
    return records


def best_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Order rows of the table by bits per character, or nats per token; invalid ones follow, then failures.

    >>> good = [{"status": "ok", "cross_entropy": nats} for nats in (2.0, 1.5)]
    >>> [row.get("cross_entropy") for row in best_first([{"status": "failed"}, *good])]
    [1.5, 2.0, None]
    """
    name = next((name for name in _SCORES if any(row.get(name) is not None for row in rows)), _SCORES[0])

    def place(row: Mapping[str, Any]) -> tuple[int, float]:
        score: Any = row.get(name)
        missing = score is None or score != score  # noqa: PLR0124 - a missing one is NaN in pandas
        return STATUSES.index(row["status"]), inf if missing else float(score)

    return sorted(rows, key=place)


def place_of(name: str) -> tuple[str, int | None, int | None]:
    """Read the folder within the swept one ("" for that folder), and the epoch or the step, out of a path.

    A number alone is the epoch, as in `ckpt_{epoch}` and `{epoch:02d}-{val_loss:.2f}`; a number with a point is a loss.
    Where the file's name says nothing, its folder is asked.

    >>> [place_of(name) for name in ("ckpt_7", "model.05-1.23.h5", "a/epoch_3/model.keras", "b/global_step12")]
    [('', 7, None), ('', 5, None), ('a', 3, None), ('b', None, 12)]
    """
    *folders, last = name.split("/")
    epoch, step = _numbers(last)
    if epoch is None and step is None:
        epoch = _whole(_BARE.search(_ENDING.sub("", last)))
    if epoch is None and step is None and folders and (numbers := _numbers(folders[-1])) != (None, None):
        (epoch, step), folders = numbers, folders[:-1]
    return "/".join(folders), epoch, step


def _numbers(name: str) -> tuple[int | None, int | None]:
    stem = _ENDING.sub("", name)
    return _whole(_EPOCH.search(stem)), _whole(_STEP.search(stem))


def _whole(match: re.Match[str] | None) -> int | None:
    """Return the number that was matched; more digits than int64 holds are a hash, or a date with time."""
    return int(match[1]) if match is not None and len(match[1]) <= 18 else None
