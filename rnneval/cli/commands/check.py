"""`rnneval check CHECKPOINT | FILE.py:BUILDER`."""

from typing import Annotated

from rnneval.cli.checkpoint import built, names_builder
from rnneval.cli.command import from_function
from rnneval.cli.output import EXIT_CODES, OutputOptions, chatter_held, command_line, say
from rnneval.option import option
from rnneval.options import CheckOptions, OpenOptions


class WiringOutput(OutputOptions):
    """Output of `rnneval check`."""

    strict: bool = option(False, heading="Options")
    """Exit with 1 on a warning or an inconclusive verdict."""
    reproduce: str | None = option(None, metavar="FILE.py", endings=(".py",), heading="Output")
    """Write a fault of a cached model of transformers as a script of its own, without rnneval."""


@from_function("train.py:MyModel --builder-arg vocab_size=65", seldom={"backend"})
def command(
    *,
    what: Annotated[str, "CHECKPOINT|FILE.py:BUILDER"],
    opening: OpenOptions,
    options: CheckOptions,
    output: WiringOutput,
) -> int:
    """Run the model to prove that each layer gets its own state.

    CHECKPOINT is a saved model; FILE.py:BUILDER is your own code that makes one. Of a script or notebook, only what
    BUILDER needs is run; a package.module is imported. Exit code: 0 pass, 1 fail, 3 no verdict.
    """
    from msgspec import structs

    is_builder = names_builder(what, opening)
    with chatter_held():
        from rnneval.evaluate.check import check
        from rnneval.evaluate.opening import open_for_check

        model = built(what, opening) if is_builder else open_for_check(what, opening)
        found = check(model, declare=options.declare, seed=options.seed, text=options.text)
    wiring = structs.replace(found, command=tuple(command_line()))
    if output.reproduce is not None:
        _write_script(output.reproduce, wiring.script)
    from rnneval.render.wiring_document import wiring_document

    output.deliver(wiring, wiring_document)
    warned = wiring.verdict == "inconclusive" or any(finding.severity == "warning" for finding in wiring.findings)
    return 1 if output.strict and warned else EXIT_CODES[wiring.verdict]


def _write_script(path: str, script: str | None) -> None:
    from rnneval.records import write_text

    if script is None:
        say(f"rnneval: {path} was not written: no fault was seen in the calls of a cached model of transformers")
    else:
        write_text(script, path)
        say(f"rnneval: {path} shows a fault without rnneval: run it with python")
