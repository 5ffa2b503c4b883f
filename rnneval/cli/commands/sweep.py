"""`rnneval sweep FOLDER TEXT…`."""

from dataclasses import replace
from pathlib import Path

import click

from rnneval.cli import shared
from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.command import Command
from rnneval.cli.terminal import chatter_held, progress_bar, say
from rnneval.options import OpeningGroup, SweepOptions, values_of


@click.command(
    "sweep",
    cls=Command,
    epilog="Example: rnneval sweep training_checkpoints/ text.txt --part 90%: --vocab-from text.txt --out results/",
)
@click.argument("folder")
@click.argument("text", nargs=-1, required=True)
@checkpoint_options
@shared.add_options(SweepOptions)
@shared.output_option(
    "--table",
    metavar="FILE",
    multiple=True,
    help="File to write the table to as well: .json, .csv or .md. May be repeated. [default: none]",
)
@shared.output_options(out=None)
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    folder: str,
    text: tuple[str, ...],
    table: tuple[str, ...],
    output: shared.Output,
    strict: bool,
    options: SweepOptions,
    opening: CheckpointOptions,
) -> int:
    """Evaluate every checkpoint in a FOLDER on held-out TEXT.

    It writes a record of each, and one table. Checkpoints that were finished before are not evaluated again. A file
    that cannot be evaluated is a row that says why.
    """
    shared.require(opening.expect_sha256 is None, "--expect-sha256 is for one checkpoint: see rnneval evaluate")
    shared.require_places({"--table": table}, {**opening.inputs(None), "TEXT": text, "FOLDER": folder})
    shared.require_ending("--table", table, *shared.ENDINGS)
    message = (
        f"--out {options.out}: is a folder for all records: give a folder, and --table {options.out} for the table"
    )
    shared.require(Path(options.out).suffix.lower() not in (*shared.ENDINGS, ".parquet"), message)
    with chatter_held(), progress_bar("sweeping", quiet=output.quiet, unit="checkpoints") as progress:
        from rnneval.sweeps.many import sweep

        plain = values_of(OpeningGroup, opening)
        options = replace(options, opening=plain, progress=progress, command=shared.command_line())
        result = sweep(folder, text, **vars(options))
    from rnneval.records import json_text
    from rnneval.render.run_document import sweep_document

    rows = [{name: value for name, value in row.columns().items() if value is not None} for row in result.rows]
    replace(output, out=table).print_and_write(result, json_text(rows), lambda: sweep_document(result))
    for row in result.failed if output.quiet else ():
        say(f"rnneval: {row.name}: {row.status}: {row.error}")
    return int(bool(result.failed or (strict and result.warned)))
