"""`rnneval compare RECORD RECORD…`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rnneval.cli.command import from_function
from rnneval.cli.output import TableOutput, require
from rnneval.option import Options, option

if TYPE_CHECKING:
    from rnneval.gates.sides import NamedRecord


class CompareOptions(Options):
    """Options of `rnneval compare`."""

    metric: str | None = option(None, metavar="METRIC", unset="perplexity; between different tokens, bits_per_char")
    """Metric to sort by."""
    blocks: int = option(20, metavar="N", least=0)
    """Number of blocks to list in which the last record differs most from the first."""
    text: tuple[str, ...] = option((), metavar="TEXT", path=True, repeated=True)
    """Text that was scored, to show those blocks in."""


@from_function("base.json new.json --text text.txt")
def command(
    *, records: Annotated[tuple[str, ...], "RECORD RECORD..."], options: CompareOptions, output: TableOutput
) -> int:
    """Sort runs by a metric, with paired differences to the best.

    Runs that are not valid, not finite or diverged come last, without a score. It also lists the blocks of the text in
    which the last other run gains and loses most against the first. The folder of a sweep stands for all its records.
    """
    from rnneval.gates.ranking import compare
    from rnneval.render.gate_document import ranking_document

    runs = list(_runs(records))
    ranking = compare(runs, metric=options.metric, blocks=options.blocks, text=options.text or None)
    output.deliver(ranking, ranking_document)
    return 0


def _runs(paths: Sequence[str]) -> "Iterator[NamedRecord]":
    """Yield the runs; the folder of a sweep stands for all of its own, each called by its checkpoint's path."""
    from rnneval.gates.sides import NamedRecord
    from rnneval.records import read_run

    folders = [path for path in paths if Path(path).is_dir()]
    for path in paths:
        if path in folders:
            from rnneval.evaluate.sweep_table import records_of

            inside = "" if len(folders) == 1 else f"{path.rstrip('/')}/"
            yield from (NamedRecord(name=inside + name, record=read_run(at)) for name, at in records_of(path).items())
            continue
        table = Path(path).suffix.lower() in (".parquet", ".csv")
        require(not table, f"{path}: is a table of losses: rnneval import makes a run record of it, which compares")
        yield NamedRecord(name=path, record=read_run(path))
