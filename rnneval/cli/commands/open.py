"""`rnneval open CHECKPOINT`."""

import click

from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.options import output_options, require_places
from rnneval.cli.terminal import chatter_held


@click.command("open", epilog="Example: rnneval open ckpt --builder train.ipynb:MyModel --builder-arg rnn_units=1024")
@click.argument("checkpoint")
@output_options("table", "json")
@checkpoint_options
def command(*, checkpoint: str, form: str, out: str | None, quiet: bool, opening: CheckpointOptions) -> None:
    """Show what a CHECKPOINT is: format, state contract, layers, vocabulary, every assumption. Nothing is evaluated."""
    from rnneval.records import encode, write
    from rnneval.records.paths import named

    require_places(named("--out", out), opening.inputs(checkpoint))
    with chatter_held():
        opening.preflight(checkpoint)
        from rnneval.backends.describe import opened

        record = opened(opening.open(checkpoint))
    if out is not None:
        write(record, out)
    if form == "json":
        click.echo(encode(record), nl=False)
    elif not quiet:
        from rnneval.render.run_document import opened_document
        from rnneval.render.terminal import print_document

        print_document(opened_document(record))
