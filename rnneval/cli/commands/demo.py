"""`rnneval demo`."""

import json
from importlib import import_module
from pathlib import Path
from threading import Thread

import click

from rnneval.cli.command import from_function
from rnneval.cli.output import Printed, chatter_held, progress_bar, tell
from rnneval.option import Options, option


class DemoOptions(Options):
    """Options of `rnneval demo`."""

    out: str = option("rnneval-demo", metavar="FOLDER", path=True)
    """Folder for all files; it is made if it is missing."""
    seed: int = option(0)
    """Random seed of the training."""
    quick: bool = option(False)
    """Train for a few seconds only: the models are bad, the page is complete."""


@from_function("--out rnneval-demo")
def command(*, options: DemoOptions, output: Printed) -> None:
    """Train three small models and run every command on them.

    One of them is wired wrong. The text is part of every Python. All files stay in FOLDER; the page to open is
    FOLDER/report.html.
    """
    with chatter_held():
        from rnneval.demo import files, text, work

        recipe = files.recipe_for(seed=options.seed, quick=options.quick)
        prepared = files.prepare(Path(options.out), text.topics_text()[: recipe.characters])
        with progress_bar("training and measuring three models", quiet=output.quiet, unit="models") as progress:
            # While this process has nothing else to do:
            Thread(target=import_module, args=("rnneval.demo.page",)).start()
            work.measure(prepared, recipe, progress)
        with progress_bar("writing the page", quiet=output.quiet):
            from rnneval.demo import page

            page.compare(prepared)
            said = page.report(prepared)
    if output.form == "json":
        records = [str(path) for path in prepared.records()]
        click.echo(json.dumps({"page": str(prepared.page), "records": records, "learnt": said}, indent=2))
    elif output.quiet:
        click.echo(prepared.page)
    else:
        tell("\n".join(f"{number}. {sentence}" for number, sentence in enumerate(said, 1)))
        click.echo(f"\nThe page: {prepared.page.resolve().as_uri()}")
