"""The rules of the dynamic check, one file each, found by being here.

The docstring of a rule's file is its page: the text of `rnneval explain`, of the docs, and of a finding's help. The
module has `NAME`, `SEVERITY`, `ORDER` (findings with a lower one come first), `CORRECTS` where a corrected line can be
given, and `find(evidence)`, a pure function that yields findings.
"""

import sys
from collections.abc import Iterator
from types import ModuleType

from rnneval.records.wiring import Finding
from rnneval.registry import modules
from rnneval.wiring.evidence import Evidence

SEVERITIES = ("error", "warning", "info")


def all_rules() -> tuple[ModuleType, ...]:
    """Every rule's module, in the order of `ORDER`."""
    return tuple(sorted(modules(__name__), key=lambda module: (module.ORDER, module.NAME)))


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Everything that the rules find: errors first, each kind in the order of the rules."""
    found = [finding for rule in all_rules() for finding in _run(rule, evidence)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _run(rule: ModuleType, evidence: Evidence) -> Iterator[Finding]:
    yield from rule.find(evidence)


def this(name: str) -> ModuleType:
    """The module of a rule, for itself: its text goes into its findings."""
    return sys.modules[name]
