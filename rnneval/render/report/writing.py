"""`rnneval.report`: records, by path or as values, made into a page that is written to a file."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnneval.errors import RecordError, UsageError
from rnneval.evaluate.sweep_table import FILE, OK, Sweep, best_first, read_table
from rnneval.paths import open_regular, record_files, require_apart, write_text
from rnneval.records import Run
from rnneval.render.figures import LOSSES, TidyTable, kind_of, load, source_of
from rnneval.render.phrasing import told_apart
from rnneval.render.report import Given, draw, html_of, page_of
from rnneval.text import InMemory, Paths, text_given

_ENDINGS = (".json", ".parquet")


def report(
    records: Any,
    out: str | os.PathLike[str],
    *,
    title: str | None = None,
    text: Paths | None = None,
    string: str | None = None,
) -> Path:
    """Write one self-contained HTML page of any mix of records, as `rnneval report` does.

    Args:
        records: Records, the results of a sweep, tables (DataFrames), or paths of these and of folders of them: one,
            or a list.
        out: HTML file to write; only a complete one takes its place.
        title: Title of the page; by default the names of the models.
        text: Files that were scored, to show an excerpt of them coloured by surprise; this needs their losses, too.
        string: The text that was scored, in place of files.

    Returns:
        The path of the page.

    Raises:
        UsageError: `out` is not named `.html`, or is one of the records; or it is another text.
        RecordError: a file is no record of rnneval.

    Example:
        >>> from tempfile import mkdtemp
        >>> from rnneval.evaluate.imported import from_losses
        >>> losses = {"token": [1, 2], "nats": [0.5, 0.7], "byte_start": [1, 2], "byte_end": [2, 3]}
        >>> run = from_losses(losses, string="abc", state="carry")
        >>> report(run, Path(mkdtemp(), "report.html")).name
        'report.html'
    """
    place = Path(out)
    if place.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{place}: a page is written to a file with the ending .html")
    several: Sequence[Any] = records if isinstance(records, list | tuple) else [records]
    if not several:
        raise UsageError("no record was given: give one or several")
    paths = [os.fspath(each) for each in several if isinstance(each, str | os.PathLike)]
    require_apart({"out": place}, {"records": record_files(paths), "text": text})
    given = sources(several)
    if text is not None or string is not None:
        if not any(map(has_losses, given)):
            raise UsageError("no record is a table of losses, so no text is needed: see evaluate(losses=FILE)")
        given = with_text(given, text_given(text, string))
    page = page_of(given, title)
    write_text(html_of(page, draw(page, given)), place)
    return place


def sources(several: Sequence[Any], skipped: Callable[[Path], object] = lambda _: None) -> list[Given]:
    """Name the records of a page: those of files by their paths, a run by its model, other values by their kinds.

    `skipped` is told of each file of a folder that is not a record.
    """
    found: list[tuple[str, Any]] = []
    for each in several:
        if isinstance(each, Sweep | str | os.PathLike):
            paths = _records_at(Path(each.out if isinstance(each, Sweep) else each), skipped)
            found += ((str(path), load(path)) for path in paths)
            continue
        source = source_of(each)
        kind = kind_of(source).removeprefix("rnneval.").partition("/")[0]
        found.append((source.title if isinstance(source, Run) else kind, source))
    names = told_apart([name for name, _ in found], [None] * len(found))
    return [Given(name=name, record=record) for name, (_, record) in zip(names, found, strict=True)]


def _records_at(path: Path, skipped: Callable[[Path], object]) -> Iterator[Path]:
    """Yield a record, or all records in a folder; a history is one table.

    Of a sweep, these are its table and the record of its best checkpoint. A folder may hold other JSON (a vocabulary,
    settings), which is skipped. A broken record is not skipped.
    """
    if not path.is_dir() or _is_history(path):
        yield path
        return
    if (path / FILE).is_file():
        yield path / FILE
        yield from (path / row["record"] for row in best_first(read_table(path))[:1] if row["status"] == OK)
        return
    inside = sorted(each for each in path.iterdir() if each.suffix in _ENDINGS or _is_history(each))
    found = [each for each in inside if each.suffix != ".json" or _is_record(each)]
    for each in inside:
        if each not in found:
            skipped(each)
    if not found:
        raise RecordError(f"{path}: no record in this folder: looked for {' and '.join(_ENDINGS)}")
    yield from found


def _is_history(path: Path) -> bool:
    return path.is_dir() and any(path.glob("part-*.parquet"))


def _is_record(path: Path) -> bool:
    """Return whether a file names a schema of rnneval at its beginning, as records do."""
    try:
        with open_regular(path) as file:
            return b'"rnneval.' in file.read(200)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error


def with_text(given: Sequence[Given], text: Paths | InMemory) -> list[Given]:
    """Add the text to tables of losses; the run of the same text says which part of it was scored."""
    parts = {each.record.text.sha256: each.record.text.part for each in given if isinstance(each.record, Run)}
    return [
        replace(each, record=each.record.with_text(text, parts.get(each.record.metadata.get("rnneval.text", ""))))
        if has_losses(each)
        else each
        for each in given
    ]


def has_losses(given: Given) -> bool:
    """Return whether a record is a table of losses, which can be shown beside its text."""
    return isinstance(given.record, TidyTable) and given.record.schema == LOSSES
