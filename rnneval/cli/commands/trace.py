"""`rnneval trace CHECKPOINT TEXT…`."""

from dataclasses import dataclass

from rnneval.cli.checkpoint import CheckpointOptions
from rnneval.cli.command import from_function
from rnneval.cli.output import Printed, require_ending, require_places
from rnneval.option import Options, option
from rnneval.options import TraceOptions


@dataclass(frozen=True, kw_only=True)
class RecordGroup(Options, heading="Output"):
    """Option of `rnneval trace` for its run record."""

    record: str | None = option(None, metavar="FILE.json")
    """File to write the run record to."""


@from_function("model.keras text.txt --part 90%: --vocab-from text.txt --out trace.parquet")
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    opening: CheckpointOptions,
    options: TraceOptions,
    written: RecordGroup,
    output: Printed,
) -> int:
    """Trace the state of every layer along TEXT.

    It shows norms, saturation, gates and memory. The state is carried through each document, exactly. Findings are
    printed as warnings. The wiring is checked first, as in evaluate; the exit code is 1 if it is wrong.
    """
    from rnneval.records import write

    require_places({"--out": options.out, "--record": written.record}, {**opening.inputs(checkpoint), "TEXT": text})
    require_ending("--out", options.out, ".parquet")
    require_ending("--record", written.record, ".json")
    with opening.reading(options, "tracing", quiet=output.quiet) as run_options:
        from rnneval.evaluate.diagnostics.trace import trace

        only_keras = "--lyapunov" if options.lyapunov else ""
        run = trace(opening.open_to_read(checkpoint, keras=only_keras), text, **vars(run_options))
    if written.record is not None:
        write(run, written.record)
    from rnneval.render.run_document import trace_document

    output.deliver(run, trace_document)
    return int(not run.valid)
