"""`rnneval open CHECKPOINT`."""

import click

from rnneval.cli import shared
from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.command import Command
from rnneval.cli.terminal import chatter_held


@click.command(
    "open", cls=Command, epilog="Example: rnneval open ckpt --builder train.ipynb:MyModel --builder-arg rnn_units=1024"
)
@click.argument("checkpoint")
@checkpoint_options
@shared.output_options()
def command(*, checkpoint: str, output: shared.Output, opening: CheckpointOptions) -> None:
    """Show what a CHECKPOINT is: format, layers, vocabulary.

    It names every assumption, and evaluates nothing.
    """
    output.require(opening.inputs(checkpoint), ".json")
    with chatter_held():
        opening.preflight(checkpoint)
        from rnneval.backends.protocol import opened

        record = opened(opening.open(checkpoint))
    from rnneval.render.run_document import opened_document

    output.write_and_print(record, lambda: opened_document(record))
