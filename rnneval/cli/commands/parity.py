"""`rnneval parity REFERENCE CANDIDATE TEXT…`."""

from dataclasses import replace
from typing import Annotated, Any

from rnneval.cli.checkpoint import built, names_builder, opened_by_any
from rnneval.cli.command import from_function
from rnneval.cli.output import EXIT_CODES, VerdictOutput, chatter_held, command_line, say, verdict_texts
from rnneval.option import option
from rnneval.options import OpenOptions, ParityOptions, VocabularyGroup


class ParityOutput(VerdictOutput):
    """Output of `rnneval parity`."""

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
    from rnneval.render.parity_document import as_gate, parity_document

    output.deliver(record, parity_document, **verdict_texts(as_gate(record)))
    return 1 if output.strict and record.verdict == "inconclusive" else EXIT_CODES[record.verdict]


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
