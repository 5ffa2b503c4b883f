"""`rnneval report RECORD…`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from rnneval.cli.command import from_function
from rnneval.cli.output import Printed, require, require_ending, require_places
from rnneval.cli.terminal import say, tell
from rnneval.errors import RecordError
from rnneval.option import Options, option

if TYPE_CHECKING:
    from rnneval.render.report import Given

_ENDINGS = (".json", ".parquet")


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """Options of `rnneval report`."""

    out: str | None = option(None, metavar="FILE", unset="required, but with --format json", heading="Output")
    """HTML file to write the page to; only a complete one takes its place."""
    text: tuple[str, ...] = option((), metavar="TEXT", repeated=True)
    """Text that the losses are of, to show an excerpt coloured by surprise."""
    title: str | None = option(None, metavar="TEXT", unset="the model's name")
    """Title of the page."""


@from_function(
    "run.json wiring.json gate.json --out report.html",
    texts={
        "form": "Format of what is printed; json is the content of the page, as values.",
        "quiet": "Print nothing.",
    },
)
def command(*, records: Annotated[tuple[str, ...], "RECORD..."], options: ReportOptions, output: Printed) -> int:
    """Make one self-contained HTML page of any mix of records.

    RECORD is a JSON record of another command (run, wiring, gate, compare, gradients, open), a Parquet table (trace,
    losses, a history), the folder of a sweep, or a folder of records. The page loads nothing and runs nothing.
    """
    import msgspec

    from rnneval.paths import record_files
    from rnneval.records import json_text, write_text

    out = options.out
    message = "--out FILE.html says where the page goes; --format json needs none"
    require(out is not None or output.form == "json", message)
    require_places({"--out": out}, {"RECORD": record_files(records), "--text": options.text})
    require_ending("--out", out, ".html", ".htm")
    from rnneval.render.phrasing import counted, visible
    from rnneval.render.report import draw, html_of, page_of

    given = [each for record in records for each in _given(Path(record))]
    if options.text:
        given = _with_text(given, options.text)
    page = page_of(given, options.title)
    if out is not None:
        write_text(html_of(page, draw(page, given)), out)
    if output.form == "json":
        click.echo(json_text(msgspec.to_builtins(page)), nl=False)
    elif not output.quiet:
        place = Path(str(out))
        size = f"{place.stat().st_size / 1e3:,.0f} kB" if place.is_file() else "written"
        tell(f"{visible(page.claims[0].sentence)}\n{visible(str(out))}: {counted(len(page.records), 'record')}, {size}")
    return 0


def _given(path: Path) -> "Iterator[Given]":
    """Read a record, or all records in a folder; a history is one table.

    Of a sweep, its table and the record of its best checkpoint are read. Other JSON in a folder is skipped and named.
    """
    if not path.is_dir() or _is_history(path):
        yield _read(path)
        return
    from rnneval.evaluate.sweep_table import FILE, OK, best_first, read_table

    if (path / FILE).is_file():
        yield _read(path / FILE)
        best = best_first(read_table(path))[:1]
        yield from (_read(path / row["record"]) for row in best if row["status"] == OK)
        return
    inside = sorted(each for each in path.iterdir() if each.suffix in _ENDINGS or _is_history(each))
    found = [each for each in inside if each.suffix != ".json" or _is_record(each)]
    for each in inside:
        if each not in found:
            say(f"rnneval: {each}: skipped: it does not say that it is a record of rnneval")
    if not found:
        raise RecordError(f"{path}: no record in this folder: looked for {' and '.join(_ENDINGS)}")
    yield from map(_read, found)


def _is_history(path: Path) -> bool:
    return path.is_dir() and any(path.glob("part-*.parquet"))


def _is_record(path: Path) -> bool:
    """Return whether a file names a schema of rnneval at its beginning, as records do."""
    from rnneval.paths import open_regular

    try:
        with open_regular(path) as file:
            return b'"rnneval.' in file.read(200)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(path: Path) -> "Given":
    from rnneval.render.figures import load
    from rnneval.render.report import Given

    return Given(name=str(path), record=load(path))


def _with_text(given: "list[Given]", text: tuple[str, ...]) -> "list[Given]":
    """Add the text to tables of losses; the run of the same text says which part of it was scored."""
    from rnneval.records import Run
    from rnneval.render.figures import LOSSES, TidyTable
    from rnneval.render.report import Given
    from rnneval.text import scored_text

    parts = {each.record.text.sha256: each.record.text.part for each in given if isinstance(each.record, Run)}
    losses = [each for each in given if isinstance(each.record, TidyTable) and each.record.schema == LOSSES]
    if not losses:
        say("rnneval: --text is not needed: none of these records is a table of losses (evaluate --losses)")
    found = {}
    for each in losses:
        sha256 = each.record.metadata.get("rnneval.text")
        scored = scored_text(text, sha256, parts.get(sha256 or ""))
        found[each.name] = Given(name=each.name, record=replace(each.record, text=scored))
    return [found.get(each.name, each) for each in given]
