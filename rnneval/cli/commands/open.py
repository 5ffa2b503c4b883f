"""`rnneval open CHECKPOINT`."""

from rnneval.cli.checkpoint import opened
from rnneval.cli.command import from_function
from rnneval.cli.output import OutputOptions, chatter_held
from rnneval.options import OpenOptions


@from_function("ckpt --builder train.ipynb:MyModel --builder-arg rnn_units=1024")
def command(*, checkpoint: str, opening: OpenOptions, output: OutputOptions) -> None:
    """Show what a CHECKPOINT is: format, layers, vocabulary.

    It names every assumption, and evaluates nothing.
    """
    with chatter_held():
        from rnneval.models import protocol

        record = protocol.opened(opened(checkpoint, opening))
    from rnneval.render.run_document import opened_document

    output.deliver(record, opened_document)
