"""`rnneval gradients CHECKPOINT TEXT…`."""

from rnneval.cli.checkpoint import opened, reading
from rnneval.cli.command import from_function
from rnneval.cli.output import OutputOptions
from rnneval.options import GradientOptions, OpenOptions


@from_function("model.keras text.txt --part 90%: --vocab-from text.txt --truncation 100", seldom={"backend"})
def command(
    *, checkpoint: str, text: tuple[str, ...], opening: OpenOptions, options: GradientOptions, output: OutputOptions
) -> int:
    """Measure gradients on TEXT, by layer and back through time.

    Each segment begins with the state that the text before it leaves behind. Findings are printed as warnings. The
    wiring is checked first, as in evaluate; the exit code is 1 if it is wrong.
    """
    with reading(options, "reading", quiet=output.quiet) as run_options:
        from rnneval.evaluate.diagnostics.gradients import gradients

        record = gradients(opened(checkpoint, opening), text, **vars(run_options))
    from rnneval.render.run_document import gradients_document

    output.deliver(record, gradients_document)
    return int(any(warning.code == "wrong-wiring" for warning in record.warnings))
