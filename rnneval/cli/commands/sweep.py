"""`rnneval sweep FOLDER TEXT…`."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.options import add_options, command_line, format_option, quiet_option, require
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.options import OpeningGroup, SweepOptions, values_of

if TYPE_CHECKING:
    from rnneval.sweeps.many import Sweep

EXIT_FAILED = 1


@click.command(
    "sweep",
    epilog="Example: rnneval sweep training_checkpoints/ text.txt --part 90%: --vocab-from text.txt --out results/",
)
@click.argument("folder")
@click.argument("text", nargs=-1, required=True)
@format_option("table", "json")
@quiet_option()
@add_options(SweepOptions)
@checkpoint_options
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    folder: str,
    text: tuple[str, ...],
    form: str,
    quiet: bool,
    strict: bool,
    options: SweepOptions,
    opening: CheckpointOptions,
) -> int:
    """Measure every checkpoint of a FOLDER on held-out TEXT: a record each, and one table.

    Checkpoints that were finished before are not evaluated again. A file that cannot be evaluated is a row that says
    why.
    """
    require(opening.expect_sha256 is None, "--expect-sha256 is for one checkpoint: see rnneval evaluate")
    with chatter_held(), progress_bar("sweeping", quiet=quiet, unit="checkpoints") as progress:
        from rnneval.sweeps.many import sweep

        plain = values_of(OpeningGroup, opening)
        options = replace(options, opening=plain, progress=progress, command=command_line())
        result = sweep(folder, text, **vars(options))
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
