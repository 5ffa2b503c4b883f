"""The gate record: is the candidate worse than allowed? Schema `rnneval.gate/1`."""

from typing import Annotated, Literal

import msgspec

from rnneval.records._base import Value

Count = Annotated[int, msgspec.Meta(ge=0)]
Verdict = Literal["pass", "fail", "inconclusive", "not comparable"]


class Comparison(Value, frozen=True, kw_only=True):
    """One metric of one candidate against one baseline, or one limit."""

    metric: str
    baseline: str
    candidate: str
    difference: float | None = None
    """Candidate − baseline: nats a token for perplexity, else in the metric's unit."""
    low: float | None = None
    """One-sided 95 % bounds (together a 90 % interval)."""
    high: float | None = None
    allowed: float | None = None
    verdict: Verdict
    reason: str
    method: str
    df: float | None = None
    se: float | None = None
    mdd: float | None = None
    """Smallest difference found with 80 % power."""
    p_worse: float | None = None
    p_within: float | None = None
    blocks: Count | None = None
    level: float | None = None
    about: str
    """`these checkpoints` or `this recipe`."""


class Gate(Value, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.gate/1"):
    """The verdict, and the comparisons that it rests on."""

    verdict: Verdict
    reason: str
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]

    def save(self, path: str) -> None:
        """Write the record to `path`, whole or not at all; see `rnneval.recordfile.write`."""
        from rnneval.recordfile import write

        write(self, path)
