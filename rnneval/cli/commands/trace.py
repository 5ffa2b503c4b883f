"""`rnneval trace CHECKPOINT TEXT…`."""

import sys

import click

from rnneval.cli.inside_options import InsideChoices, inside_options
from rnneval.cli.options import (
    CheckpointOptions,
    TextChoices,
    checkpoint_options,
    format_option,
    require_places,
    text_options,
)
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.records import encode, write
from rnneval.records.paths import named

EXIT_NOT_VALID = 1


@click.command(
    "trace",
    epilog="Example: rnneval trace model.keras text.txt --part 90%: --vocab-from text.txt --out trace.parquet",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@format_option("table", "json")
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
@inside_options
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
    looking: InsideChoices,
    opening: CheckpointOptions,
    reading: TextChoices,
) -> int:
    """Look at the state of every layer of a saved model along TEXT: norms, saturation, gates, memory.

    The state is carried through each document, exactly. What the rules find comes as warnings. The wiring is looked at
    first, as evaluate does it: exit code 1 where it leaks.
    """
    outputs = [*named("--out", out), *named("--record", record)]
    require_places(outputs, [*opening.inputs(checkpoint), *named("TEXT", text)])
    how = looking.as_arguments()
    with chatter_held(), progress_bar("tracing", quiet=quiet) as progress:
        opening.look(checkpoint)
        from rnneval.engine.diagnostics.trace import trace

        run = trace(
            opening.open(checkpoint),
            text,
            **reading.as_arguments(),
            out=out,
            stride=stride,
            context=context,
            lyapunov=lyapunov,
            truncation=truncation,
            **how,
            progress=progress,
            command=["rnneval", *sys.argv[1:]],
        )
    if record is not None:
        write(run, record)
    if form == "json":
        click.echo(encode(run), nl=False)
    elif not quiet:
        from rnneval.render.run_document import trace_document
        from rnneval.render.terminal import print_document

        print_document(trace_document(run))
    return 0 if run.valid else EXIT_NOT_VALID
