"""Comparability of runs, decided before any number is looked at: the answer names the field that differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from rnneval.gates.sides import Paired, Sides, is_lossy, pair
from rnneval.records import Run

ACROSS_TOKENS = ("bits_per_char", "bits_per_byte")
"""Metrics that compare models of other tokens on the same text."""
_OF_TOKENS = frozenset({"tok", "bos"})
"""Fields that may differ if bits of the same text are compared over the bytes that both scored."""
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
    """Reason why two runs cannot be compared."""

    field: str
    """Path of the field in the record, such as `text.sha256` or `signature.state`."""
    reason: str
    tokens_only: bool = False
    """True if only the tokens differ, so that bits per character of the same text still compare."""


def fields_of(signature: str) -> dict[str, str]:
    """Split a signature.

    >>> fields_of("tok:char|state:carry")
    {'tok': 'char', 'state': 'carry'}
    """
    return dict(part.split(":", 1) for part in signature.split("|"))


def difference_between(baseline: Run, candidate: Run, *, across_tokens: bool = False) -> Difference | None:
    """Return the first reason why two runs cannot be compared; None if they can.

    Args:
        baseline: One run.
        candidate: The other.
        across_tokens: Whether the tokens may differ, because bits of the same bytes are compared.
    """
    return next(_differences(baseline, candidate, across_tokens), None)


def _differences(baseline: Run, candidate: Run, across_tokens: bool) -> Iterator[Difference]:
    """Yield what differs in text, signature, unknown tokens and blocks."""
    ours, theirs = baseline.text, candidate.text
    if ours.sha256 != theirs.sha256:
        sizes = f"{ours.bytes:,} bytes, {ours.sha256[:8]}…, and {theirs.bytes:,} bytes, {theirs.sha256[:8]}…"
        yield Difference(field="text.sha256", reason=f"other text ({sizes})")
    parts, others = fields_of(baseline.signature), fields_of(candidate.signature)
    differing = [name for name in {**parts, **others} if parts.get(name) != others.get(name)]
    if "unknown" in (parts.get("state"), others.get("state")):
        reason = "it is not known how the state was handled: import the losses again with --state"
        yield Difference(field="signature.state", reason=f"{reason} (state:unknown)")
    # Differences in tokens come last: only they are helped by --allow bits_per_char.
    for name in sorted(differing, key=lambda name: name in _OF_TOKENS):
        if not (across_tokens and name in _OF_TOKENS):
            seen = f"{name}:{parts.get(name, 'absent')} and {name}:{others.get(name, 'absent')}"
            yield Difference(
                field=f"signature.{name}",
                reason=f"{_MEANING.get(name, 'the runs were made differently')} ({seen})",
                tokens_only=name in _OF_TOKENS,
            )
    unknown_tokens = max(baseline.tokens.unknown, candidate.tokens.unknown)
    vocabularies = {run.vocabulary.sha256 if run.vocabulary else None for run in (baseline, candidate)}
    if unknown_tokens and len(vocabularies) > 1:
        yield Difference(
            field="vocabulary.sha256",
            reason=f"other vocabularies, and up to {unknown_tokens} unknown tokens that were not paid for in full",
        )
    for name in ("bytes", "document") if across_tokens else ("bytes", "document", "tokens", "scored_bytes"):
        if getattr(baseline.blocks, name) != getattr(candidate.blocks, name):
            yield Difference(field=f"blocks.{name}", reason="the same text was cut or counted differently")


def not_comparable(metric: str, sides: Sides) -> Difference | None:
    """Return the first reason why these sides cannot be compared by this metric; None if they can."""
    baselines, candidates = sides.baseline.runs, sides.candidate.runs
    across = metric in ACROSS_TOKENS
    found = chain(
        (difference_between(baselines[0], run) for run in baselines[1:]),
        (difference_between(candidates[0], run) for run in candidates[1:]),
        (difference_between(baselines[0], candidates[0], across_tokens=across),),
    )
    for difference in filter(None, found):
        if difference.tokens_only and not across:
            hint = "bits of the same text compare: --allow bits_per_char=+0.01"
            return Difference(field=difference.field, reason=f"{difference.reason}; {hint}", tokens_only=True)
        return difference
    if any(run.total_nats is None for run in baselines):
        return Difference(field="total_nats", reason="a loss of the baseline is not finite")
    if across and (lossy := [run for run in (*baselines, *candidates) if run.total_nats is not None and is_lossy(run)]):
        return Difference(
            field=f"scores.{metric}",
            reason=f"absent in {lossy[0].source.path or 'a run'}: its tokens do not give the text back (lossy)",
        )
    return None


def not_valid(sides: Sides) -> Difference | None:
    """Return why a run of either side is not valid; None if all are."""
    for side in (sides.baseline, sides.candidate):
        for name, run in zip(side.names, side.runs, strict=True):
            if not run.valid:
                said = f": {run.wiring.reason}" if run.wiring and run.wiring.reason else ""
                return Difference(field="valid", reason=f"{name} is marked not valid{said}")
    return None


def pair_sides(sides: Sides) -> Paired | None:
    """Pair two sides that are comparable; None if no text was scored by both."""
    baselines, candidates = sides.baseline.runs, sides.candidate.runs
    same_tokens = difference_between(baselines[0], candidates[0]) is None
    return pair(baselines, candidates, same_tokens=same_tokens)
