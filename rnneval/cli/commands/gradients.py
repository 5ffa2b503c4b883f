"""`rnneval gradients CHECKPOINT TEXT…`."""

from dataclasses import replace

import click

from rnneval.cli import shared
from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.command import Command
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.options import GradientOptions


@click.command(
    "gradients",
    cls=Command,
    epilog="Example: rnneval gradients model.keras text.txt --part 90%: --vocab-from text.txt --truncation 100",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@checkpoint_options
@shared.add_options(GradientOptions)
@shared.output_options()
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    output: shared.Output,
    options: GradientOptions,
    opening: CheckpointOptions,
) -> int:
    """Measure gradients on TEXT, by layer and back through time.

    Each segment begins with the state that the text before it leaves behind. Findings are printed as warnings. The
    wiring is checked first, as in evaluate; the exit code is 1 if it is wrong.
    """
    output.require({**opening.inputs(checkpoint), "TEXT": text}, ".json")
    with chatter_held(), progress_bar("reading", quiet=output.quiet) as progress:
        opening.preflight(checkpoint)
        opening.preflight_text(text, options)
        from rnneval.engine.diagnostics.gradients import gradients

        options = replace(options, progress=progress, command=shared.command_line())
        record = gradients(opening.open(checkpoint), text, **vars(options))
    from rnneval.render.run_document import gradients_document

    output.write_and_print(record, lambda: gradients_document(record))
    return int(any(warning.code == "wrong-wiring" for warning in record.warnings))
