"""`rnneval evaluate CHECKPOINT TEXT…`."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from rnneval.cli.options import (
    CheckpointOptions,
    MeasureOptions,
    TextChoices,
    checkpoint_options,
    measure_options,
    output_options,
    require,
    require_places,
    text_options,
)
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.records import encode, write
from rnneval.records.paths import named

if TYPE_CHECKING:
    from rnneval.engine.measure import Reader
    from rnneval.records import Run

EXIT_NOT_VALID = 1


@click.command(
    "evaluate",
    epilog="Example: rnneval evaluate model.keras text.txt --part 90%: --vocab-from text.txt --out run.json",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@output_options("table", "json")
@text_options
@checkpoint_options
@measure_options
@click.option("--losses", metavar="FILE.parquet", help="Write one row a scored token.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Read the text in N processes; changes no result."
)
@click.option("--memory", metavar="SIZE", help="What each of them may use: 4GB. [default: an equal share of all]")
@click.option("--scheduler", metavar="ADDRESS", help="Read the text on the workers of this Dask scheduler.")
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    form: str,
    out: str | None,
    quiet: bool,
    losses: str | None,
    jobs: int | None,
    memory: str | None,
    scheduler: str | None,
    strict: bool,
    opening: CheckpointOptions,
    reading: TextChoices,
    measuring: MeasureOptions,
) -> int:
    """Measure a saved model on held-out TEXT: perplexity, bits per character, every token accounted for.

    The state is carried through each document. The number comes with a signature that says what it is.
    """
    inputs = [*opening.inputs(checkpoint), *named("TEXT", text), *named("--fit-on", measuring.fit_on)]
    require_places([*named("--out", out), *named("--losses", losses)], inputs)
    require(jobs is not None or scheduler is not None or memory is None, "--memory is for processes: give --jobs")
    with chatter_held(), progress_bar("evaluating", quiet=quiet) as progress:
        opening.look(checkpoint)
        from rnneval.engine import evaluate

        with _reader(checkpoint, opening, jobs, scheduler, memory) as reader:
            run = evaluate(
                opening.open(checkpoint),
                text,
                **reading.as_arguments(),
                **measuring.as_arguments(),
                losses=losses,
                progress=progress,
                command=["rnneval", *sys.argv[1:]],
                reader=reader,
            )
    if form == "json" or not quiet:
        show(run, form)  # first, so that the figures are not lost where the record cannot be written
    if out is not None:
        write(run, out)
    return _exit_code(run, strict=strict)


def _reader(
    checkpoint: str, opening: CheckpointOptions, jobs: int | None, scheduler: str | None, memory: str | None
) -> "AbstractContextManager[Reader | None]":
    """Who reads the text: nobody else, unless processes are asked for."""
    if jobs is None and scheduler is None:
        return nullcontext(None)
    from rnneval.sweeps.cluster import Workers
    from rnneval.sweeps.distributed import workers_reading
    from rnneval.sweeps.opening import Opening

    workers = Workers(jobs=jobs, scheduler=scheduler, memory=memory)
    return workers_reading(checkpoint, Opening.of(**opening.for_workers()), workers)


def show(run: "Run", form: str) -> None:
    """Print the record as a table or as JSON."""
    if form == "json":
        click.echo(encode(run), nl=False)
        return
    from rnneval.render.run_document import run_document
    from rnneval.render.terminal import print_document

    print_document(run_document(run))


def _exit_code(run: "Run", *, strict: bool) -> int:
    return EXIT_NOT_VALID if not run.valid or (strict and run.warnings) else 0
