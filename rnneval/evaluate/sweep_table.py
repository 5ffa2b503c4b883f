"""The table of a sweep: one row per checkpoint, as Parquet for pandas and seaborn, and what a checkpoint's name says.

`path`, `run` (the folder within the swept one), `epoch` and `step` (out of the name), `status` (`ok`, `not-valid` or
`failed`), `rule` (what failed: the kind of error, or the wiring rule of a run that is not valid), `error`, `sha256`,
`format`, `parameters`, `record` (path of its run record from the table's folder on), `signature`, `text_sha256`,
`vocabulary_sha256`, `tokens`, `total_nats`, `seconds`, `tokens_per_second`, `warnings` (codes), and for each score its
value, `NAME_low` and `NAME_high`. What is not there is null, and so is every number of a run that is not valid: no sort
and no plot can take it for a score.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import rnneval
from rnneval.errors import RecordError
from rnneval.records import Run, table_written
from rnneval.records import read_table as checked_table
from rnneval.records._base import quoted
from rnneval.records.run import score_in_words
from rnneval.records.tables import SWEEP

if TYPE_CHECKING:
    import pandas as pd

FILE = "sweep.parquet"
RECORDS = "records"
OK, NOT_VALID, FAILED = STATUSES = "ok", "not-valid", "failed"
_SCORES = ("bits_per_char", "cross_entropy")
_COLUMNS = {
    **dict.fromkeys(("path", "run"), "string"), **dict.fromkeys(("epoch", "step"), "int64"),
    **dict.fromkeys(("status", "rule", "error", "sha256", "format"), "string"), "parameters": "int64",
    **dict.fromkeys(("record", "signature", "text_sha256", "vocabulary_sha256"), "string"), "tokens": "int64",
    **dict.fromkeys(("total_nats", "seconds", "tokens_per_second"), "float64"), "warnings": "string",
}  # fmt: skip
_ENDING = re.compile(r"(\.(weights|keras|h5|hdf5|ckpt|tf))+$", re.IGNORECASE)
_EPOCH = re.compile(r"(?<![a-z])(?:epochs?|ep|e)[-_=. ]?(\d+)", re.IGNORECASE)
_STEP = re.compile(r"(?<![a-z])(?:(?:global_?)?steps?|iter(?:ation)?s?|batch|it|s)[-_=. ]?(\d+)", re.IGNORECASE)
# A number that is no part of a decimal: `05` of `model.05-1.23`, none of `loss1.23`.
_BARE = re.compile(r"(?<!\d)(?<!\d\.)(\d+)(?!\d|\.\d)")
_LONGEST = 80


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
        """Return the row of the table."""
        place, run = dict(zip(("run", "epoch", "step"), place_of(self.name), strict=True)), self.run
        found: dict[str, Any] = {"path": self.name, **place, "status": self.status}
        found |= {"rule": self.rule, "error": self.error, "sha256": self.sha256, "record": self.record}
        if run is None:
            return found
        found |= {
            "signature": run.signature,
            "text_sha256": run.text.sha256,
            "tokens": run.tokens.scored,
            "warnings": " ".join(dict.fromkeys(warning.code for warning in run.warnings)),
        }
        if run.checkpoint is not None:
            found |= {"format": run.checkpoint.format, "parameters": run.checkpoint.parameters}
        if run.vocabulary is not None:
            found["vocabulary_sha256"] = run.vocabulary.sha256
        if run.timing is not None:
            found |= {"seconds": run.timing.seconds, "tokens_per_second": run.timing.tokens_per_second}
        if run.valid:
            found["total_nats"] = run.total_nats
            for name, score in run.scores.items():
                found |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
        return found


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """Result of a sweep."""

    rows: tuple[SweepRow, ...]
    """One row for each checkpoint, in natural order of their names."""
    out: Path
    others: tuple[str, ...]
    """Files of the folder that are not checkpoints."""
    kept: int
    """Number of checkpoints that were finished before."""

    @property
    def failed(self) -> tuple[SweepRow, ...]:
        """Checkpoints without a valid number."""
        return tuple(row for row in self.rows if row.status in {FAILED, NOT_VALID})

    @property
    def warned(self) -> tuple[SweepRow, ...]:
        """Checkpoints whose records hold warnings."""
        return tuple(row for row in self.rows if row.run is not None and row.run.warnings)

    def to_frame(self) -> "pd.DataFrame":
        """Return the table as a pandas DataFrame, with the columns that `rnneval.evaluate.sweep_table` lists."""
        import pandas as pd

        return pd.read_parquet(self.out / FILE)

    @property
    def frame(self) -> "pd.DataFrame":
        """The same as `to_frame()`."""
        return self.to_frame()

    @property
    def best(self) -> SweepRow | None:
        """The valid checkpoint with the least bits per character, or nats per token; None if none is valid."""
        first = next(iter(best_first([row.columns() for row in self.rows])), {})
        return next((row for row in self.rows if row.status == OK and row.name == first["path"]), None)

    def __repr__(self) -> str:
        said = f"{len(self.rows)} checkpoints in {quoted([str(self.out)])}"
        if (best := self.best) is None or best.run is None:
            return f"<Sweep of {said}: none is valid>"
        score = score_in_words(best.run.scores, best.run.signature)
        return f"<Sweep of {said}: best is {quoted([best.name])} with {score}, {best.run.signature}>"

    def _repr_html_(self) -> str:
        return rnneval.as_html(self)


def write_table(rows: Sequence[SweepRow], folder: str | os.PathLike[str], described: Mapping[str, str]) -> Path:
    """Write the table into the folder atomically."""
    import pyarrow as pa

    types = dict(_COLUMNS)
    for score in dict.fromkeys(name for row in rows if row.run is not None for name in sorted(row.run.scores)):
        types |= dict.fromkeys((score, f"{score}_low", f"{score}_high"), "float64")
    metadata = {key.encode(): value.encode() for key, value in {"rnneval.schema": SWEEP, **described}.items()}
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()], metadata=metadata)
    path = Path(folder) / FILE
    with table_written(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist([row.columns() for row in rows], schema=schema))
    return path


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
        inside = isinstance(record, str) and PurePosixPath(record).parts == (RECORDS, PurePosixPath(record).name)
        whole = inside if status in {OK, NOT_VALID} else record is None and status == FAILED
        if not (whole and isinstance(row.get("path"), str)):
            raise RecordError(f"{path}: rows that no sweep writes (path, status or record): run the sweep again")
    return rows


def records_of(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the paths of the run records of a sweep by checkpoint, in the order of its table; failures have none."""
    rows = read_table(folder)
    found = {row["path"]: Path(folder) / row["record"] for row in rows if row.get("record") is not None}
    if not found:
        raise RecordError(f"{os.fspath(folder)}: a sweep whose {len(rows)} checkpoints all failed: no record to read")
    return found


def best_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Order rows of the table by bits per character, or nats per token; invalid ones follow, then failures.

    Example:
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


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts numbers by their value.

    Example:
        >>> sorted(["ckpt_10", "ckpt_9", "a"], key=natural)
        ['a', 'ckpt_9', 'ckpt_10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() and part.isascii() else (1, part) for part in parts if part)


def place_of(name: str) -> tuple[str, int | None, int | None]:
    """Read the folder within the swept one ("" for that folder), and the epoch or the step, out of a path.

    `epoch` and `step` (or `iter`, `batch`) name themselves; a number alone is the epoch, as in TensorFlow's tutorials
    (`ckpt_{epoch}`) and in the example of Keras' ModelCheckpoint (`{epoch:02d}-{val_loss:.2f}`); a number with a point
    is a loss. Where the file's name says nothing, its folder is asked.

    Example:
        >>> [place_of(name) for name in ("ckpt_7", "model.05-1.23.h5", "a/epoch_3/model.keras")]
        [('', 7, None), ('', 5, None), ('a', 3, None)]
        >>> [place_of(name) for name in ("lstm/global_step1200", "best.keras")]
        [('lstm', None, 1200), ('', None, None)]
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


def _whole(found: re.Match[str] | None) -> int | None:
    """Return the number that was found; more digits than int64 holds are a hash, or a date with time."""
    return int(found[1]) if found is not None and len(found[1]) <= 18 else None


def record_name(name: str, key: str) -> str:
    """Return the file name of a checkpoint's record: its readable name, and a part of its key.

    Example:
        >>> record_name("run a/ckpt_7.keras", "0123456789abcdef" * 4)
        'run_a_ckpt_7.keras-0123456789abcdef.json'
    """
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "checkpoint"
    return f"{readable[-_LONGEST:]}-{key[:16]}.json"
