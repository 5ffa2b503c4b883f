"""From facts to the record: classify, run the rules, give the verdict. Pure, and without TensorFlow."""

import msgspec

from rnneval.records.wiring import Finding, WiredLayer, Wiring
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import Facts, Variant
from rnneval.wiring.flows import fold
from rnneval.wiring.rules import SEVERITIES, findings
from rnneval.wiring.verdict import judge


def wiring_of(facts: Facts) -> Wiring:
    """Judge what was seen."""
    seen = evidence(facts)
    facts, found = seen.facts, _with_variants(seen.facts, findings(seen))
    verdict, reason = judge(seen, found)
    return Wiring(
        verdict=verdict,
        reason=reason,
        layers=tuple(WiredLayer(name=u.name, path=u.path, kind=u.kind, slots=u.slots) for u in facts.units),
        flow=fold(facts, seen.kinds),
        findings=found,
        oracles=dict(facts.oracles),
        declared=facts.declared.given,
        calls=facts.calls,
        wired_by=facts.wired_by,
    )


def _with_variants(facts: Facts, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Add the faults that show in another setting only, each with its setting; errors stay first."""
    known = {_key(finding) for finding in found}
    more = [
        msgspec.structs.replace(finding, message=f"Only {variant.when}: {finding.message}")
        for variant in facts.variants
        for finding in _everywhere(variant)
        if _key(finding) not in known
    ]
    return tuple(sorted([*more, *found], key=lambda finding: SEVERITIES.index(finding.severity)))


def _everywhere(variant: Variant) -> list[Finding]:
    """The faults that every run of a setting shows."""
    first, *others = (_faults(run) for run in variant.runs)
    keys = [{_key(finding) for finding in run} for run in others]
    return [finding for finding in first if all(_key(finding) in run for run in keys)]


def _faults(facts: Facts) -> list[Finding]:
    """The errors of a setting; noise belongs to training, and that of one row was seen in the batch."""
    return [f for f in findings(evidence(facts)) if f.severity == "error" and f.rule != "noisy-state"]


def _key(finding: Finding) -> tuple[str | None, ...]:
    return finding.rule, finding.layer, finding.source_layer
