"""`rnneval import LOSSES --text TEXT`."""

from dataclasses import replace

import click

from rnneval.cli.options import add_options, command_line, output_options, require_places, unused_seed
from rnneval.options import ImportOptions


@click.command(
    "import",
    epilog="Example: rnneval import losses.parquet --text held_out.txt --state carry --out run.json",
)
@click.argument("losses")
@click.option(
    "--text", multiple=True, required=True, metavar="TEXT", help="UTF-8 text that was scored. May be repeated."
)
@output_options("table", "json")
@add_options(ImportOptions)
@unused_seed
def command(
    *,
    losses: str,
    text: tuple[str, ...],
    form: str,
    out: str | None,
    quiet: bool,
    options: ImportOptions,
) -> int:
    """Make a run record from the LOSSES that another program computed, without its model.

    LOSSES is a .parquet, .csv or .jsonl table with a row for each scored token: token (its place, from 0), byte_start,
    byte_end, nats, and optionally document and id. The spans must tile the text; only the first token of each document
    may have no row. TensorFlow is not needed.
    """
    from rnneval.cli.commands.evaluate import show
    from rnneval.records import write
    from rnneval.records.paths import named

    vocabulary = [*named("--vocab", options.vocabulary), *named("--vocab-from", options.vocabulary_from)]
    require_places(named("--out", out), [*named("LOSSES", losses), *named("--text", text), *vocabulary])
    from rnneval.engine.losses import from_losses

    run = from_losses(losses, text, **vars(replace(options, command=command_line())))
    if form == "json" or not quiet:
        show(run, form)
    if out is not None:
        write(run, out)
    return 0
