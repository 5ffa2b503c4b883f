"""`rnneval open CHECKPOINT`."""

from rnneval.cli.checkpoint import CheckpointOptions
from rnneval.cli.command import from_function
from rnneval.cli.output import JSON, OutputOptions
from rnneval.cli.terminal import chatter_held


@from_function("ckpt --builder train.ipynb:MyModel --builder-arg rnn_units=1024")
def command(*, checkpoint: str, opening: CheckpointOptions, output: OutputOptions) -> None:
    """Show what a CHECKPOINT is: format, layers, vocabulary.

    It names every assumption, and evaluates nothing.
    """
    output.require(opening.inputs(checkpoint), JSON)
    with chatter_held():
        from rnneval.models.protocol import opened

        record = opened(opening.open(checkpoint))
    from rnneval.render.run_document import opened_document

    output.deliver(record, opened_document)
