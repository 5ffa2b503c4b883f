"""What the gate's renderers share: a comparison in cells, and what it is called; each escapes it for its own format."""

from dataclasses import dataclass

from rnneval.gates.explanation import in_per_cent, number, scope
from rnneval.records import Gate
from rnneval.records.gate import Comparison

HEADINGS = ("", "baseline", "candidate", "difference", "95 % bounds", "allowed", "verdict")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One comparison as text, a cell a heading."""

    metric: str
    baseline: str
    candidate: str
    difference: str
    bounds: str
    allowed: str
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of the headings."""
        return (
            self.metric,
            self.baseline,
            self.candidate,
            self.difference,
            self.bounds,
            self.allowed,
            self.verdict,
        )


def line(comparison: Comparison) -> Line:
    """Write one comparison."""

    def difference(value: float | None) -> str:
        return "–" if value is None else number(comparison.metric, value)

    is_limit = comparison.baseline == "limit"
    bounded = comparison.low is not None
    unit = "" if is_limit or in_per_cent(comparison.metric) else f" ({comparison.unit})"
    return Line(
        metric=f"{comparison.metric}{unit}",
        baseline=_value(comparison.baseline_value),
        candidate=_value(comparison.candidate_value),
        difference=difference(comparison.difference),
        bounds=f"{difference(comparison.low)} … {difference(comparison.high)}" if bounded else "–",
        allowed=_value(comparison.allowed) if is_limit else difference(comparison.allowed),
        verdict=comparison.verdict,
    )


def headline(gate: Gate) -> str:
    """Say what was compared with what; nothing for limits alone."""
    first = next((each for each in gate.comparisons if each.baseline != "limit"), None)
    return f"{first.candidate} against {first.baseline}" if first else ""


def about(comparison: Comparison) -> str:
    """Say what a verdict is about; nothing for limits and where there is no verdict."""
    return scope(comparison.about, comparison.claim) if comparison.claim else ""


def method(comparison: Comparison) -> str:
    """Say how the interval was made."""
    if comparison.df is None:
        return comparison.method
    return f"{comparison.method}, {comparison.df:.3g} degrees of freedom, level {comparison.level:.3g}"


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"
