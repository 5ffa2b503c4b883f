"""`rnneval report RECORD…`."""

from pathlib import Path
from typing import Annotated

import click

from rnneval.cli.command import from_function
from rnneval.cli.output import Printed, require, say, tell
from rnneval.option import Options, option


class ReportOptions(Options):
    """Options of `rnneval report`."""

    out: str | None = option(
        None, metavar="FILE", endings=(".html", ".htm"), unset="required, but with --format json", heading="Output"
    )
    """HTML file to write the page to; only a complete one takes its place."""
    text: tuple[str, ...] = option((), metavar="TEXT", path=True, repeated=True)
    """Text that the losses are of, to show an excerpt coloured by surprise."""
    title: str | None = option(None, metavar="TEXT", unset="the model's name")
    """Title of the page."""


@from_function("run.json wiring.json gate.json --out report.html")
def command(*, records: Annotated[tuple[str, ...], "RECORD..."], options: ReportOptions, output: Printed) -> int:
    """Make one self-contained HTML page of any mix of records.

    RECORD is a JSON record of another command (run, wiring, gate, compare, gradients, open), a Parquet table (trace,
    losses, a history), the folder of a sweep, or a folder of records. The page loads nothing and runs nothing.
    """
    import msgspec

    from rnneval.records import json_text, write_text

    out = options.out
    message = "--out FILE.html says where the page goes; --format json needs none"
    require(out is not None or output.form == "json", message)
    from rnneval.render.phrasing import counted, visible
    from rnneval.render.report import draw, has_losses, html_of, page_of, sources, with_text

    not_ours = "skipped: it does not say that it is a record of rnneval"
    given = sources(records, lambda path: say(f"rnneval: {path}: {not_ours}"))
    if options.text:
        if not any(map(has_losses, given)):
            say("rnneval: --text is not needed: none of these records is a table of losses (evaluate --losses)")
        given = with_text(given, options.text)
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
