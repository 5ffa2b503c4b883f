"""`rnneval evaluate CHECKPOINT TEXT…`."""

import sys
from typing import TYPE_CHECKING

import click

from rnneval.cli.options import (
    CheckpointOptions,
    TextChoices,
    checkpoint_options,
    output_options,
    require_place,
    text_options,
)
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.recordfile import encode, write

if TYPE_CHECKING:
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
@click.option(
    "--state",
    type=click.Choice(["carry", "reset"]),
    default="carry",
    show_default=True,
    help="reset: every --segment tokens.",
)
@click.option(
    "--segment", type=click.IntRange(min=1), metavar="N", help="Tokens a step; with --state reset, of a state."
)
@click.option("--pad", is_flag=True, help="Of a window model, score the tokens before the first whole window, too.")
@click.option(
    "--streams", default="auto", show_default=True, metavar="N|auto", help="Rows side by side; changes no result."
)
@click.option(
    "--tolerance", default=1e-5, show_default=True, help="When two states count as equal; 0: to the last digit."
)
@click.option("--seed", default=0, show_default=True, help="Which row is audited.")
@click.option("--losses", metavar="FILE.parquet", help="Write one row a scored token.")
@click.option("--fit-on", multiple=True, metavar="TEXT", help="Training text, on which baselines are fitted.")
@click.option("--no-states", is_flag=True, help="Do not sum up the states of the layers.")
@click.option("--no-check", is_flag=True, help="Do not look at the wiring first.")
@click.option(
    "--declare",
    multiple=True,
    metavar="causal=false|stateless=LAYER|…",
    help="What you mean on purpose, for the check.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 on any warning.")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    form: str,
    out: str | None,
    quiet: bool,
    state: str,
    segment: int | None,
    pad: bool,
    streams: str,
    tolerance: float,
    seed: int,
    losses: str | None,
    fit_on: tuple[str, ...],
    no_states: bool,
    no_check: bool,
    declare: tuple[str, ...],
    strict: bool,
    opening: CheckpointOptions,
    reading: TextChoices,
) -> int:
    """Measure a saved model on held-out TEXT: perplexity, bits per character, every token accounted for.

    The state is carried through each document. The number comes with a signature that says what it is.
    """
    require_place(out, losses)
    with chatter_held(), progress_bar("evaluating", quiet=quiet) as progress:
        from rnneval.engine import evaluate

        run = evaluate(
            opening.open(checkpoint),
            text,
            **reading.as_arguments(),
            state=state,
            segment=segment,
            pad=pad,
            streams=int(streams) if streams.isdecimal() else streams,
            tolerance=tolerance,
            seed=seed,
            fit_on=fit_on or None,
            states=not no_states,
            check=not no_check,
            declare=declare,
            losses=losses,
            progress=progress,
            command=["rnneval", *sys.argv[1:]],
        )
    if out is not None:
        write(run, out)
    if form == "json" or not quiet:
        show(run, form)
    return _exit_code(run, strict=strict)


def show(run: "Run", form: str) -> None:
    """Print the record as a table or as JSON."""
    if form == "json":
        click.echo(encode(run), nl=False)
        return
    from rnneval.render.run_table import print_run

    print_run(run)


def _exit_code(run: "Run", *, strict: bool) -> int:
    return EXIT_NOT_VALID if not run.valid or (strict and run.warnings) else 0
