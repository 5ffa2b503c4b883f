"""`rnneval evaluate CHECKPOINT TEXT…`."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.options import add_options, command_line, output_options, require, require_places
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.options import EvaluateOptions, OpeningGroup, WorkerGroup, values_of

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
@add_options(EvaluateOptions)
@checkpoint_options
@add_options(WorkerGroup, "workers")
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    form: str,
    out: str | None,
    quiet: bool,
    strict: bool,
    options: EvaluateOptions,
    opening: CheckpointOptions,
    workers: WorkerGroup,
) -> int:
    """Measure a saved model on held-out TEXT: perplexity, bits per character, every token accounted for.

    The state is carried through each document. The record holds a signature that says how the score was computed.
    With --jobs or --scheduler, several processes read the text; this changes no result.
    """
    from rnneval.records import write
    from rnneval.records.paths import named

    inputs = [*opening.inputs(checkpoint), *named("TEXT", text), *named("--fit-on", options.fit_on)]
    require_places([*named("--out", out), *named("--losses", options.losses)], inputs)
    spread = workers.jobs is not None or workers.scheduler is not None
    require(spread or workers.memory is None, "--memory is for processes: give --jobs")
    with chatter_held(), progress_bar("evaluating", quiet=quiet) as progress:
        opening.preflight(checkpoint)
        from rnneval.engine.evaluate import evaluate

        options = replace(options, progress=progress, command=command_line())
        with _reader(checkpoint, opening, workers) if spread else nullcontext(None) as reader:
            run = evaluate(
                opening.open_to_read(checkpoint, kernel=options.kernel), text, **vars(options), reader=reader
            )
    if form == "json" or not quiet:
        show(run, form)  # first, so that the scores are not lost if the record cannot be written
    if out is not None:
        write(run, out)
    return EXIT_NOT_VALID if not run.valid or (strict and run.warnings) else 0


def _reader(checkpoint: str, opening: CheckpointOptions, workers: WorkerGroup) -> "AbstractContextManager[Reader]":
    """Return a reader of the text that works in several processes."""
    from rnneval.sweeps.cluster import Workers
    from rnneval.sweeps.distributed import workers_reading
    from rnneval.sweeps.opening import Opening

    plain = Opening(**values_of(OpeningGroup, opening))
    return workers_reading(checkpoint, plain, Workers(**vars(workers)))


def show(run: "Run", form: str) -> None:
    """Print the record as a table or as JSON."""
    if form == "json":
        from rnneval.records import encode

        click.echo(encode(run), nl=False)
        return
    from rnneval.render.run_document import run_document
    from rnneval.render.terminal import print_document

    print_document(run_document(run))
