"""`rnneval compare RECORD RECORD…`."""

from collections.abc import Sequence
from pathlib import Path

import click

from rnneval.cli import shared
from rnneval.cli.command import Command


@click.command("compare", cls=Command, epilog="Example: rnneval compare base.json new.json --text text.txt")
@click.argument("records", nargs=-1, required=True, metavar="RECORD RECORD...")
@click.option(
    "--metric",
    metavar="METRIC",
    help="Metric to sort by. [default: perplexity; between different tokens, bits_per_char]",
)
@click.option(
    "--blocks",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Number of blocks to list in which the last record differs most from the first.",
)
@click.option(
    "--within",
    type=float,
    metavar="NATS",
    help="Difference of a token up to which two tables of losses count as equal. [default: 1e-4]",
)
@shared.repeated_option("--text", "TEXT", "Text that was scored, to show those blocks in.")
@shared.output_options(
    out="File to write the comparison to as well: .json, .csv (a row for each run) or .md.",
    repeated=True,
    quiet="Print no table.",
)
def command(
    *,
    records: tuple[str, ...],
    metric: str | None,
    blocks: int,
    within: float | None,
    text: tuple[str, ...],
    output: shared.Output,
) -> int:
    """Sort runs by a metric, with paired differences to the best.

    Runs that are not valid, not finite or diverged come last, without a score. It also lists the blocks of the text in
    which the last other run gains and loses most against the first. The folder of a sweep stands for all its records.

    Two tables of losses (evaluate --losses) are compared token by token: the largest difference, and the first place
    where they differ by more than --within.
    """
    import msgspec

    from rnneval.gates.ranking import rank
    from rnneval.gates.sides import Named
    from rnneval.gates.token_losses import WITHIN, compare_losses
    from rnneval.records import json_text, read_run
    from rnneval.records.losses import ENDINGS as TABLES
    from rnneval.render.gate_document import losses_document, ranking_document

    tables = [path for path in records if Path(path).suffix.lower() in TABLES]
    if tables:
        seen = f"{len(tables)} of the {len(records)} files given are tables of losses"
        shared.require(len(records) == len(tables) == 2, f"{seen}: give two of them and nothing else, or run records")
        shared.require(metric is None, "--metric is for run records: tables of losses have no metrics")
    else:
        shared.require(within is None, "--within is for two tables of losses: give two files of evaluate --losses")
    runs = [] if tables else _runs(records)
    output.require({"RECORD": [*records, *(path for _, path in runs)], "--text": text}, *shared.ENDINGS)
    scored = _scored_text(text, runs[-1][1] if runs else None) if text else None
    if tables:
        losses = compare_losses(*records, within=WITHIN if within is None else within, text=scored)
        output.print_and_write(losses, json_text(msgspec.to_builtins(losses)), lambda: losses_document(losses))
    else:
        named_runs = [Named(name=name, record=read_run(path)) for name, path in runs]
        ranking = rank(named_runs, metric=metric, blocks=blocks, text=scored)
        output.print_and_write(ranking, json_text(msgspec.to_builtins(ranking)), lambda: ranking_document(ranking))
    return 0


def _runs(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and paths of records; the folder of a sweep stands for all, each called by its checkpoint's path."""
    folders = [path for path in paths if Path(path).is_dir()]
    found: list[tuple[str, str]] = []
    for path in paths:
        if path not in folders:
            found.append((path, path))
            continue
        from rnneval.sweeps.table import records_of

        inside = "" if len(folders) == 1 else f"{path.rstrip('/')}/"
        found += [(inside + name, str(record)) for name, record in records_of(path).items()]
    return found


def _scored_text(paths: Sequence[str], record: str | None) -> str:
    """Read the text whole, as the record of a run says that it was read; without a record, as it is."""
    from rnneval.gates.sides import fields_of
    from rnneval.records import read_run
    from rnneval.text.pieces import TextOptions, final_text
    from rnneval.text.sources import Sources

    options = TextOptions()
    if record is not None:
        run = read_run(record)
        fields = fields_of(run.signature)
        options = TextOptions(part=run.text.part, normalize=fields["norm"], newlines=fields["newlines"])
    return "".join(final_text(Sources(paths), options))
