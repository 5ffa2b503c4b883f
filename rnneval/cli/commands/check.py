"""`rnneval check CHECKPOINT | FILE.py:BUILDER`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnneval.cli.options import CheckpointOptions, checkpoint_options, output_options, require, require_places
from rnneval.cli.terminal import chatter_held
from rnneval.records import encode, write
from rnneval.records.paths import named

if TYPE_CHECKING:
    from rnneval.records import Wiring

_EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}
_BUILDER = re.compile(r".+\.py:[A-Za-z_][\w.]*|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@click.command("check", epilog="Example: rnneval check train.py:MyModel --builder-arg vocab_size=65")
@click.argument("what", metavar="CHECKPOINT|FILE.py:BUILDER")
@output_options("table", "json")
@checkpoint_options
@click.option(
    "--declare",
    multiple=True,
    metavar="causal=false|stateless=LAYER|shared=LAYER|mixed=LAYER",
    help="What you mean on purpose; may be repeated.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws ids and emitted numbers.")
@click.option("--strict", is_flag=True, help="Exit with 1 on a warning or no verdict.")
def command(
    *,
    what: str,
    form: str,
    out: str | None,
    quiet: bool,
    declare: tuple[str, ...],
    seed: int,
    strict: bool,
    opening: CheckpointOptions,
) -> int:
    """Prove that each layer's state goes back into the same layer, by running the model.

    CHECKPOINT is a saved model; FILE.py:BUILDER (or package.module:BUILDER) is your own code that makes one: importing
    FILE.py runs it. Exit code: 0 pass, 1 fail, 3 no verdict.
    """
    code = what.rpartition(":")[0] if _names_code(what) else None
    inputs = [*named("BUILDER", code), *opening.inputs(None if code else what)]
    require_places(named("--out", out), inputs)
    with chatter_held():
        if not _names_code(what) and not what.endswith(".py"):
            opening.look(what)
        from rnneval.engine.wiring import check

        wiring = check(_model(what, opening), declare=declare, seed=seed)
    if out is not None:
        write(wiring, out)
    if form == "json":
        click.echo(encode(wiring), nl=False)
    elif not quiet:
        from rnneval.render.terminal import print_document
        from rnneval.render.wiring_document import wiring_document

        print_document(wiring_document(wiring))
    return exit_code(wiring, strict=strict)


def exit_code(wiring: "Wiring", *, strict: bool) -> int:
    """Give 0 for pass, 1 for fail, 3 for no verdict; with `strict` 1 for no verdict and for any warning."""
    warned = wiring.verdict == "inconclusive" or any(finding.severity == "warning" for finding in wiring.findings)
    return 1 if strict and warned else _EXIT[wiring.verdict]


def _model(what: str, opening: CheckpointOptions) -> Any:
    """The model as its author wired it: what cannot be evaluated can still be judged."""
    if _names_code(what):
        require(
            opening.builder is None, f"{what} is a builder already: give a checkpoint with --builder, or leave it out"
        )
        return _built(what, opening)
    require(
        not what.endswith(".py"),
        f"{what} is source: name what makes the model in it, such as {what}:MyModel (rnneval lint reads it as it is)",
    )
    return opening.load_model(what)


def _names_code(what: str) -> bool:
    return _BUILDER.fullmatch(what) is not None and not Path(what).exists()


def _built(spec: str, opening: CheckpointOptions) -> Any:
    from rnneval.models.builder import build, parse_arguments

    return build(spec, parse_arguments(opening.builder_arg), _vocabulary(opening.vocab, opening.vocab_from))


def _vocabulary(file: str | None, texts: Sequence[str]) -> Any:
    from rnneval.text import TextOptions, Vocabulary

    require(not (file and texts), "both --vocab and --vocab-from are given: give one")
    if file:
        return Vocabulary.from_file(file)
    return Vocabulary.from_text(texts, TextOptions()) if texts else None
