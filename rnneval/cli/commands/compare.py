"""`rnneval compare RECORD RECORD…`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnneval.cli.command import Command
from rnneval.cli.options import (
    format_option,
    out_option,
    quiet_option,
    repeated_option,
    require,
    require_ending,
    require_places,
)
from rnneval.cli.output import ENDINGS, print_and_write

if TYPE_CHECKING:
    from rnneval.gates import Named
    from rnneval.text.pieces import TextOptions


@click.command(
    "compare",
    cls=Command,
    epilog="Example: rnneval compare base.json new.json --text text.txt",
)
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
@repeated_option("--text", "TEXT", "Text that was scored, to show those blocks in.")
@format_option("table", "json")
@out_option("File to write the comparison to as well: .json, .csv (a row for each run) or .md.", repeated=True)
@quiet_option("Print no table.")
def command(
    *,
    records: tuple[str, ...],
    metric: str | None,
    blocks: int,
    within: float | None,
    text: tuple[str, ...],
    form: str,
    out: tuple[str, ...],
    quiet: bool,
) -> int:
    """Sort runs by a metric, with paired differences to the best.

    It also lists the blocks of the text in which the last valid run gains and loses most against the first. The folder
    of a sweep stands for all of its records.

    Two tables of losses (evaluate --losses) are compared token by token: the largest difference, and the first place
    where they differ by more than --within.
    """
    import msgspec

    from rnneval.gates.ranking import rank
    from rnneval.records import json_text
    from rnneval.records.losses import ENDINGS as TABLES
    from rnneval.records.paths import named
    from rnneval.render.gate_document import ranking_document

    tables = [path for path in records if Path(path).suffix.lower() in TABLES]
    if tables:
        _compare_losses(records, tables, metric, within, text=text, form=form, out=out, quiet=quiet)
        return 0
    require(within is None, "--within is for two tables of losses: give two files of evaluate --losses")
    places = _places(records)
    read = named("RECORD", records, [place.path for place in places])
    require_places(named("--out", out), [*read, *named("--text", text)])
    require_ending("--out", out, *ENDINGS)
    scored = _scored_text(text, places[-1].path) if text else None
    ranking = rank(_read(places), metric=metric, blocks=blocks, text=scored)
    encoded = json_text(msgspec.to_builtins(ranking))
    print_and_write(ranking, encoded, lambda: ranking_document(ranking), form=form, quiet=quiet, out=out)
    return 0


def _compare_losses(
    paths: tuple[str, ...],
    tables: list[str],
    metric: str | None,
    within: float | None,
    *,
    text: tuple[str, ...],
    form: str,
    out: tuple[str, ...],
    quiet: bool,
) -> None:
    """Compare two tables of losses."""
    import msgspec

    from rnneval.gates.token_losses import WITHIN, compare_losses
    from rnneval.records import json_text
    from rnneval.records.paths import named
    from rnneval.render.gate_document import losses_document
    from rnneval.text.pieces import TextOptions

    seen = f"{len(tables)} of the {len(paths)} files given are tables of losses"
    require(len(paths) == len(tables) == 2, f"{seen}: give two of them and nothing else, or run records")
    require(metric is None, "--metric is for run records: tables of losses have no metrics")
    require_places(named("--out", out), [*named("RECORD", paths), *named("--text", text)])
    require_ending("--out", out, *ENDINGS)
    scored = _final(text, TextOptions()) if text else None
    found = compare_losses(*paths, within=WITHIN if within is None else within, text=scored)
    encoded = json_text(msgspec.to_builtins(found))
    print_and_write(found, encoded, lambda: losses_document(found), form=form, quiet=quiet, out=out)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Path of a record and the name of its run."""

    name: str
    path: str


def _places(paths: tuple[str, ...]) -> list[_Place]:
    """Find the records; the folder of a sweep stands for its checkpoints, each called by its path in the swept one."""
    folders = [path for path in paths if Path(path).is_dir()]
    found: list[_Place] = []
    for path in paths:
        if path not in folders:
            found.append(_Place(name=path, path=path))
            continue
        from rnneval.sweeps.table import records_of

        inside = "" if len(folders) == 1 else f"{path.rstrip('/')}/"
        found += [_Place(name=inside + name, path=str(record)) for name, record in records_of(path).items()]
    return found


def _read(places: list[_Place]) -> "list[Named]":
    from rnneval.gates.sides import Named
    from rnneval.records import read_run

    return [Named(name=place.name, record=read_run(place.path)) for place in places]


def _scored_text(paths: tuple[str, ...], record: str) -> str:
    """Read the text as the record of the run says that it was read."""
    from rnneval.gates.sides import fields_of
    from rnneval.records import read_run
    from rnneval.text.pieces import TextOptions

    run = read_run(record)
    fields = fields_of(run.signature)
    options = TextOptions(part=run.text.part, normalize=fields["norm"], newlines=fields["newlines"])
    return _final(paths, options)


def _final(paths: tuple[str, ...], options: "TextOptions") -> str:
    """Read a text whole."""
    from rnneval.text.pieces import final_text
    from rnneval.text.sources import Sources

    return "".join(piece.text for piece in final_text(Sources(paths), options))
