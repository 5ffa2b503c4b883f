"""`rnneval.sweep`: evaluate many checkpoints once each, into a record each and one table."""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnneval
from rnneval.errors import RecordError, UsageError
from rnneval.options import Progress, SweepOptions, SweptGroup, WorkerGroup, on_folder, values_of
from rnneval.records import Run, decode, read_run, write
from rnneval.records._base import quoted
from rnneval.records.paths import named, require_apart
from rnneval.records.run import score_in_words
from rnneval.sweeps.checkpoints import Candidate, find_checkpoints
from rnneval.sweeps.measuring import Answer, Order, measure_one
from rnneval.sweeps.opening import Opening, file_hashes, key_of
from rnneval.sweeps.pool import Done, Task, WorkerDiedError
from rnneval.sweeps.table import FAILED, FILE, NOT_VALID, RECORDS, Row, best_first, record_name, write_table
from rnneval.sweeps.workers import Workers, connected
from rnneval.text import Paths, TextOptions
from rnneval.text.pieces import final_text
from rnneval.text.sources import Sources, refuse_overlap

if TYPE_CHECKING:
    import pandas as pd

EVALUATION = 1
"""Number of the evaluation's meaning: with another one, no earlier record counts as done."""
_RULES = {
    "CheckpointError": "checkpoint",
    "VocabularyError": "vocabulary",
    "TextError": "text",
    "UsageError": "usage",
    "RecordError": "record",
    "MemoryError": "out-of-memory",
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """Result of a sweep."""

    rows: tuple[Row, ...]
    """One row for each checkpoint, in natural order of their names."""
    out: Path
    others: tuple[str, ...]
    """Files of the folder that are not checkpoints."""
    kept: int
    """Number of checkpoints that were finished before."""

    @property
    def failed(self) -> tuple[Row, ...]:
        """Checkpoints without a valid number."""
        return tuple(row for row in self.rows if row.status in {FAILED, NOT_VALID})

    @property
    def warned(self) -> tuple[Row, ...]:
        """Checkpoints whose records hold warnings."""
        return tuple(row for row in self.rows if row.run is not None and row.run.warnings)

    def to_frame(self) -> "pd.DataFrame":
        """Return the table as a pandas DataFrame, with the columns that `rnneval.sweeps.table` lists."""
        import pandas as pd

        return pd.read_parquet(self.out / FILE)

    @property
    def frame(self) -> "pd.DataFrame":
        """The same as `to_frame()`."""
        return self.to_frame()

    def __repr__(self) -> str:
        best = next(iter(best_first([row.columns() for row in self.rows])), None)
        run = next((row.run for row in self.rows if best is not None and row.name == best["path"]), None)
        said = f"{len(self.rows)} checkpoints in {quoted([str(self.out)])}"
        if best is None or run is None or not run.valid:
            return f"<Sweep of {said}: none is valid>"
        score = score_in_words(run.scores, run.signature)
        return f"<Sweep of {said}: best is {quoted([best['path']])} with {score}, {run.signature}>"


@on_folder(SweepOptions)
def sweep(folder: str | os.PathLike[str], text: Paths, options: SweepOptions) -> Sweep:
    """Evaluate every checkpoint of a folder in worker processes; what was finished before is not done again.

    A file that is broken or hostile, or that kills its worker process, is a row with its error; the rest goes on.

    Args:
        folder: Folder that is searched for checkpoints, by content, with all folders in it. Links are not followed.
        text: One or more files of UTF-8 text.
        options: Keyword arguments, each a field of `SweepOptions`.

    Returns:
        A value with one row per checkpoint, and the table as a pandas DataFrame (`frame`).

    Raises:
        UsageError: no checkpoint is in the folder, an option's value is not known, or there is no
            scheduler at the address, or no Dask to reach it.
        TextError: the text is missing, empty or not UTF-8.
        RecordError: a record or the table cannot be written.
    """
    out, progress = options.out, options.progress
    workers = Workers(**values_of(WorkerGroup, options))
    found = find_checkpoints(folder, out=out)
    plan = _plan(found.candidates, text, options)
    own = [FILE, *(planned.record for planned in plan)]
    one = plan[0].order  # all read the same texts
    require_apart(
        named("out", [Path(out) / name for name in own]),
        [
            *named("folder", *(candidate.files for candidate in found.candidates)),
            *named("the text", one.texts, options.fit_on),
            *named("opening", one.opening.files),
        ],
    )
    store = _Store.at(Path(out))
    rows = {order.name: row for order in plan if (row := store.finished(order)) is not None}
    left = [order for order in plan if order.name not in rows]
    kept = len(rows)
    _tell(progress, kept, len(plan))
    if left:
        with connected(workers, tasks=len(left)) as pool:
            for done in pool.run(deque(map(_task, left))):
                rows[done.key.name] = store.row(done.key, done)
                _tell(progress, len(rows), len(plan))
    ordered = tuple(rows[one.name] for one in plan)
    write_table(ordered, out, {"rnneval.text": plan[0].text})
    return Sweep(rows=ordered, out=Path(out), others=found.others, kept=kept)


def _task(planned: "Planned") -> Task:
    return Task(key=planned, call=measure_one, arguments=lambda: (planned.order,))


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One checkpoint that is to be evaluated."""

    name: str
    key: str
    """Hash of its path and content, the text, the options and `EVALUATION`."""
    text: str
    """SHA-256 of the final text."""
    order: Order

    @property
    def record(self) -> str:
        """Path of its record in the folder of results."""
        return f"{RECORDS}/{record_name(self.name, self.key)}"


def _plan(candidates: Sequence[Candidate], text: Paths, options: SweepOptions) -> list[Planned]:
    """Hash everything that a score depends on, before any work is started."""
    opening = Opening(**(options.opening or {}))
    texts = _texts(text)
    fitted = _texts(options.fit_on or ())
    final = _final_sha256(texts, fitted, options)
    hashes = file_hashes((*texts, *fitted, *opening.files))
    passed = values_of(SweptGroup, options)
    plain = {**passed, "fit_on": fitted or None, "declare": tuple(options.declare)}
    common = (EVALUATION, sorted(hashes.values()), final, plain, opening.plain())
    with ThreadPoolExecutor(4) as threads:
        contents = list(threads.map(_content, candidates))
    return [
        Planned(
            name=candidate.name,
            key=key_of(candidate.name, content, *common),
            text=final,
            order=Order(
                path=str(candidate.path.absolute()),
                shown=str(candidate.path),
                sha256=content,
                opening=opening,
                texts=texts,
                options=plain,
                hashes=hashes,
                version=rnneval.__version__,
                command=tuple(options.command),
            ),
        )
        for candidate, content in zip(candidates, contents, strict=True)
    ]


def _content(candidate: Candidate) -> str:
    try:
        return candidate.sha256
    except OSError as error:
        raise UsageError(f"{candidate.path}: cannot be read: {error.strerror or error}") from error


def _texts(given: Any) -> tuple[str, ...]:
    paths: Iterable[Any] = [given] if isinstance(given, (str, os.PathLike)) else given
    return tuple(str(Path(path).absolute()) for path in paths)


def _final_sha256(texts: Sequence[str], fitted: Sequence[str], options: SweepOptions) -> str:
    """Hash the final text; the text on which baselines are fitted may not overlap it."""
    chosen = TextOptions.of(options)
    whole, scored = sha256(), Sources(texts)
    for piece in final_text(scored, chosen):
        whole.update(piece.text.encode())
    if fitted:
        fit = Sources(fitted)
        options_of_fit = replace(chosen, part=options.fit_part, part_option="--fit-part")
        for _ in final_text(fit, options_of_fit):
            pass
        refuse_overlap(fit.taken(options_of_fit.sliced), scored.taken(chosen.sliced))
    return whole.hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Store:
    """Folder of results."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> "_Store":
        try:
            (folder / RECORDS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordError(f"{folder}: cannot be made: {error.strerror or error}: name a folder") from error
        return cls(folder=folder)

    def finished(self, planned: Planned) -> Row | None:
        """Return the row of a checkpoint if its record is there, complete and of this content, or None."""
        path = self.folder / planned.record
        if not path.is_file():
            return None
        try:
            run = read_run(path)
        except RecordError:
            return None  # of another version, or damaged: the checkpoint is evaluated again
        return _row(planned, run) if run.source.sha256 == planned.order.sha256 else None

    def row(self, planned: Planned, done: Done) -> Row:
        """Write the record that a worker returned, and return the row."""
        answer: Answer = done.value if done.error is None else _of_error(done.error)
        if answer.record is None:
            rule = _RULES.get(answer.kind, answer.kind)
            error = answer.error.removeprefix(f"{planned.order.path}: ")
            return Row(name=planned.name, sha256=planned.order.sha256, error=error, rule=rule)
        run = decode(answer.record, planned.name)
        assert isinstance(run, Run)  # noqa: S101 - what `measure_one` makes
        write(run, self.folder / planned.record)
        return _row(planned, run)


def _row(planned: Planned, run: Run) -> Row:
    return Row(
        name=planned.name,
        sha256=planned.order.sha256,
        run=run,
        record=planned.record,
        rule=None if run.valid else _why_not_valid(run),
        error=run.why_not_valid or None,
    )


def _why_not_valid(run: Run) -> str:
    findings = run.wiring.findings if run.wiring is not None else ()
    rules = [finding.rule for finding in findings if finding.severity == "error"]
    return " ".join(dict.fromkeys(rules)) or "not-finite"


def _of_error(error: BaseException) -> Answer:
    if isinstance(error, WorkerDiedError):
        message = (
            "the worker process died twice while it evaluated this checkpoint: it used more memory than it may "
            "(--memory), or its content crashes a parser"
        )
        return Answer(error=message, kind="worker-died")
    return Answer(error=f"{type(error).__name__}: {error}", kind="unexpected")
