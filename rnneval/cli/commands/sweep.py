"""`rnneval sweep FOLDER TEXT…`."""

import sys
from typing import TYPE_CHECKING

import click

from rnneval.cli.options import (
    CheckpointOptions,
    MeasureOptions,
    TextChoices,
    checkpoint_options,
    format_option,
    measure_options,
    require,
    text_options,
)
from rnneval.cli.terminal import chatter_held, progress_bar

if TYPE_CHECKING:
    from rnneval.sweeps.many import Sweep

EXIT_FAILED = 1


@click.command(
    "sweep",
    epilog="Example: rnneval sweep training_checkpoints/ text.txt --part 90%: --vocab-from text.txt --out results/",
)
@click.argument("folder")
@click.argument("text", nargs=-1, required=True)
@click.option("--out", required=True, metavar="FOLDER", help="Where the table and the records go; made if need be.")
@format_option("table", "json")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no table.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Worker processes on this machine. [default: one a core]"
)
@click.option("--memory", metavar="SIZE", help="What each of them may use: 4GB. [default: an equal share of all]")
@click.option("--scheduler", metavar="ADDRESS", help="Use the workers of this Dask scheduler instead.")
@text_options
@checkpoint_options
@measure_options
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    folder: str,
    text: tuple[str, ...],
    out: str,
    form: str,
    quiet: bool,
    jobs: int | None,
    memory: str | None,
    scheduler: str | None,
    strict: bool,
    opening: CheckpointOptions,
    reading: TextChoices,
    measuring: MeasureOptions,
) -> int:
    """Measure every checkpoint of a FOLDER on held-out TEXT: a record each, and one table.

    What was finished before is not done again. A file that cannot be measured is a row that says why.
    """
    require(opening.expect_sha256 is None, "--expect-sha256 is for one checkpoint: see rnneval evaluate")
    with chatter_held(), progress_bar("sweeping", quiet=quiet, unit="checkpoints") as progress:
        from rnneval.sweeps.many import sweep

        result = sweep(
            folder,
            text,
            out=out,
            jobs=jobs,
            scheduler=scheduler,
            memory=memory,
            opening=opening.for_workers(),
            progress=progress,
            command=["rnneval", *sys.argv[1:]],
            **reading.as_arguments(),
            **measuring.as_arguments(),
        )
    if form == "json" or not quiet:
        _show(result, form)
    return EXIT_FAILED if result.failed or (strict and result.warned) else 0


def _show(result: "Sweep", form: str) -> None:
    """Print the rows as a table or as JSON."""
    if form == "json":
        from rnneval.records import json_text

        rows = [{name: value for name, value in row.columns().items() if value is not None} for row in result.rows]
        click.echo(json_text(rows), nl=False)
        return
    from rnneval.render.sweep_document import sweep_document
    from rnneval.render.terminal import print_document

    print_document(sweep_document(result))
