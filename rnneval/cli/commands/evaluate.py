"""`rnneval evaluate CHECKPOINT TEXT…`."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rnneval.cli.checkpoint import opened_by_any, reading
from rnneval.cli.command import from_function
from rnneval.cli.output import RunOutput, StrictGroup, require
from rnneval.options import EvaluateOptions, OpenOptions, WorkerGroup

if TYPE_CHECKING:
    from rnneval.evaluate.rows import TextReader


@from_function("model.keras text.txt --part 90%: --vocab-from text.txt --out run.json")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    opening: OpenOptions,
    options: EvaluateOptions,
    workers: WorkerGroup,
    output: RunOutput,
    warnings: StrictGroup,
) -> int:
    """Measure perplexity and bits per character on held-out TEXT.

    Every token is accounted for. The state is carried through each document. The record holds a signature that says how
    the score was computed. With --jobs or --scheduler, several processes read the text; this changes no result.
    """
    spread = workers.jobs is not None or workers.scheduler is not None
    require(spread or workers.memory is None, "--memory is for processes: give --jobs")
    with reading(options, "evaluating", quiet=output.quiet) as run_options:
        from rnneval.evaluate.run import evaluate

        with _reader(checkpoint, opening, workers) if spread else nullcontext(None) as reader:
            lm = opened_by_any(checkpoint, opening)
            run = evaluate(lm, text, **vars(run_options), reader=reader)
    from rnneval.render.run_document import run_document

    output.deliver(run, run_document)
    return int(not run.valid or (warnings.strict and bool(run.warnings)))


@contextmanager
def _reader(checkpoint: str, opening: OpenOptions, workers: WorkerGroup) -> Iterator["TextReader"]:
    from rnneval.evaluate.chunks import reader_over
    from rnneval.evaluate.executor import connected

    with connected(workers, tasks=workers.jobs or 1) as pool:
        yield reader_over(pool, checkpoint, opening)
