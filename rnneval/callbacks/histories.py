"""Histories of a training on disk: each is a folder of complete Parquet parts, which pandas reads as one table.

A part is written beside its place and moved there, so that it is complete or absent, and a run that is killed keeps
all parts up to the last. Columns: `step` or `epoch`, `layer`, `variable`, `statistic`, `value`. A value that is not
finite is written as it is, NaN or infinite, so that it cannot be taken for one that was never measured.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rnneval._version import __version__
from rnneval.errors import RecordError, UsageError
from rnneval.paths import Places, require_apart
from rnneval.records import table_written

Key = tuple[str, str, str]  # layer, variable or state, and statistic of a number
_WORD = pa.dictionary(pa.int32(), pa.string())
EXISTING = ("refuse", "replace", "append")
LOGS = ("main", "all", "none")
"""Values of `logs=`: libraries print every entry of `logs` in a progress line, and pass them to other callbacks."""
MAIN = ("grad_norm", "update_ratio", "heldout_perplexity")


class Parts:
    """Writer of a history, part by part."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        index: str,
        described: Mapping[str, str],
        existing: str = "refuse",
        inputs: Places | None = None,
    ) -> None:
        """Make the folder; `index` names the first column, `step` or `epoch`, `described` is metadata of every part.

        `existing` says what becomes of a history that is already there. `inputs` are read while this one is written.
        """
        if existing not in EXISTING:
            raise UsageError(f"existing={existing!r} is not known: give {', '.join(EXISTING)}")
        self.folder = Path(folder)
        parts = sorted(self.folder.glob("part-*.parquet"))
        require_apart({"path": [folder, *parts]}, inputs or {})
        if self.folder.is_file():
            raise RecordError(f"{self.folder}: is a file; a history is a folder of parts: give another name")
        if parts and existing == "refuse":
            held = f"holds a history of {len(parts)} parts already"
            raise RecordError(f"{self.folder}: {held}: give another folder, or existing='replace' or 'append'")
        if foreign := next((part for part in parts if not _is_part(part, described)), None):
            raise RecordError(f"{foreign}: is no part of such a history, and stays: give another folder")
        try:
            while parts and existing == "replace":
                parts.pop().unlink()
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{self.folder}: cannot be made: {error.strerror or error}") from error
        self._next = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        fields: list[Any] = [(index, pa.int64()), ("layer", _WORD), ("variable", _WORD), ("statistic", _WORD)]
        self._schema = pa.schema([*fields, ("value", pa.float64())])
        self.describe({"rnneval.version": __version__, **described})

    def describe(self, more: Mapping[str, str]) -> None:
        """Add to the metadata of the parts that are written from now on."""
        metadata = {key.encode(): value.encode() for key, value in more.items()}
        self._schema = self._schema.with_metadata({**(self._schema.metadata or {}), **metadata})

    def write(self, index: NDArray[np.int64], columns: list[Key], values: NDArray[np.float64]) -> None:
        """Write one part: values `(n, columns)` at steps `(n,)`, one row for each number that is not masked."""
        row, column = np.nonzero(~np.ma.getmaskarray(values))
        words = [pa.array(names).dictionary_encode().take(pa.array(column)) for names in zip(*columns, strict=True)]
        numbers = np.ma.getdata(values)[row, column]
        table = pa.table([pa.array(index[row]), *words, pa.array(numbers)], schema=self._schema)
        place = self.folder / f"part-{self._next:06}.parquet"
        if place.exists():
            raise RecordError(f"{place}: is of another history: give each callback and each run its own folder")
        with table_written(place, self._schema) as writer:
            writer.write_table(table)
        self._next += 1


def require_logs(logs: str) -> None:
    """Refuse an unknown choice of the numbers to put into `logs`."""
    if logs not in LOGS:
        raise UsageError(f"logs={logs!r} is not known: give one of {', '.join(LOGS)}")


def chosen(numbers: Mapping[str, float], logs: str) -> dict[str, float]:
    """Return the numbers to put into `logs`."""
    names = {"main": MAIN, "all": tuple(numbers), "none": ()}[logs]
    return {name: numbers[name] for name in names if name in numbers}


def _is_part(path: Path, described: Mapping[str, str]) -> bool:
    """Return whether a file is a part that a callback of the same kind wrote."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    is_named = re.fullmatch(r"part-\d+", path.stem) is not None
    return is_named and metadata.get(b"rnneval.schema") == described["rnneval.schema"].encode()
