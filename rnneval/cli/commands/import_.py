"""`rnneval import LOSSES --text TEXT`."""

from dataclasses import replace

import click

from rnneval.cli import shared
from rnneval.cli.command import Command
from rnneval.options import ImportOptions


@click.command(
    "import",
    cls=Command,
    epilog="Example: rnneval import losses.parquet --text held_out.txt --state carry --out run.json",
)
@click.argument("losses")
@click.option(
    "--text", multiple=True, required=True, metavar="TEXT", help="UTF-8 text that was scored. May be repeated."
)
@shared.add_options(ImportOptions)
@shared.output_options(
    out="File to write the record to as well: .json is the record, .csv the scores, .md Markdown.", repeated=True
)
@shared.unused_seed
def command(*, losses: str, text: tuple[str, ...], output: shared.Output, options: ImportOptions) -> int:
    """Make a run record from the LOSSES of another program.

    Its model is not needed. LOSSES is a .parquet, .csv or .jsonl table with a row for each scored token: token (its
    place, from 0), byte_start, byte_end, nats, and optionally document and id. The spans must tile the text; only the
    first token of each document may have no row. TensorFlow is not needed.
    """
    from rnneval.records import encode

    vocabulary = {"--vocab": options.vocabulary, "--vocab-from": options.vocabulary_from}
    read = {"LOSSES": losses, "--text": text, "--fit-on": options.fit_on, **vocabulary}
    output.require(read, *shared.ENDINGS)
    from rnneval.engine.losses import from_losses

    run = from_losses(losses, text, **vars(replace(options, command=shared.command_line())))
    from rnneval.render.run_document import run_document

    output.print_and_write(run, encode(run), lambda: run_document(run))
    return 0
