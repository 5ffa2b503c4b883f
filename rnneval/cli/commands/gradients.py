"""`rnneval gradients CHECKPOINT TEXT…`."""

import sys

import click

from rnneval.cli.inside_options import InsideChoices, inside_options
from rnneval.cli.options import (
    CheckpointOptions,
    TextChoices,
    checkpoint_options,
    output_options,
    require_places,
    text_options,
)
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.records import encode, write
from rnneval.records.paths import named

EXIT_NOT_VALID = 1


@click.command(
    "gradients",
    epilog="Example: rnneval gradients model.keras text.txt --part 90%: --vocab-from text.txt --truncation 100",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@output_options("table", "json")
@text_options
@checkpoint_options
@click.option(
    "--truncation", default=100, show_default=True, metavar="N", help="Tokens of a segment: give what training used."
)
@click.option("--segments", default=32, show_default=True, metavar="N", help="How many, evenly spread over the text.")
@click.option("--lags", default=200, show_default=True, metavar="N", help="How far back through time to look.")
@click.option("--anchors", default=64, show_default=True, metavar="N", help="For how many tokens.")
@inside_options
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    form: str,
    out: str | None,
    quiet: bool,
    truncation: int,
    segments: int,
    lags: int,
    anchors: int,
    looking: InsideChoices,
    opening: CheckpointOptions,
    reading: TextChoices,
) -> int:
    """Measure gradients of the loss on TEXT: by layer and variable, and back through time.

    Each segment begins with the state that the text before it leaves behind. What the rules find comes as warnings.
    The wiring is looked at first, as evaluate does it: exit code 1 where it leaks.
    """
    require_places(named("--out", out), [*opening.inputs(checkpoint), *named("TEXT", text)])
    how = looking.as_arguments()
    with chatter_held(), progress_bar("reading", quiet=quiet) as progress:
        opening.look(checkpoint)
        from rnneval.engine.diagnostics.gradients import gradients

        record = gradients(
            opening.open(checkpoint),
            text,
            **reading.as_arguments(),
            truncation=truncation,
            segments=segments,
            lags=lags,
            anchors=anchors,
            **how,
            progress=progress,
            command=["rnneval", *sys.argv[1:]],
        )
    if out is not None:
        write(record, out)
    if form == "json":
        click.echo(encode(record), nl=False)
    elif not quiet:
        from rnneval.render.run_document import gradients_document
        from rnneval.render.terminal import print_document

        print_document(gradients_document(record))
    return EXIT_NOT_VALID if any(warning.code == "leak" for warning in record.warnings) else 0
