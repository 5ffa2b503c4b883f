"""From facts to the record: run the finders, join what they see with the faults' pages, give the verdict."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from rnneval.pages import page
from rnneval.records.wiring import Finding, WiredLayer, Wiring
from rnneval.wiring.evidence import Detection, Evidence, evidence, fold
from rnneval.wiring.facts import WiringFacts
from rnneval.wiring.faults import FAULTS

_SEVERITIES = ("error", "warning", "info")
_BESIDE = ("alone", "fresh", "training")
"""Tests of other settings: a right model may have none of them, and its table says why."""


def wiring_of(facts: WiringFacts) -> Wiring:
    """Judge the facts of one probing."""
    seen = evidence(facts)
    found = _with_variants(seen)
    verdict, reason = _judge(seen, found)
    return Wiring(
        verdict=verdict,
        reason=reason,
        layers=tuple(WiredLayer(name=u.name, path=u.path, kind=u.kind, slots=u.slots) for u in seen.units),
        flow=fold(seen),
        findings=found,
        oracles=dict(seen.oracles),
        declared=seen.declared.given,
        calls=seen.calls,
        wired_by=seen.wired_by,
    )


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Return everything that the finders see: errors first, each severity in the order of the faults."""
    return errors_first(
        finding_of(name, detection)
        for name, fault in FAULTS.items()
        if fault.find is not None
        for detection in fault.find(evidence)
    )


def finding_of(fault: str, detection: Detection) -> Finding:
    """Put a finding together: what was seen, and from the fault's page why it matters and what to write instead."""
    group, about = detection.group, page(fault)
    instead = about.paragraph("What to write instead")
    if group is not None and FAULTS[fault].corrects and group.into.is_layer and group.into.place == 1:
        line = corrected(group.event.at.code, group.into.path, group.into.slots)
        if line:
            instead = f"write `{line}`, and return that state too: {instead[0].lower()}{instead[1:]}"
    return Finding(
        rule=fault,
        severity=detection.severity or FAULTS[fault].severity,
        layer=detection.at.layer,
        source_layer=group.source.name if group and group.source else None,
        file=detection.at.file,
        line=detection.at.line,
        message=f"{detection.seen}. {about.paragraph('Why it is wrong')}",
        help=instead,
    )


def _with_variants(evidence_of_model: Evidence) -> tuple[Finding, ...]:
    """Return all findings, with the errors that every run of another setting shows, and those of no setting."""

    def key(finding: Finding) -> tuple[str | None, ...]:
        return finding.rule, finding.layer, finding.source_layer

    found = findings(evidence_of_model)
    known = {*map(key, found)}
    more: list[Finding] = []
    for setting, runs in evidence_of_model.variants.items():
        errors = [  # noise belongs to training
            [each for each in findings(evidence(run)) if each.severity == "error" and each.rule != "noisy-state"]
            for run in runs
        ]
        shown = set.intersection(*({*map(key, of_run)} for of_run in errors))
        more += [
            msgspec.structs.replace(finding, message=f"Only {setting}: {finding.message}")
            for finding in errors[0]
            if key(finding) in shown - known
        ]
    return errors_first([*more, *found])


def errors_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of their severities."""
    return tuple(sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity)))


def _judge(evidence: Evidence, findings: Sequence[Finding]) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Return verdict and reason: any error fails, even where something could not be seen; what is clean passes."""
    errors = list(dict.fromkeys(finding.rule for finding in findings if finding.severity == "error"))
    if errors:
        return ("fail", ", ".join(errors))
    doubts = [evidence.failure] if evidence.failure else [*_doubts(evidence)]
    if doubts:
        return ("inconclusive", "; ".join(doubts))
    count = len({(evidence.unit_of(arrival), arrival.slot) for arrival in evidence.arrivals})
    states = f"{count} {'state' if count == 1 else 'states'}"
    if evidence.wired_by == "rnneval":
        return ("pass", f"no state crosses between layers in the author's graph; rnneval carries the {states}")
    if declared := evidence.declared.given:
        return ("pass", f"{states} seen over {evidence.calls} calls, and {as_declared(declared)}")
    return ("pass", f"{states} seen carried into the same layer over {evidence.calls} calls, and the behaviour agrees")


def as_declared(declared: Sequence[str]) -> str:
    """Return the words about a model that passes by what its author declared."""
    return f"what was found is declared: {', '.join(declared)}"


def _doubts(evidence: Evidence) -> Iterator[str]:
    """Yield what could not be seen, or was seen and proves nothing."""
    if not evidence.events:
        yield (
            "no recurrent layer or cell ran that could be watched (a recurrence written by hand, or a loaded "
            "signature): the wiring was not seen, only the behaviour was tested"
        )
    if evidence.trace.uncompared:
        yield evidence.trace.uncompared
    unknown, dropped = (
        ", ".join(dict.fromkeys(evidence.named(arrival) for arrival in evidence.arrivals if arrival.kind == kind))
        for kind in ("unknown", "dropped")
    )
    if unknown:
        why = next(arrival.unknown for arrival in evidence.arrivals if arrival.unknown)
        yield f"the sources of {unknown} could not be followed: {why}"
    if dropped:
        yield (
            f"the model neither takes nor returns states, so {dropped} begins anew at every call and there is no "
            "wiring to prove (declare stateless=LAYER if that is meant)"
        )
    for name, oracle in evidence.oracles.items():
        if oracle.verdict == "inconclusive" and name not in _BESIDE:
            yield f"oracle {name}: {oracle.detail}"
        elif name == "repeat" and oracle.verdict == "fail":
            yield f"the model gives different logits for the same calls: {oracle.detail}"


def corrected(code: str, path: str, slots: Sequence[str]) -> str | None:
    """Rewrite the call of a layer so that it takes and gives its own state; None where the statement is not plain.

    Example:
        >>> corrected("x, states = self.gru_2(x, initial_state=states)", "gru_2", ["h"])
        'x, gru_2_state = self.gru_2(x, initial_state=gru_2_state)'
    """
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return None
    match body:
        case [ast.Assign(targets=[ast.Tuple(elts=[output, _, *_])], value=ast.Call() as call)]:
            stem = re.sub(r"\W+", "_", path).strip("_")
        case _:
            return None
    if not f".{ast.unparse(call.func)}".endswith(f".{path}"):
        return None
    parts = ["state"] if len(slots) == 1 else [re.sub(r"\W+", "_", slot) for slot in slots]
    names = ", ".join(f"{stem}_{part}" for part in parts)
    own = ast.Name(names if len(slots) == 1 else f"[{names}]")
    keyword = next((each for each in call.keywords if each.arg == "initial_state"), None)
    if keyword:
        keyword.value = own
    elif len(call.args) > 1:
        call.args[1] = own
    else:
        call.keywords.insert(0, ast.keyword("initial_state", own))
    return f"{ast.unparse(output)}, {names} = {ast.unparse(call)}"
