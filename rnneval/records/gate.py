"""Records of comparisons: the verdict of a gate, and the ranking of runs."""

from typing import TYPE_CHECKING, Literal

from rnneval.records._base import Count, Stored, Value, quoted, shortened

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["pass", "fail", "inconclusive", "not comparable"]
GRAVEST: tuple[Verdict, ...] = ("fail", "not comparable", "inconclusive", "pass")
"""Verdicts, the gravest first: that of a gate is the gravest of its comparisons."""


class Comparison(Value, frozen=True, kw_only=True):
    """One metric of one candidate against one baseline, or one limit on a figure of one record."""

    metric: str  # The metric, or the limit as it was given: `states.gru.h.saturated<=0.2`.
    baseline: str  # Name of the record (several are runs of one recipe), or `limit`.
    candidate: str
    baseline_value: float | None = None
    """The metric over the text that both scored; of several runs the mean, of a perplexity that of its logarithms."""
    candidate_value: float | None = None  # The metric of the candidate, likewise, or the figure that is limited.
    unit: str  # Unit of `difference`, `low`, `high`, `allowed`, `se` and `mdd`.
    difference: float | None = None  # Candidate − baseline: nats per token for perplexity, else in the metric's unit.
    low: float | None = None  # One-sided 95 % bounds (together a 90 % interval).
    high: float | None = None
    allowed: float | None = None  # The difference from which it is worse than allowed, or the limit.
    verdict: Verdict
    improved: bool | None = None  # True if it passes, and both bounds lie on the better side of 0.
    reason: str
    method: str
    df: float | None = None
    se: float | None = None
    mdd: float | None = None  # Minimum detectable difference beyond what is allowed, at 80 % power.
    p_worse: float | None = None  # Probability of a difference as bad as this or worse if the truth is what is allowed.
    p_within: float | None = None  # Probability of one as good as this or better if the truth is what is allowed.
    blocks: Count | None = None
    clusters: Count | None = None
    level: float | None = None  # The level at which a fail was tested: 0.05, or less where several metrics are (Holm).
    about: str  # `these checkpoints` or `this recipe`; `this record` for a limit.
    claim: str | None = None  # `this passage` or `text like these documents`.

    @property
    def word(self) -> str:
        """The verdict, or `improved`."""
        return "improved" if self.improved else self.verdict

    @property
    def title(self) -> str:
        """The metric, and the n-gram if it was compared with one of the same record."""
        return f"{self.metric} against {self.baseline}" if self.baseline.startswith("ngram-") else self.metric


class Counting(Value, frozen=True, kw_only=True):
    """A run beside the best n-gram that was fitted to its training text."""

    run: str  # Name of the record.
    ngram: str  # The n-gram with the lowest loss, such as `ngram-5`.
    difference: float  # Model − n-gram, in nats a token: below 0 where the model is better than counting.
    low: float | None = None  # Two-sided 95 % interval, paired; absent where there is too little text.
    high: float | None = None
    verdict: Literal["better", "worse", "inconclusive"]
    standing: str  # The n-gram that the model is as good as, in words.


class Gate(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.gate/1"):
    """The verdict, and the comparisons behind it."""

    verdict: Verdict
    improved: bool | None = None  # True if it is pass, and each comparison with a baseline improved.
    reason: str
    comparisons: tuple[Comparison, ...]
    counting: tuple[Counting, ...] | None = None  # The candidates beside their n-grams, for information.
    warnings: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether the verdict is pass, so that `assert rnneval.gate(…)` holds nothing else."""
        return self.verdict == "pass"

    @property
    def word(self) -> str:
        """The verdict, or `improved`."""
        return "improved" if self.improved else self.verdict

    def _in_one_line(self) -> str:
        return f"{self.word}: {shortened(self.reason)!r}"


class BlockChange(Value, frozen=True, kw_only=True):
    """One block whose loss changed."""

    start: Count  # Beginning of the block, in bytes of the final text.
    end: Count
    document: Count
    nats: float  # Candidate − baseline, summed over the block: below 0 where the candidate gains.
    units: float  # Tokens in the block; scored bytes where the tokens differ.
    text: str | None = None  # The text of the block, if the text was given.


class RankedRun(Value, frozen=True, kw_only=True):
    """One run."""

    name: str
    value: float | None = None  # The metric, as recorded.
    difference: float | None = None  # Difference to the best run, paired; nats per token, or the metric's unit.
    low: float | None = None  # Two-sided interval; all of a ranking hold together with 95 % (Bonferroni).
    high: float | None = None
    method: str | None = None
    claim: str | None = None
    parameters: Count | None = None  # Absent for imported losses and step functions.
    tokens_per_second: float | None = None  # Absent for imported losses.
    marks: tuple[str, ...]  # Problems of the run: not valid, not finite, diverged, not comparable, too little text.


class Ranking(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.compare/1"):
    """Runs sorted by a metric, best first; those that do not count or do not compare with the best come last."""

    metric: str
    unit: str  # Unit of the differences.
    rows: tuple[RankedRun, ...]
    about: str
    baseline: str  # The first run given that counts.
    candidate: str  # The last run given that counts; if the baseline alone does, the last of the others.
    blocks: tuple[BlockChange, ...]
    """Where the candidate's loss differs most from the baseline's, largest change first."""
    counting: tuple[Counting, ...] | None = None  # The runs beside their n-grams, in the order given.
    warnings: tuple[str, ...]

    @property
    def best(self) -> RankedRun | None:
        """The best run; None if no run counts."""
        return self.rows[0] if self.rows and self.rows[0].difference == 0 else None

    def to_frame(self) -> "pd.DataFrame":
        """Return the runs as a pandas DataFrame, best first.

        Columns: `run`, `metric` (its name), `value`, `difference` (to the best, in `unit`), `low`, `high`, `unit`,
        `method`, `claim`, `parameters`, `tokens_per_second` and `marks` (problems, with semicolons between them).
        """
        import pandas as pd

        columns = ("value", "difference", "low", "high", "method", "claim", "parameters", "tokens_per_second")
        frame = pd.DataFrame([{name: getattr(row, name) for name in columns} for row in self.rows], columns=columns)
        frame.insert(0, "run", [row.name for row in self.rows])
        frame.insert(1, "metric", self.metric)
        frame.insert(6, "unit", self.unit)
        return frame.assign(marks=["; ".join(row.marks) for row in self.rows])

    def _in_one_line(self) -> str:
        best = f"best is {quoted([self.best.name])}" if self.best else "none counts"
        return f"of {len(self.rows)} runs by {self.metric}: {best}"
