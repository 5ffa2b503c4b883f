"""`rnneval compare RECORD RECORD…`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rnneval.cli.command import from_function
from rnneval.cli.output import RESULT, FilesOutput, require
from rnneval.option import Options, option


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """Options of `rnneval compare`."""

    metric: str | None = option(None, metavar="METRIC", unset="perplexity; between different tokens, bits_per_char")
    """Metric to sort by."""
    blocks: int = option(20, metavar="N", least=0)
    """Number of blocks to list in which the last record differs most from the first."""
    text: tuple[str, ...] = option((), metavar="TEXT", repeated=True)
    """Text that was scored, to show those blocks in."""


@from_function(
    "base.json new.json --text text.txt",
    texts={
        "out": "File to write the comparison to as well: .json, .csv (a row for each run) or .md.",
        "quiet": "Print no table.",
    },
)
def command(
    *, records: Annotated[tuple[str, ...], "RECORD RECORD..."], options: CompareOptions, output: FilesOutput
) -> int:
    """Sort runs by a metric, with paired differences to the best.

    Runs that are not valid, not finite or diverged come last, without a score. It also lists the blocks of the text in
    which the last other run gains and loses most against the first. The folder of a sweep stands for all its records.
    """
    from rnneval.gates.ranking import compare
    from rnneval.gates.sides import NamedRecord
    from rnneval.records import read_run
    from rnneval.render.gate_document import ranking_document

    for path in records:
        table = Path(path).suffix.lower() in (".parquet", ".csv")
        require(not table, f"{path}: is a table of losses: rnneval import makes a run record of it, which compares")
    runs = _runs(records)
    output.require({"RECORD": [*records, *(path for _, path in runs)], "--text": options.text}, RESULT)
    named = [NamedRecord(name=name, record=read_run(path)) for name, path in runs]
    ranking = compare(named, metric=options.metric, blocks=options.blocks, text=options.text or None)
    output.deliver(ranking, ranking_document)
    return 0


def _runs(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and paths of records; the folder of a sweep stands for all, each called by its checkpoint's path."""
    folders = [path for path in paths if Path(path).is_dir()]
    found: list[tuple[str, str]] = []
    for path in paths:
        if path not in folders:
            found.append((path, path))
            continue
        from rnneval.evaluate.sweep_table import records_of

        inside = "" if len(folders) == 1 else f"{path.rstrip('/')}/"
        found += [(inside + name, str(record)) for name, record in records_of(path).items()]
    return found
