"""`rnneval parity REFERENCE CANDIDATE TEXT…`."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from rnneval.cli.checkpoint import built, names_builder, opened_by_any
from rnneval.cli.command import from_function
from rnneval.cli.output import OutputOptions, chatter_held, command_line, say
from rnneval.option import option
from rnneval.options import OpenOptions, ParityOptions, VocabularyGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnneval.records import Parity

_EXIT = {"pass": 0, "fail": 1, "inconclusive": 3, "not comparable": 3}


class ParityOutput(OutputOptions):
    """Output of `rnneval parity`."""

    form: str = option("table", flag="--format", choices=("table", "json", "junit", "github", "markdown"))
    """Format of what is printed."""
    out: tuple[str, ...] = option((), metavar="FILE", repeated=True, endings=(".json", ".xml", ".md"))
    """File to write the result to as well: .json is the record, .xml JUnit, .md Markdown."""
    plot: str | None = option(None, metavar="FILE", endings=(".png", ".svg", ".pdf"))
    """File to draw KL along the text to, PNG, SVG or PDF by its ending."""
    strict: bool = option(False)
    """Exit with 1 if the verdict is inconclusive."""


@from_function("model.keras exported.keras held_out.txt --max-kl 1e-4", seldom={"expect_sha256"})
def command(
    *,
    reference: Annotated[str, "REFERENCE"],
    candidate: Annotated[str, "CANDIDATE"],
    text: tuple[str, ...],
    vocabulary: VocabularyGroup,
    ref: Annotated[OpenOptions, "reference"],
    cand: Annotated[OpenOptions, "candidate"],
    options: ParityOptions,
    output: ParityOutput,
) -> int:
    """Test whether CANDIDATE is still the same model as REFERENCE.

    Both read TEXT with the state carried, each in calls of its own. A model is a checkpoint or FILE.py:BUILDER; the
    same model twice compares ways to read it. Exit code: 0 pass, 1 fail, 3 no verdict.
    """
    with chatter_held():
        from rnneval.parity.run import parity

        first = _model(reference, ref, vocabulary)
        same = reference == candidate and ref == cand
        second = first if same else _model(candidate, cand, vocabulary)
        record = parity(first, second, text, **vars(replace(options, command=command_line())))
    if output.plot is not None and record.by_position is None:
        say(f"rnneval: warning {output.plot}: not drawn, since the candidate is not finite")
    elif output.plot is not None:
        from rnneval.render.figures import figure_of, save

        save(figure_of(record, "kl_along_text"), output.plot)
    from rnneval.render.parity_document import parity_document

    output.deliver(record, parity_document, **_texts(record))
    return 1 if output.strict and record.verdict == "inconclusive" else _EXIT[record.verdict]


def _model(what: str, opening: OpenOptions, vocabulary: VocabularyGroup) -> Any:
    """Return the model of a checkpoint or builder, as it computes, with the vocabulary of both if it has none."""
    opening = replace(opening, as_saved=True)
    if opening.vocabulary is None and opening.vocabulary_from is None:
        opening = replace(opening, **vars(vocabulary))
    if not names_builder(what, opening):
        return opened_by_any(what, opening)
    from rnneval.models.wrapping import language_model
    from rnneval.text import given_vocabulary

    given = given_vocabulary(opening.vocabulary, opening.vocabulary_from)
    return language_model(built(what, opening), given, "parity")


def _texts(record: "Parity") -> "dict[str, Callable[[], str]]":
    from rnneval.records import encode
    from rnneval.render.gate_document import gate_github, gate_junit
    from rnneval.render.parity_document import as_gate

    return {
        "json": lambda: encode(record),
        "junit": lambda: gate_junit(as_gate(record), datetime.now(UTC)),
        "github": lambda: gate_github(as_gate(record)),
    }
