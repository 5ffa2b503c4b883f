"""Holm's correction, on fails alone: several metrics must not fail one good candidate more often than one would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One fail that is claimed, with its p-value and the hypothesis that it shares with others."""

    name: str
    hypothesis: str
    p: float


def levels(claims: Sequence[Claim], level: float) -> Mapping[str, float]:
    """Give the level at which each claim is tested (Holm 1979): it stands where its p is at most that.

    Metrics of one hypothesis (perplexity and bits a character are functions of one total loss, so that their fails are
    nested) count once, by the smallest p among them.

    Three metrics, two of one hypothesis: the smallest p is held against 5 % / 2, the next against 5 %.

    >>> loss = Claim(name="perplexity", hypothesis="loss", p=0.01)
    >>> same_loss = Claim(name="bits_per_char", hypothesis="loss", p=0.02)
    >>> other = Claim(name="accuracy", hypothesis="accuracy", p=0.04)
    >>> levels([loss, same_loss, other], 0.05)
    {'perplexity': 0.025, 'bits_per_char': 0.025, 'accuracy': 0.05}
    """
    smallest: dict[str, float] = {}
    for claim in claims:
        smallest[claim.hypothesis] = min(claim.p, smallest.get(claim.hypothesis, 1.0))
    of_hypothesis: dict[str, float] = {}
    remaining = len(smallest)
    for hypothesis, p in sorted(smallest.items(), key=lambda item: item[1]):
        of_hypothesis[hypothesis] = level / remaining
        # The first that does not stand stops the rest: they are held against the same level and are larger.
        remaining -= p <= level / remaining
    return {claim.name: of_hypothesis[claim.hypothesis] for claim in claims}
