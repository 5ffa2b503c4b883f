"""From facts to the record: run the finders, join what they see with the faults' pages, give the verdict."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Literal, NamedTuple

import msgspec

from rnneval.records.wiring import Finding, WiredLayer, Wiring
from rnneval.registry import modules
from rnneval.wiring import faults
from rnneval.wiring.correction import corrected
from rnneval.wiring.evidence import Detection, Evidence, Group, evidence, fold
from rnneval.wiring.facts import Facts, Variant

SEVERITIES = ("error", "warning", "info")
_BESIDE = ("alone", "fresh", "training")
"""Tests of other settings: a right model may have none of them, and its table says why."""


def wiring_of(facts: Facts) -> Wiring:
    """Judge the facts of one probing."""
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


@cache
def all_faults() -> tuple[ModuleType, ...]:
    """Return the modules of all faults that can be seen in a model that ran, in the order of `ORDER`."""
    found = [fault for fault in modules(faults.__name__) if hasattr(fault, "find")]
    return tuple(sorted(found, key=lambda fault: (fault.ORDER, fault.NAME)))


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Return everything that the finders see: errors first, each severity in the order of the faults."""
    found = [finding_of(fault, detection) for fault in all_faults() for detection in fault.find(evidence)]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def finding_of(fault: ModuleType, detection: Detection) -> Finding:
    """Put a finding together: what was seen, and from the fault's page why it matters and what to write instead."""
    group = detection.group
    return Finding(
        rule=fault.NAME,
        severity=detection.severity or fault.SEVERITY,
        layer=detection.at.layer,
        source_layer=group.source.name if group and group.source else None,
        file=detection.at.file,
        line=detection.at.line,
        message=f"{detection.seen}. {_paragraph(fault, 'Why it is wrong')}",
        help=_help(fault, group),
    )


def _help(fault: ModuleType, group: Group | None) -> str:
    line = None
    if group is not None and getattr(fault, "CORRECTS", False):
        into = group.into
        line = corrected(group.event.code, into.path, into.slots, into.place, cell=not into.is_layer)
    general = _paragraph(fault, "What to write instead")
    return f"write `{line}`, and return that state too: {general[0].lower()}{general[1:]}" if line else general


def _paragraph(fault: ModuleType, title: str) -> str:
    """Return the first paragraph of a section of the page, in one line."""
    text = fault.__doc__ or ""
    match = re.search(rf"^## {re.escape(title)}\n+(.+?)(?:\n\n|\n```|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(match.group(1).split()) if match else ""


def _with_variants(facts: Facts, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Add the faults that show in another setting only, each with its setting; errors stay first."""
    known = {_key(finding) for finding in found}
    more = [
        msgspec.structs.replace(finding, message=f"Only {variant.when}: {finding.message}")
        for variant in facts.variants
        for finding in _faults_of(variant)
        if _key(finding) not in known
    ]
    return tuple(sorted([*more, *found], key=lambda finding: SEVERITIES.index(finding.severity)))


def _faults_of(variant: Variant) -> list[Finding]:
    """Return the errors that every run of a setting shows; noise belongs to training."""
    first, *others = (
        [found for found in findings(evidence(run)) if found.severity == "error" and found.rule != "noisy-state"]
        for run in variant.runs
    )
    keys = [{_key(finding) for finding in run} for run in others]
    return [finding for finding in first if all(_key(finding) in run for run in keys)]


def _key(finding: Finding) -> tuple[str | None, ...]:
    return finding.rule, finding.layer, finding.source_layer


class Verdict(NamedTuple):
    """The verdict on the whole model, with its reason."""

    verdict: Literal["pass", "fail", "inconclusive"]
    reason: str


def judge(evidence: Evidence, findings: Sequence[Finding]) -> Verdict:
    """Fail on any error, even where something else could not be seen; pass when everything was seen and is clean."""
    errors = list(dict.fromkeys(finding.rule for finding in findings if finding.severity == "error"))
    if errors:
        return Verdict("fail", ", ".join(errors))
    doubts = list(_doubts(evidence))
    if doubts:
        return Verdict("inconclusive", "; ".join(doubts))
    facts = evidence.facts
    states = len({(facts.events[item.arrival.event].unit, item.arrival.slot) for item in evidence.kinds})
    noun = "state" if states == 1 else "states"
    if facts.wired_by == "rnneval":
        return Verdict(
            "pass", f"no state crosses between layers in the author's graph; rnneval carries the {states} {noun}"
        )
    return Verdict(
        "pass", f"{states} {noun} seen carried into the same layer over {facts.calls} calls, and the behaviour agrees"
    )


def _doubts(evidence: Evidence) -> Iterator[str]:
    """Yield what could not be seen, or was seen and proves nothing."""
    facts = evidence.facts
    if facts.failure:
        yield facts.failure
        return
    if not facts.events:
        yield (
            "no recurrent layer or cell ran that could be watched (a recurrence written by hand, or a loaded "
            "signature): the wiring was not seen, only the behaviour was tested"
        )
    if evidence.has("unknown"):
        why = next((item.arrival.unknown for item in evidence.kinds if item.arrival.unknown), "")
        yield f"the sources of {_slots(evidence, 'unknown')} could not be followed: {why}"
    if evidence.has("dropped"):
        yield (
            f"the model neither takes nor returns states, so {_slots(evidence, 'dropped')} begins anew at every call "
            "and there is no wiring to prove (declare stateless=LAYER if that is meant)"
        )
    for name, oracle in facts.oracles.items():
        if oracle.verdict == "inconclusive" and name not in _BESIDE:
            yield f"oracle {name}: {oracle.detail}"
        elif name == "repeat" and oracle.verdict == "fail":
            yield f"the model gives different logits for the same calls: {oracle.detail}"


def _slots(evidence: Evidence, kind: str) -> str:
    facts = evidence.facts
    found = (facts.slot(item.arrival.event, item.arrival.slot) for item in evidence.kinds if item.kind == kind)
    return ", ".join(dict.fromkeys(found))
