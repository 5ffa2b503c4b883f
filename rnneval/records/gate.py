"""The gate record: is the candidate worse than allowed? Schema `rnneval.gate/1`."""

from typing import Annotated, Literal

import msgspec

from rnneval.records._base import Stored, Value, shortened

Count = Annotated[int, msgspec.Meta(ge=0)]
Verdict = Literal["pass", "fail", "inconclusive", "not comparable"]
GRAVEST: tuple[Verdict, ...] = ("fail", "not comparable", "inconclusive", "pass")
"""Verdicts, the gravest first: that of a gate is the gravest of its comparisons."""


class Comparison(Value, frozen=True, kw_only=True):
    """One metric of one candidate against one baseline, or one limit on a figure of one record."""

    metric: str
    """The metric, or the limit as it was given: `states.gru.h.saturated<=0.2`."""
    baseline: str
    """Name of the record (several are runs of one recipe), or `limit`."""
    candidate: str
    baseline_value: float | None = None
    """The metric itself, in its unit, over the text that both scored; the mean over several runs (on a logarithmic
    scale for a perplexity)."""
    candidate_value: float | None = None
    """The metric of the candidate, likewise, or the figure that is limited."""
    unit: str
    """Unit of `difference`, `low`, `high`, `allowed`, `se` and `mdd`."""
    difference: float | None = None
    """Candidate − baseline: nats per token for perplexity, else in the metric's unit."""
    low: float | None = None
    """One-sided 95 % bounds (together a 90 % interval)."""
    high: float | None = None
    allowed: float | None = None
    """The difference at which it is worse than allowed (below 0 where less is worse), or the limit."""
    verdict: Verdict
    reason: str
    method: str
    df: float | None = None
    se: float | None = None
    mdd: float | None = None
    """Minimum detectable difference: distance beyond what is allowed that is found with 80 % power."""
    p_worse: float | None = None
    """Probability of a difference as bad as this or worse, if the truth is what is allowed."""
    p_within: float | None = None
    """Probability of a difference as good as this or better, if the truth is what is allowed."""
    blocks: Count | None = None
    clusters: Count | None = None
    level: float | None = None
    """The level at which a fail was tested: 0.05, or less where several metrics are (Holm)."""
    about: str
    """`these checkpoints` or `this recipe`; `this record` for a limit."""
    claim: str | None = None
    """`this passage` or `text like these documents`."""

    @property
    def title(self) -> str:
        """The metric, and the n-gram if it was compared with one of the same record."""
        return f"{self.metric} against {self.baseline}" if self.baseline.startswith("ngram-") else self.metric


class Counting(Value, frozen=True, kw_only=True):
    """A run beside the best n-gram that was fitted to its training text."""

    run: str
    """Name of the record."""
    ngram: str
    """The n-gram with the lowest loss, such as `ngram-5`."""
    difference: float
    """Model − n-gram, in nats a token: below 0 where the model is better than counting."""
    low: float | None = None
    """Two-sided 95 % interval, paired; absent where there is too little text."""
    high: float | None = None
    verdict: Literal["better", "worse", "inconclusive"]
    standing: str
    """The n-gram that the model is as good as, in words."""


class Gate(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.gate/1"):
    """The verdict, and the comparisons behind it."""

    verdict: Verdict
    reason: str
    comparisons: tuple[Comparison, ...]
    counting: tuple[Counting, ...] | None = None
    """The candidates beside their n-grams; this decides nothing unless it was asked for, by a comparison."""
    warnings: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether the verdict is pass, so that `assert rnneval.gate(…)` holds nothing else."""
        return self.verdict == "pass"

    def _in_one_line(self) -> str:
        """Return verdict and reason."""
        return f"{self.verdict}: {shortened(self.reason)!r}"
