"""Wiring precheck: a model that leaks has no perplexity, so its wiring is checked before it is evaluated."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnneval.backends.protocol import LanguageModel
from rnneval.engine.check import check
from rnneval.records.run import Warning, WiringSummary  # noqa: A004 - the record's own word
from rnneval.records.wiring import Wiring

LEAK_SEGMENT = 100
"""Tokens a step with which a leaking model is measured, as in training."""
_LEAKS = ("future-leak", "batch-leak")


@dataclass(frozen=True, kw_only=True)
class WiringPrecheck:
    """Verdict of the wiring check, and its consequence for the evaluation."""

    summary: WiringSummary | None
    leaks: tuple[str, ...]
    """Rules that the model breaks because predictions see future tokens or other rows."""

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """Warnings for the record."""
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


def precheck_wiring(
    lm: LanguageModel, declare: Iterable[str], *, seed: int, known: Wiring | None = None
) -> WiringPrecheck:
    """Run the wiring check unless its record is known; a leak makes the evaluation not valid, else findings warn."""
    wiring = check(lm, declare=declare, seed=seed) if known is None else known
    errors = {finding.rule for finding in wiring.findings if finding.severity == "error"}
    return WiringPrecheck(
        summary=WiringSummary(verdict=wiring.verdict, reason=wiring.reason, findings=wiring.findings),
        leaks=tuple(rule for rule in _LEAKS if rule in errors),
    )


UNCHECKED: WiringPrecheck = WiringPrecheck(summary=None, leaks=())
