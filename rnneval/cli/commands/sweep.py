"""`rnneval sweep FOLDER TEXT…`."""

from dataclasses import replace
from pathlib import Path

from rnneval.cli.command import from_function
from rnneval.cli.output import FORMS, Printed, StrictGroup, chatter_held, command_line, progress_bar, require, say
from rnneval.option import option, values_of
from rnneval.options import OpeningGroup, OpenOptions, SweepOptions


class SweepOutput(Printed):
    """Output of `rnneval sweep`."""

    out: tuple[str, ...] = option((), flag="--table", metavar="FILE", repeated=True, endings=(".json", ".csv", ".md"))
    """File to write the table to as well: .json, .csv or .md."""


@from_function("training_checkpoints/ text.txt --part 90%: --vocab-from text.txt --out results/")
def command(
    *,
    folder: str,
    text: tuple[str, ...],
    opening: OpenOptions,
    options: SweepOptions,
    output: SweepOutput,
    warnings: StrictGroup,
) -> int:
    """Evaluate every checkpoint in a FOLDER on held-out TEXT.

    It writes a record of each, and one table. Checkpoints that were finished before are not evaluated again. A file
    that cannot be evaluated is a row that says why.
    """
    require(opening.expect_sha256 is None, "--expect-sha256 is for one checkpoint: see rnneval evaluate")
    out = options.out
    message = f"--out {out}: is a folder for all records: give a folder, and --table {out} for the table"
    require(Path(out).suffix.lower() not in (*FORMS, ".parquet"), message)
    with chatter_held(), progress_bar("sweeping", quiet=output.quiet, unit="checkpoints") as progress:
        from rnneval.evaluate.sweep import sweep

        plain = values_of(OpeningGroup, opening)
        options = replace(options, opening=plain, progress=progress, command=command_line())
        result = sweep(folder, text, **vars(options))
    from rnneval.records import json_text
    from rnneval.render.sweep_document import sweep_document

    rows = [{name: value for name, value in row.columns().items() if value is not None} for row in result.rows]
    output.deliver(result, sweep_document, json=lambda: json_text(rows))
    for row in result.failed if output.quiet else ():
        say(f"rnneval: {row.name}: {row.status}: {row.error}")
    return int(bool(result.failed or (warnings.strict and result.warned)))
