"""`rnneval trace CHECKPOINT TEXT…`."""

from rnneval.cli.checkpoint import opened_by_any, reading
from rnneval.cli.command import from_function
from rnneval.cli.output import Printed
from rnneval.option import option
from rnneval.options import OpenOptions, TraceOptions


class TraceOutput(Printed):
    """Output of `rnneval trace`."""

    record: str | None = option(None, metavar="FILE.json", endings=(".json",))
    """File to write the run record to."""


@from_function("model.keras text.txt --part 90%: --vocab-from text.txt --out trace.parquet")
def command(
    *, checkpoint: str, text: tuple[str, ...], opening: OpenOptions, options: TraceOptions, output: TraceOutput
) -> int:
    """Trace the state of every layer along TEXT.

    It shows norms, saturation, gates and memory. The state is carried through each document, exactly. Findings are
    printed as warnings. The wiring is checked first, as in evaluate; the exit code is 1 if it is wrong.
    """
    from rnneval.records import write

    with reading(options, "tracing", quiet=output.quiet) as run_options:
        from rnneval.evaluate.diagnostics.trace import trace

        only_keras = "--lyapunov" if options.lyapunov else ""
        run = trace(opened_by_any(checkpoint, opening, keras=only_keras), text, **vars(run_options))
    if output.record is not None:
        write(run, output.record)
    from rnneval.render.run_document import trace_document

    output.deliver(run, trace_document)
    return int(not run.valid)
