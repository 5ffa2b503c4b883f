"""Rules over the diagnostics of a model, one file each, found by being in this folder.

The module of a rule has `NAME`, `THRESHOLD` (its default; another one is given with `--threshold NAME=VALUE`) and
`find(facts, threshold)`, a pure function that yields findings. Its page, `rnneval/pages/NAME.md`, is the text of
`rnneval explain` and of a finding's help.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

from rnneval.errors import UsageError
from rnneval.pages import page
from rnneval.records.gradients import Gradients
from rnneval.records.run import Run
from rnneval.records.wiring import Finding
from rnneval.registry import modules

Found = Iterator[tuple[str | None, str]]
"""Findings of a rule: the layer, if it is one of a layer, and the message."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Input of the rules; parts that were not measured are None."""

    run: Run | None = None
    gradients: Gradients | None = None
    truncation: int | None = None
    """Tokens through which the model was trained back in time, where known."""


def all_rules() -> tuple[ModuleType, ...]:
    """Return the module of every rule, by name."""
    return modules(__name__)


def find(facts: Facts, thresholds: Mapping[str, float]) -> tuple[Finding, ...]:
    """Return all findings, in the order of the names of rules."""
    return tuple(
        Finding(rule=rule.NAME, severity="warning", layer=layer, message=message, help=page(rule.NAME).text)
        for rule in all_rules()
        for layer, message in rule.find(facts, thresholds.get(rule.NAME, rule.THRESHOLD))
    )


def require_known(thresholds: Mapping[str, float]) -> None:
    """Refuse a threshold of a rule that does not exist.

    Raises:
        UsageError: names the rules that do.
    """
    known = {rule.NAME: rule.THRESHOLD for rule in all_rules()}
    for name in thresholds:
        if name not in known:
            allowed = ", ".join(f"{rule}={value:g}" for rule, value in known.items())
            raise UsageError(f"--threshold {name}: there is no such rule; there are (with their defaults) {allowed}")
