"""`rnneval.sweep`: evaluate many checkpoints once each, into a record each and one table.

Checkpoints are identified by name and a few bytes. No weights or configuration are read in this process, since a
hostile file may crash a parser; of a zip file, only the list of names is. A file that only looks like a checkpoint by
its ending counts as one, so that it gets a row with its error in the table.
"""

import gc
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from rnneval.checkpoints import Artefact
from rnneval.checkpoints.places import HDF5, ZIP, first_bytes
from rnneval.checkpoints.usercode import reads_checkpoint, record_of
from rnneval.errors import CheckpointError, RecordError, RnnevalError, UsageError
from rnneval.evaluate.executor import WorkerDiedError, connected
from rnneval.evaluate.opening import ALONE, Reopened, absolute_paths, file_hashes, files_of, portable
from rnneval.evaluate.sweep_table import FILE, RECORDS, Sweep, SweepRow, write_table
from rnneval.option import values_of
from rnneval.options import OpeningGroup, SweepOptions, SweptGroup, WorkerGroup, by_keyword
from rnneval.paths import natural, require_apart
from rnneval.records import Run, read_run, write
from rnneval.records.run import BuilderRecord
from rnneval.text import Paths, TextOptions, final_text, refuse_overlap

EVALUATION = 2
"""To be raised when the same evaluation would give other numbers: earlier records then no longer count as done."""
_ENDINGS = {".keras", ".h5", ".hdf5"}
_NO_WEIGHTS = {
    ".cfg", ".csv", ".html", ".ini", ".ipynb", ".json", ".log", ".md", ".parquet", ".pdf", ".png", ".py", ".sh", ".svg",
    ".toml", ".tsv", ".txt", ".yaml", ".yml",
}  # fmt: skip
"""Endings of files that are no checkpoints of a builder that reads its files itself."""
_PART = re.compile(r"(.+)\.(?:index|data-\d+-of-\d+)", re.DOTALL)  # of a TensorFlow checkpoint
_KERAS = {"config.json", "model.weights.h5"}  # in every `.keras` file


@by_keyword(SweepOptions)
def sweep(folder: str | os.PathLike[str], text: Paths, options: SweepOptions) -> Sweep:
    """Evaluate every checkpoint of a folder in worker processes; what was finished before is not done again.

    A file that is broken or hostile, or that kills its worker process, is a row with its error; the rest goes on.

    Args:
        folder: Folder that is searched for checkpoints, by content, with all folders in it. Links are not followed.
        text: One or more files of UTF-8 text.
        options: Keyword arguments, each a field of `SweepOptions`.

    Returns:
        A value with one row per checkpoint, and the table as a pandas DataFrame (`to_frame()`).

    Raises:
        UsageError: no checkpoint is in the folder, an option's value is not known, or there is no
            scheduler at the address, or no Dask to reach it.
        TextError: the text is missing, empty or not UTF-8.
        RecordError: a record or the table cannot be written.
    """
    out, progress = Path(options.out), options.progress or (lambda *_: None)
    builder = (options.opening or {}).get("builder")
    try:
        candidates = find_checkpoints(folder, out=out, every=builder is not None and reads_checkpoint(builder))
        orders = _orders(candidates, text, options)
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from error
    one = orders[0]  # all read the same texts
    inputs = {
        "folder": [file for candidate in candidates.values() for file in candidate.files],
        "the text": one.texts,
        "fit_on": options.fit_on,
        "opening": files_of(one.checkpoint.options),
    }
    require_apart({"out": [out / name for name in (FILE, *(order.record for order in orders))]}, inputs)
    try:
        (out / RECORDS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{out}: cannot be made: {error.strerror or error}: name a folder") from error
    rows = {order.name: row for order in orders if (row := _finished(order, out)) is not None}
    finished, left = len(rows), [order for order in orders if order.name not in rows]
    progress(finished, len(orders))
    if left:
        with connected(WorkerGroup(**values_of(WorkerGroup, options)), tasks=len(left)) as pool:
            for order, done in pool.run(measure_one, left):
                rows[order.name] = _row_of(order, done, out)
                progress(len(rows), len(orders))
    ordered = tuple(rows[order.name] for order in orders)
    write_table(ordered, out, {"rnneval.text": one.text})
    return Sweep(rows=ordered, out=out, finished_before=finished)


# The checkpoints of a folder


def find_checkpoints(
    folder: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None, every: bool = False
) -> dict[str, Artefact]:
    """Return the checkpoints in a folder and its subfolders by name.

    Names are paths from the folder on, in natural order: `ckpt_2` before `ckpt_10`. Hidden folders and `out` are left
    out, and links are not followed. With `every`, the builder reads the files itself: all are checkpoints that are no
    text, code or table.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "a file: rnneval evaluate measures one" if root.exists() else "no such folder"
        raise UsageError(f"{root}: {what}; rnneval sweep takes a folder of checkpoints")
    checkpoints = {each.path.relative_to(root).as_posix(): each for each in _walk(root, out, every=every)}
    if not checkpoints:
        raise UsageError(f"{root}: no checkpoint in it; a checkpoint is identified by its content")
    return {name: checkpoints[name] for name in sorted(checkpoints, key=natural)}


def _walk(root: Path, out: str | os.PathLike[str] | None, *, every: bool) -> Iterator[Artefact]:
    """Yield each checkpoint; its hash needs no format."""
    results = None if out is None else Path(out).resolve()
    for name, folders, files in os.walk(root, onerror=_refuse):
        folder = Path(name)
        # A sweep is of the checkpoints *in* the root: the root itself is never one, even if it is a SavedModel.
        if folder != root and "saved_model.pb" in files:
            folders.clear()
            variables = sorted(path for path in (folder / "variables").glob("variables.*") if path.is_file())
            yield Artefact(path=folder, format="", files=(folder / "saved_model.pb", *variables))
            continue
        folders[:] = sorted(sub for sub in folders if not sub.startswith(".") and (folder / sub).resolve() != results)
        parts: dict[str, list[Path]] = {}  # of each TensorFlow checkpoint, complete or not, by prefix
        for path in sorted(folder / file for file in files if not file.startswith(".")):
            if path.is_symlink() or not path.is_file():
                continue
            if part := _PART.fullmatch(path.name):
                parts.setdefault(part[1], []).append(path)
            elif (path.suffix.lower() not in _NO_WEIGHTS) if every else _looks_like_checkpoint(path):
                yield Artefact(path=path, format="", files=(path,))
        for prefix, files_of_prefix in parts.items():
            yield Artefact(path=folder / prefix, format="", files=tuple(files_of_prefix))


def _refuse(error: OSError) -> None:
    raise error


def _looks_like_checkpoint(path: Path) -> bool:
    """Return whether a file is one by its ending or its bytes; a zip file, by the names in it: an .npz file is none."""
    if path.suffix.lower() in _ENDINGS:
        return True
    head = first_bytes(path)
    if not head.startswith(ZIP):
        return head.startswith(HDF5)
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_KERAS & set(archive.namelist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


# One checkpoint


@dataclass(frozen=True, kw_only=True)
class Order:
    """One checkpoint to be evaluated: instructions for a worker."""

    name: str
    key: str  # hash of its path and content, the text, the options and `EVALUATION`
    path: str  # as the user gave it, for the record
    builder: BuilderRecord | None  # as the user gave it, for the record
    checkpoint: Reopened
    texts: tuple[str, ...]
    text: str  # SHA-256 of the final text
    options: Mapping[str, Any]  # keyword arguments of `rnneval.evaluate`

    @property
    def record(self) -> str:
        """Path of its record in the folder of results: its readable name, and a part of its key."""
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name).strip("._") or "checkpoint"
        return f"{RECORDS}/{readable[-80:]}-{self.key[:16]}.json"


def _orders(candidates: Mapping[str, Artefact], text: Paths, options: SweepOptions) -> list[Order]:
    """Hash everything that a score depends on, before any work is started."""
    opening = portable(group := OpeningGroup(**(options.opening or {})))
    builder = None if group.builder is None else record_of(group.builder)
    texts, fitted = absolute_paths(text), absolute_paths(options.fit_on or ())
    chosen = TextOptions.of(options)
    final = final_text(texts, chosen)
    if fitted:
        fit = final_text(fitted, replace(chosen, part=options.fit_part, part_option="--fit-part"))
        refuse_overlap(fit.files, final.files)
    hashes = file_hashes((*texts, *fitted, *files_of(opening)))
    plain = {**values_of(SweptGroup, options), "fit_on": fitted or None, "declare": tuple(options.declare)}
    common = (EVALUATION, sorted(hashes.values()), final.sha256, plain, vars(opening), builder and builder.sha256)
    arguments = {**plain, "command": tuple(options.command)}
    order_of, orders = partial(Order, builder=builder, texts=texts, text=final.sha256, options=arguments), []
    for name, candidate in candidates.items():
        content, path = candidate.sha256, str(candidate.path.absolute())
        key = sha256(json.dumps((name, content, *common), sort_keys=True, default=repr).encode()).hexdigest()
        checkpoint = Reopened(path=path, sha256=content, options=opening, hashes=hashes)
        orders.append(order_of(name=name, key=key, path=str(candidate.path), checkpoint=checkpoint))
    return orders


def measure_one(order: Order) -> Run:
    """Evaluate one checkpoint in this process, a worker."""
    with ALONE:
        try:
            return _measured(order)
        finally:
            if (keras := sys.modules.get("keras")) is not None:
                keras.utils.clear_session()  # it keeps names and graphs of every model
            gc.collect()


def _measured(order: Order) -> Run:
    """Open and evaluate the checkpoint; the model is gone when this returns."""
    from rnneval.evaluate.run import evaluate

    run = evaluate(order.checkpoint(), list(order.texts), **order.options)
    assert run.checkpoint is not None  # noqa: S101 - only imported losses have none
    checkpoint = msgspec.structs.replace(run.checkpoint, path=order.path, builder=order.builder)
    return msgspec.structs.replace(run, checkpoint=checkpoint)


def _finished(order: Order, out: Path) -> SweepRow | None:
    """Return the row of a checkpoint if its record is there, complete and of this content, or None."""
    with suppress(RecordError):  # there is none, or one of another version, or damaged
        run = read_run(out / order.record)
        if run.source.sha256 == order.checkpoint.sha256:
            return _row(order, run)
    return None


def _row_of(order: Order, done: Future[Run], out: Path) -> SweepRow:
    """Write the record that a worker returned, and return the row."""
    if (error := done.exception()) is None:
        write(done.result(), out / order.record)
        return _row(order, done.result())
    rule, message = _rule_and_message(error)
    message = message.removeprefix(f"{order.checkpoint.path}: ")
    return SweepRow(name=order.name, sha256=order.checkpoint.sha256, error=message, rule=rule)


def _rule_and_message(error: BaseException) -> tuple[str, str]:
    if isinstance(error, RnnevalError):
        kind = CheckpointError if isinstance(error, CheckpointError) else type(error)
        return error.rule or kind.__name__.removesuffix("Error").lower(), str(error)
    if isinstance(error, WorkerDiedError):
        return "worker-died", (
            "every worker that evaluated this checkpoint died: it needs more memory than a worker has (--memory), or "
            "its content crashes a parser"
        )
    if isinstance(error, MemoryError):
        return "out-of-memory", "it needs more memory than a worker has (--memory)"
    return "unexpected", f"{type(error).__name__}: {error}"


def _row(order: Order, run: Run) -> SweepRow:
    return SweepRow(
        name=order.name,
        sha256=order.checkpoint.sha256,
        run=run,
        record=order.record,
        rule=" ".join(run.broken_rules) or None,
        error=run.why_not_valid or None,
    )
