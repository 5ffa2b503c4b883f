"""`rnneval gradients CHECKPOINT TEXT…`."""

import sys

import click

from rnneval.cli.commands.trace import parse_thresholds
from rnneval.cli.options import CheckpointOptions, TextChoices, checkpoint_options, output_options, text_options
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.recordfile import encode, write


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
@click.option("--threshold", multiple=True, metavar="RULE=VALUE", help="Another threshold of a finding; see explain.")
@click.option("--streams", default="auto", show_default=True, metavar="N|auto", help="Rows side by side.")
@click.option("--tolerance", default=1e-5, show_default=True, help="When two states count as equal.")
@click.option("--seed", default=0, show_default=True, help="Where segments and anchors are.")
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
    threshold: tuple[str, ...],
    streams: str,
    tolerance: float,
    seed: int,
    opening: CheckpointOptions,
    reading: TextChoices,
) -> int:
    """Measure gradients of the loss on TEXT: by layer and variable, and back through time.

    Each segment begins with the state that the text before it leaves behind. What the rules find comes as warnings.
    """
    thresholds = parse_thresholds(threshold)
    with chatter_held(), progress_bar("reading", quiet=quiet) as progress:
        opening.look(checkpoint)
        from rnneval.engine.inside.gradients import gradients

        record = gradients(
            opening.open(checkpoint),
            text,
            **reading.as_arguments(),
            truncation=truncation,
            segments=segments,
            lags=lags,
            anchors=anchors,
            thresholds=thresholds,
            streams=int(streams) if streams.isdecimal() else streams,
            tolerance=tolerance,
            seed=seed,
            progress=progress,
            command=["rnneval", *sys.argv[1:]],
        )
    if out is not None:
        write(record, out)
    if form == "json":
        click.echo(encode(record), nl=False)
    elif not quiet:
        from rnneval.render.inside_table import print_gradients

        print_gradients(record)
    return 0
