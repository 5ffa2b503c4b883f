"""`rnneval trace CHECKPOINT TEXT…`."""

from dataclasses import replace

import click

from rnneval.cli import shared
from rnneval.cli.checkpoint import CheckpointOptions, checkpoint_options
from rnneval.cli.command import Command
from rnneval.cli.terminal import chatter_held, progress_bar
from rnneval.options import TraceOptions


@click.command(
    "trace",
    cls=Command,
    epilog="Example: rnneval trace model.keras text.txt --part 90%: --vocab-from text.txt --out trace.parquet",
)
@click.argument("checkpoint")
@click.argument("text", nargs=-1, required=True)
@checkpoint_options
@shared.add_options(TraceOptions)
@shared.output_option("--record", metavar="FILE.json", help="File to write the run record to. [default: none]")
@shared.output_options(out=None)
def command(
    *,
    checkpoint: str,
    text: tuple[str, ...],
    output: shared.Output,
    record: str | None,
    options: TraceOptions,
    opening: CheckpointOptions,
) -> int:
    """Trace the state of every layer along TEXT.

    It shows norms, saturation, gates and memory. The state is carried through each document, exactly. Findings are
    printed as warnings. The wiring is checked first, as in evaluate; the exit code is 1 if it is wrong.
    """
    from rnneval.records import encode, write

    shared.require_places({"--out": options.out, "--record": record}, {**opening.inputs(checkpoint), "TEXT": text})
    shared.require_ending("--out", options.out, ".parquet")
    shared.require_ending("--record", record, ".json")
    with chatter_held(), progress_bar("tracing", quiet=output.quiet) as progress:
        opening.preflight(checkpoint)
        opening.preflight_text(text, options)
        from rnneval.engine.diagnostics.trace import trace

        options = replace(options, progress=progress, command=shared.command_line())
        only_keras = "--lyapunov" if options.lyapunov else ""
        run = trace(opening.open_to_read(checkpoint, kernel=options.kernel, keras=only_keras), text, **vars(options))
    if record is not None:
        write(run, record)
    from rnneval.render.run_document import trace_document

    output.print(lambda: encode(run), lambda: trace_document(run))
    return shared.exit_of(run)
