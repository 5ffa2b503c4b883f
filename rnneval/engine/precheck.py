"""Is the model's number a perplexity at all? Its wiring is looked at before it is evaluated."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnneval.engine.wiring import check
from rnneval.models.lm import RecurrentLM
from rnneval.records.run import Warning, WiringSummary  # noqa: A004 - the record's own word

LEAK_SEGMENT = 100
"""Tokens a step in which a leaking model is measured: what its training loss looks like."""
_LEAKS = ("future-leak", "batch-leak")


@dataclass(frozen=True, kw_only=True)
class WiringPrecheck:
    """What the checker said, and what follows for the evaluation."""

    summary: WiringSummary | None
    leaks: tuple[str, ...]
    """Rules by which a prediction sees what it must not see: future tokens, other rows."""

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """What a reader of the number should know."""
        if self.summary is None or self.summary.verdict == "pass":
            return ()
        if self.leaks:
            message = (
                f"{' and '.join(self.leaks)}: predictions see what they must not see, so no score is a perplexity; "
                f"shown are {LEAK_SEGMENT} tokens a step and, token_by_token, one token a step: see rnneval check"
            )
            return (Warning(code="leak", message=message),)
        found = "; ".join(finding.message for finding in self.summary.findings if finding.severity == "error")
        said = f"{self.summary.verdict}: {found or self.summary.reason}; see rnneval check"
        return (Warning(code="wiring", message=said),)


def precheck_wiring(lm: RecurrentLM, declare: Iterable[str], *, seed: int) -> WiringPrecheck:
    """Run the wiring check; a leak makes the evaluation not valid, anything else is a warning."""
    wiring = check(lm, declare=declare, seed=seed)
    errors = {finding.rule for finding in wiring.findings if finding.severity == "error"}
    return WiringPrecheck(
        summary=WiringSummary(verdict=wiring.verdict, reason=wiring.reason, findings=wiring.findings),
        leaks=tuple(rule for rule in _LEAKS if rule in errors),
    )


UNCHECKED = WiringPrecheck(summary=None, leaks=())
