"""`rnneval import LOSSES --text TEXT`."""

from dataclasses import replace

from rnneval.cli.command import from_function
from rnneval.cli.output import RunOutput, command_line
from rnneval.option import option
from rnneval.options import ImportOptions


class ScoredOptions(ImportOptions):
    """Options of `rnneval import`."""

    text: tuple[str, ...] = option(metavar="TEXT", path=True, repeated=True, heading="Text")
    """UTF-8 text that was scored."""


@from_function("losses.parquet --text held_out.txt --state carry --out run.json")
def command(*, losses: str, options: ScoredOptions, output: RunOutput) -> int:
    """Make a run record from the LOSSES of another program.

    Its model is not needed. LOSSES is a .parquet or .csv table with a row for each scored token: token (its
    place, from 0), byte_start, byte_end, nats, and optionally document and id. The spans must tile the text; only the
    first token of each document may have no row. TensorFlow is not needed.
    """
    from rnneval.evaluate.imported import from_losses

    run = from_losses(losses, **vars(replace(options, command=command_line())))
    from rnneval.render.run_document import run_document

    output.deliver(run, run_document)
    return 0
