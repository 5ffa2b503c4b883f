"""`rnneval trace CHECKPOINT TEXT…`."""

import sys

import click

from rnneval.cli.options import (
    CheckpointOptions,
    TextChoices,
    checkpoint_options,
    require,
    text_options,
)
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.recordfile import encode, write


@click.command(
    "trace",
    epilog="Example: rnneval trace model.keras text.txt --part 90%: --vocab-from text.txt --out trace.parquet",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Of what is printed.",
)
@click.option("--out", metavar="FILE.parquet", help="Write every slot and gate at the stride there, tidy.")
@click.option("--record", metavar="RUN.json", help="Write the run record there.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no table.")
@text_options
@checkpoint_options
@click.option(
    "--stride", type=click.IntRange(min=1), metavar="N", help="Tokens from one line to the next. [default: 16]"
)
@click.option("--context", is_flag=True, help="Loss as a function of the length of context.")
@click.option("--lyapunov", is_flag=True, help="Largest Lyapunov exponent of each layer and of the stack.")
@click.option(
    "--truncation", type=click.IntRange(min=1), metavar="N", help="Tokens of a training segment, if you know."
)
@click.option("--threshold", multiple=True, metavar="RULE=VALUE", help="Another threshold of a finding; see explain.")
@click.option("--streams", default="auto", show_default=True, metavar="N|auto", help="Rows side by side.")
@click.option("--tolerance", default=1e-5, show_default=True, help="When two states count as equal.")
@click.option("--seed", default=0, show_default=True, help="Which row is audited, and where anchors are.")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    form: str,
    out: str | None,
    record: str | None,
    quiet: bool,
    stride: int | None,
    context: bool,
    lyapunov: bool,
    truncation: int | None,
    threshold: tuple[str, ...],
    streams: str,
    tolerance: float,
    seed: int,
    opening: CheckpointOptions,
    reading: TextChoices,
) -> int:
    """Look at the state of every layer of a saved model along TEXT: norms, saturation, gates, memory.

    The state is carried through each document, exactly. What the rules find comes as warnings.
    """
    thresholds = parse_thresholds(threshold)
    with chatter_held(), progress_bar("tracing", quiet=quiet) as progress:
        opening.look(checkpoint)
        from rnneval.engine.inside.trace import trace

        run = trace(
            opening.open(checkpoint),
            text,
            **reading.as_arguments(),
            out=out,
            stride=stride,
            context=context,
            lyapunov=lyapunov,
            truncation=truncation,
            thresholds=thresholds,
            streams=int(streams) if streams.isdecimal() else streams,
            tolerance=tolerance,
            seed=seed,
            progress=progress,
            command=["rnneval", *sys.argv[1:]],
        )
    if record is not None:
        write(run, record)
    if form == "json":
        click.echo(encode(run), nl=False)
    elif not quiet:
        from rnneval.render.inside_table import print_trace

        print_trace(run)
    return 0


def parse_thresholds(given: tuple[str, ...]) -> dict[str, float]:
    """Read `RULE=VALUE`.

    Raises:
        UsageError: not of this form, or not a number.
    """
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            require(False, f"--threshold {item!r}: give RULE=NUMBER, such as dead-units=0.1")
        require(equals, f"--threshold {item!r}: give RULE=NUMBER, such as dead-units=0.1")
    return found
