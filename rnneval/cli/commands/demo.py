"""`rnneval demo`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnneval.cli.commands.evaluate import show
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.recordfile import write

if TYPE_CHECKING:
    from rnneval.demo.first import Written
    from rnneval.records import Run


@click.command("demo", epilog="Example: rnneval demo --out rnneval-demo")
@click.option("--out", default="rnneval-demo", show_default=True, metavar="FOLDER", help="Where its files go.")
@click.option("--seed", default=0, show_default=True, help="Of the training.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no table.")
def command(*, out: str, seed: int, form: str, quiet: bool) -> None:
    """Train a small two-layer GRU for under a minute on text that every Python has, and evaluate the saved file."""
    with chatter_held():
        run, files = _run(Path(out), seed, quiet=quiet)
    write(run, files.record)
    if form == "json" or not quiet:
        show(run, form)
    if form == "table" and not quiet:
        _say(run, files)


def _run(folder: Path, seed: int, *, quiet: bool) -> "tuple[Run, Written]":
    with progress_bar("starting TensorFlow", quiet=quiet):
        from rnneval.demo import first
        from rnneval.demo.training import Recipe
    files = first.files_in(folder)
    with progress_bar("training", quiet=quiet, unit="steps") as progress:
        first.train_and_save(files, Recipe(seed=seed), progress)
    with progress_bar("evaluating", quiet=quiet) as progress:
        return first.evaluate_saved(files, progress), files


def _say(run: "Run", files: "Written") -> None:
    click.echo("\nwritten:")
    for path in (files.text, files.vocabulary, files.checkpoint, files.record):
        click.echo(f"  {path}  {path.stat().st_size:,} bytes")
    click.echo("\nthe same again, from the saved file:")
    click.echo(f"  {shlex.join(run.command)}")
