"""The ranking: runs sorted by a metric, and the blocks that make the difference. Schema `rnneval.compare/1`."""

from typing import TYPE_CHECKING

from rnneval.records._base import Stored, Value, quoted
from rnneval.records.gate import Count, Counting

if TYPE_CHECKING:
    import pandas as pd


class BlockChange(Value, frozen=True, kw_only=True):
    """One block whose loss changed."""

    start: Count
    """Beginning of the block, in bytes of the final text."""
    end: Count
    document: Count
    nats: float
    """Candidate − baseline, summed over the block: below 0 where the candidate gains."""
    units: float
    """Tokens in the block; scored bytes where the tokens differ."""
    text: str | None = None
    """The text of the block, if the text was given."""


class RankedRun(Value, frozen=True, kw_only=True):
    """One run."""

    name: str
    value: float | None = None
    """The metric, as recorded."""
    difference: float | None = None
    """Difference to the best run, paired over the text that both scored: nats per token, or in the metric's unit."""
    low: float | None = None
    """Two-sided interval of the difference; all intervals of a ranking hold together with 95 % (Bonferroni)."""
    high: float | None = None
    method: str | None = None
    claim: str | None = None
    parameters: Count | None = None
    """Absent for imported losses and step functions."""
    tokens_per_second: float | None = None
    """Absent for imported losses."""
    marks: tuple[str, ...]
    """Problems of the run: not valid, not finite, diverged, not comparable, too little text."""


class Ranking(Stored, frozen=True, kw_only=True, tag_field="schema", tag="rnneval.compare/1"):
    """Runs sorted by a metric, best first; those that do not count or do not compare with the best come last."""

    metric: str
    unit: str
    """Unit of the differences."""
    rows: tuple[RankedRun, ...]
    about: str
    baseline: str
    """The first run given that counts."""
    candidate: str
    """The last run given that counts; if the baseline alone does, the last of the others."""
    blocks: tuple[BlockChange, ...]
    """Blocks in which the candidate's loss differs most from the baseline's, largest change first."""
    counting: tuple[Counting, ...] | None = None
    """The runs beside their n-grams, in the order given."""
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
        """Return the number of runs and the best one with its value."""
        if (best := self.best) is None:
            return f"of {len(self.rows)} runs by {self.metric}: none counts"
        value = "no value" if best.value is None else f"{best.value:.5g}"
        apart = sum(any(mark.startswith("not comparable") for mark in row.marks) for row in self.rows)
        others = f", {apart} not comparable" if apart else ""
        return f"of {len(self.rows)} runs by {self.metric}: best is {quoted([best.name])} with {value}{others}"
