"""`rnneval check CHECKPOINT | FILE.py:BUILDER`."""

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

from rnneval.cli.command import from_function
from rnneval.cli.output import OutputOptions, chatter_held, command_line, require, say
from rnneval.option import option
from rnneval.options import CheckOptions, OpenOptions

_EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}
_BUILDER = re.compile(r".+\.(?:py|ipynb):[A-Za-z_][\w.]*|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


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

    is_builder = _BUILDER.fullmatch(what) is not None and not Path(what).exists()
    message = f"{what} is source: name what makes the model in it, such as {what}:MyModel"
    require(is_builder or not what.endswith((".py", ".ipynb")), f"{message} (rnneval lint reads it as it is)")
    message = f"{what} is a builder already: give a checkpoint with --builder, or leave it out"
    require(not is_builder or opening.builder is None, message)
    with chatter_held():
        from rnneval.evaluate.check import check
        from rnneval.evaluate.opening import open_for_check

        model = _built(what, opening) if is_builder else open_for_check(what, opening)
        found = check(model, declare=options.declare, seed=options.seed)
    wiring = structs.replace(found, command=tuple(command_line()))
    if output.reproduce is not None:
        _write_script(output.reproduce, wiring.script)
    from rnneval.render.wiring_document import wiring_document

    output.deliver(wiring, wiring_document)
    warned = wiring.verdict == "inconclusive" or any(finding.severity == "warning" for finding in wiring.findings)
    return 1 if output.strict and warned else _EXIT[wiring.verdict]


def _write_script(path: str, script: str | None) -> None:
    from rnneval.records import write_text

    if script is None:
        say(f"rnneval: {path} was not written: no fault was seen in the calls of a cached model of transformers")
    else:
        write_text(script, path)
        say(f"rnneval: {path} shows a fault without rnneval: run it with python")


def _built(what: str, opening: OpenOptions) -> Any:
    """Return the model that a builder makes, as its author wired it: one that cannot be evaluated can be checked."""
    from rnneval.checkpoints.usercode import builder_of
    from rnneval.evaluate.opening import beside_for, require_builder_runs
    from rnneval.text import given_vocabulary

    require_builder_runs(opening, what)
    builder = builder_of(opening, what)
    assert builder is not None  # noqa: S101 - `what` names one
    vocabulary = given_vocabulary(opening.vocabulary, opening.vocabulary_from)
    if vocabulary is None and "vocab_size" not in builder.arguments:
        vocabulary = beside_for(builder, Path(what.rpartition(":")[0]))
    return builder.build(vocabulary, around=_eagerly)


def _eagerly() -> AbstractContextManager[None]:
    """Let functions of TensorFlow run eagerly while a model is made, if its code has imported TensorFlow."""
    if "tensorflow" not in sys.modules:
        return nullcontext()
    from rnneval.models.keras.lm import eagerly

    return eagerly()
