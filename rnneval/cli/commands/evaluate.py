"""`rnneval evaluate CHECKPOINT TEXT…`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rnneval.cli import shared
from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.command import Command
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.options import EvaluateOptions, OpeningGroup, WorkerGroup, values_of

if TYPE_CHECKING:
    from rnneval.engine.measure import Reader


@click.command(
    "evaluate",
    cls=Command,
    epilog="Example: rnneval evaluate model.keras text.txt --part 90%: --vocab-from text.txt --out run.json",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@checkpoint_options
@shared.add_options(EvaluateOptions)
@shared.add_options(WorkerGroup, "workers")
@shared.output_options(
    out="File to write the record to as well: .json is the record, .csv the scores, .md Markdown.", repeated=True
)
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    output: shared.Output,
    strict: bool,
    options: EvaluateOptions,
    opening: CheckpointOptions,
    workers: WorkerGroup,
) -> int:
    """Measure perplexity and bits per character on held-out TEXT.

    Every token is accounted for. The state is carried through each document. The record holds a signature that says how
    the score was computed. With --jobs or --scheduler, several processes read the text; this changes no result.
    """
    from rnneval.records import encode

    inputs = {**opening.inputs(checkpoint), "TEXT": text, "--fit-on": options.fit_on}
    shared.require_places({"--out": output.out, "--losses": options.losses}, inputs)
    shared.require_ending("--out", output.out, *shared.ENDINGS)
    shared.require_ending("--losses", options.losses, ".parquet")
    shared.require(workers.jobs is not None or workers.memory is None, "--memory is for processes: give --jobs")
    with chatter_held(), progress_bar("evaluating", quiet=output.quiet) as progress:
        opening.preflight(checkpoint)
        opening.preflight_text(text, options)
        from rnneval.engine.evaluate import evaluate

        options = replace(options, progress=progress, command=shared.command_line())
        with _reader(checkpoint, opening, workers) as reader:
            run = evaluate(
                opening.open_to_read(checkpoint, kernel=options.kernel), text, **vars(options), reader=reader
            )
    from rnneval.render.run_document import run_document

    output.print_and_write(run, encode(run), lambda: run_document(run))
    return shared.exit_of(run, strict=strict)


@contextmanager
def _reader(checkpoint: str, opening: CheckpointOptions, workers: WorkerGroup) -> Iterator["Reader | None"]:
    """Return a reader of the text on workers; None if none are asked for."""
    if workers.jobs is None and workers.scheduler is None:
        yield None
        return
    from rnneval.engine.chunks import reader_over
    from rnneval.engine.executor import connected
    from rnneval.engine.reopening import Opening

    with connected(workers, tasks=workers.jobs or 1) as pool:
        yield reader_over(pool, checkpoint, Opening(**values_of(OpeningGroup, opening)))
