"""From facts to the record: run the finders, join what they see with the faults' pages, give the verdict.

A finding with a line of the author's source also gets that line as it should be.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Literal

import msgspec

from rnneval.pages import page
from rnneval.records.wiring import Finding, WiredLayer, Wiring
from rnneval.registry import modules
from rnneval.wiring import faults
from rnneval.wiring.evidence import Detection, Evidence, evidence, fold
from rnneval.wiring.facts import WiringFacts

SEVERITIES = ("error", "warning", "info")
_BESIDE = ("alone", "fresh", "training")
"""Tests of other settings: a right model may have none of them, and its table says why."""


def wiring_of(facts: WiringFacts) -> Wiring:
    """Judge the facts of one probing."""
    seen = evidence(facts)
    found = _with_variants(seen)
    verdict, reason = judge(seen, found)
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


@cache
def all_faults() -> tuple[ModuleType, ...]:
    """Return the modules of all faults that can be seen in a model that ran, in the order of `ORDER`."""
    found = [fault for fault in modules(faults.__name__) if hasattr(fault, "find")]
    return tuple(sorted(found, key=lambda fault: (fault.ORDER, fault.NAME)))


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Return everything that the finders see: errors first, each severity in the order of the faults."""
    return _errors_first(finding_of(fault, detection) for fault in all_faults() for detection in fault.find(evidence))


def finding_of(fault: ModuleType, detection: Detection) -> Finding:
    """Put a finding together: what was seen, and from the fault's page why it matters and what to write instead."""
    group = detection.group
    about = page(fault.NAME)
    instead = about.paragraph("What to write instead")
    if group is not None and getattr(fault, "CORRECTS", False):
        into = group.into
        line = corrected(group.event.at.code, into.path, into.slots, into.place, cell=not into.is_layer)
        if line:
            instead = f"write `{line}`, and return that state too: {instead[0].lower()}{instead[1:]}"
    return Finding(
        rule=fault.NAME,
        severity=detection.severity or fault.SEVERITY,
        layer=detection.at.layer,
        source_layer=group.source.name if group and group.source else None,
        file=detection.at.file,
        line=detection.at.line,
        message=f"{detection.seen}. {about.paragraph('Why it is wrong')}",
        help=instead,
    )


def _with_variants(evidence_of_model: Evidence) -> tuple[Finding, ...]:
    """Return all findings, with those that show in another setting only, each with its setting; errors stay first."""
    found = findings(evidence_of_model)
    known = {_key(finding) for finding in found}
    more: list[Finding] = []
    for setting, runs in evidence_of_model.variants.items():
        # Errors that every run of the setting shows; noise belongs to training.
        errors = [
            [found for found in findings(evidence(run)) if found.severity == "error" and found.rule != "noisy-state"]
            for run in runs
        ]
        shown = set.intersection(*({_key(finding) for finding in of_run} for of_run in errors))
        more += [
            msgspec.structs.replace(finding, message=f"Only {setting}: {finding.message}")
            for finding in errors[0]
            if _key(finding) in shown - known
        ]
    return _errors_first([*more, *found])


def _errors_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _key(finding: Finding) -> tuple[str | None, ...]:
    return finding.rule, finding.layer, finding.source_layer


def judge(evidence: Evidence, findings: Sequence[Finding]) -> tuple[Literal["pass", "fail", "inconclusive"], str]:
    """Return verdict and reason: any error fails, even where something could not be seen; what is clean passes."""
    errors = list(dict.fromkeys(finding.rule for finding in findings if finding.severity == "error"))
    if errors:
        return ("fail", ", ".join(errors))
    doubts = list(_doubts(evidence))
    if doubts:
        return ("inconclusive", "; ".join(doubts))
    count = len({(evidence.unit_of(arrival), arrival.slot) for arrival in evidence.arrivals})
    states = f"{count} {'state' if count == 1 else 'states'}"
    if evidence.wired_by == "rnneval":
        return ("pass", f"no state crosses between layers in the author's graph; rnneval carries the {states}")
    return ("pass", f"{states} seen carried into the same layer over {evidence.calls} calls, and the behaviour agrees")


def _doubts(evidence: Evidence) -> Iterator[str]:
    """Yield what could not be seen, or was seen and proves nothing."""
    if evidence.failure:
        yield evidence.failure
        return
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


def corrected(code: str, path: str, slots: Sequence[str], place: int = 1, *, cell: bool = False) -> str | None:
    """Rewrite the statement so that the unit takes and gives its own state; return None if it is not plain enough.

    Only plain statements are corrected: `x, state = self.gru_2(x, initial_state=state)` and its like.

    Args:
        code: One statement.
        path: How the author reaches the unit, such as `gru_2` or `enc.rnn`.
        slots: The names of the parts of its state.
        place: Which of its places in the call it is: each has a state of its own.
        cell: Whether it is a cell, which gives its states back in the form in which it takes them.

    Example:
        >>> corrected("x, states = self.gru_2(x, initial_state=states)", "gru_2", ["h"])
        'x, gru_2_state = self.gru_2(x, initial_state=gru_2_state)'
        >>> corrected("x, s = self.cell(x, [s1])", "cell", ["h"], cell=True)
        'x, (cell_state,) = self.cell(x, [cell_state])'
    """
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return None
    match body:
        case [
            ast.Assign(
                targets=[(ast.Tuple(elts=[_, _, *_]) | ast.List(elts=[_, _, *_])) as target],
                value=ast.Call() as call,
            ) as statement
        ] if f".{ast.unparse(call.func)}".endswith(f".{path}"):
            pass
        case _:
            return None
    stem = re.sub(r"\W+", "_", path if place == 1 else f"{path}_{place}").strip("_")
    parts = ["state"] if len(slots) == 1 else [re.sub(r"[^0-9A-Za-z]+", "_", slot) for slot in slots]
    names = [f"{stem}_{part}" for part in parts]
    keyword = next((k for k in call.keywords if k.arg in {"initial_state", "states", "state"}), None)
    given = keyword.value if keyword else call.args[1] if len(call.args) > 1 else None
    loads: list[ast.expr] = [ast.Name(name, ast.Load()) for name in names]
    own: ast.expr = loads[0]  # in the form in which the author passes one
    if isinstance(given, ast.Tuple):
        own = ast.Tuple(loads, ast.Load())
    elif isinstance(given, ast.List) or len(names) > 1:
        own = ast.List(loads, ast.Load())
    bound: list[ast.expr] = [ast.Name(name, ast.Store()) for name in names]
    match target.elts[1:]:
        case [ast.Starred()]:
            own = ast.Name(f"{stem}_states", ast.Load())
            target.elts[1:] = [ast.Starred(ast.Name(own.id, ast.Store()), ast.Store())]
        case [ast.Tuple(elts=[*inner]) | ast.List(elts=[*inner])] if len(inner) == len(names):
            target.elts[1:] = [ast.Tuple(bound, ast.Store())]
        case rest if len(rest) == len(names):
            nested = cell and isinstance(own, ast.Tuple | ast.List)
            target.elts[1:] = [ast.Tuple(bound, ast.Store())] if nested else bound
        case _:
            return None
    if keyword:
        keyword.value = own
    elif given is not None:
        call.args[1] = own
    else:
        call.keywords.insert(0, ast.keyword("initial_state", own))
    return ast.unparse(ast.fix_missing_locations(statement))
