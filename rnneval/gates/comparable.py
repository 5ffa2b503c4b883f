"""May two runs be compared at all? Asked before any number is looked at; the answer names the field that differs."""

from dataclasses import dataclass

from rnneval.records import Run

_ACROSS_TOKENS = frozenset({"tok", "bos"})
"""What may differ where bits of the same text are compared over the bytes that both scored."""
_MEANING = {
    "tok": "other tokens",
    "norm": "the text was normalised differently",
    "newlines": "ends of lines were treated differently",
    "unk": "tokens that the vocabulary lacks were treated differently",
    "docs": "the state was reset at other places",
    "bos": "the first token of a document was scored on one side only",
    "state": "the state was handled differently",
    "defs": "the numbers are defined differently",
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Why two runs cannot be compared."""

    field: str
    """Of the record, such as `text.sha256` or `signature.state`."""
    reason: str
    tokens_only: bool = False
    """Whether only the tokens differ, so that bits a character of the same text still compare."""


def fields_of(signature: str) -> dict[str, str]:
    """Split a signature.

    >>> fields_of("tok:char|state:carry")
    {'tok': 'char', 'state': 'carry'}
    """
    return dict(part.split(":", 1) for part in signature.split("|"))


def difference_between(baseline: Run, candidate: Run, *, across_tokens: bool = False) -> Difference | None:
    """Give the first reason why the two cannot be compared; None where they can.

    Args:
        baseline: One run.
        candidate: The other.
        across_tokens: Whether the tokens may differ, because bits of the same bytes are compared.
    """
    return (
        _in_text(baseline, candidate)
        or _in_signature(baseline, candidate, across_tokens)
        or _in_unknowns(baseline, candidate)
        or _in_blocks(baseline, candidate, across_tokens)
    )


def invalid(name: str, run: Run) -> Difference | None:
    """Say so where a run's numbers are no perplexity: its wiring lets the future or the batch in."""
    if run.valid:
        return None
    said = f": {run.wiring.reason}" if run.wiring and run.wiring.reason else ""
    return Difference(field="valid", reason=f"{name} is marked not valid{said}")


def _in_text(baseline: Run, candidate: Run) -> Difference | None:
    ours, theirs = baseline.text, candidate.text
    if ours.sha256 == theirs.sha256:
        return None
    sizes = f"{ours.bytes} bytes, {ours.sha256[:8]}…, and {theirs.bytes} bytes, {theirs.sha256[:8]}…"
    return Difference(field="text.sha256", reason=f"other text ({sizes})")


def _in_signature(baseline: Run, candidate: Run, across_tokens: bool) -> Difference | None:
    ours, theirs = fields_of(baseline.signature), fields_of(candidate.signature)
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    # What no --allow can help comes first, so that nobody is sent to bits_per_char for nothing.
    for name in sorted(differing, key=lambda name: name in _ACROSS_TOKENS):
        if not (across_tokens and name in _ACROSS_TOKENS):
            return Difference(
                field=f"signature.{name}",
                reason=f"{_MEANING.get(name, 'the runs were made differently')} "
                f"({name}:{ours.get(name, 'absent')} and {name}:{theirs.get(name, 'absent')})",
                tokens_only=name in _ACROSS_TOKENS,
            )
    return None


def _in_unknowns(baseline: Run, candidate: Run) -> Difference | None:
    unknown = max(baseline.tokens.unknown, candidate.tokens.unknown)
    if not unknown or baseline.vocabulary.sha256 == candidate.vocabulary.sha256:
        return None
    return Difference(
        field="vocabulary.sha256",
        reason=f"other vocabularies, and up to {unknown} unknown tokens that were not paid for in full",
    )


def _in_blocks(baseline: Run, candidate: Run, across_tokens: bool) -> Difference | None:
    for name in ("bytes", "document") if across_tokens else ("bytes", "document", "tokens", "scored_bytes"):
        if getattr(baseline.blocks, name) != getattr(candidate.blocks, name):
            return Difference(field=f"blocks.{name}", reason="the same text was cut or counted differently")
    return None
