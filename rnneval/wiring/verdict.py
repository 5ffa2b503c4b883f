"""The verdict, from what was seen and found: pass, fail, or inconclusive with the reason."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from rnneval.records.wiring import Finding
from rnneval.wiring.evidence import Evidence

_BESIDE = ("alone", "fresh", "training")
"""Tests of other settings: a right model may have none of them, and its table says why."""


class Verdict(NamedTuple):
    """What is said of the whole model."""

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
    return Verdict("pass", _what_was_seen(evidence))


def _doubts(evidence: Evidence) -> Iterator[str]:
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
        yield f"the sources of {', '.join(_slots(evidence, 'unknown'))} could not be followed: {_why_unknown(evidence)}"
    if evidence.has("dropped"):
        yield (
            f"the model neither takes nor returns states, so {', '.join(_slots(evidence, 'dropped'))} begins anew at "
            "every call and there is no wiring to prove (declare stateless=LAYER if that is meant)"
        )
    for name, oracle in facts.oracles.items():
        if oracle.verdict == "inconclusive" and name not in _BESIDE:
            yield f"oracle {name}: {oracle.detail}"
        elif name == "repeat" and oracle.verdict == "fail":
            yield f"the model gives different logits for the same calls: {oracle.detail}"


def _slots(evidence: Evidence, kind: str) -> list[str]:
    facts = evidence.facts
    found = (facts.slot(item.arrival.event, item.arrival.slot) for item in evidence.kinds if item.kind == kind)
    return list(dict.fromkeys(found))


def _why_unknown(evidence: Evidence) -> str:
    return next((item.arrival.unknown for item in evidence.kinds if item.arrival.unknown), "")


def _what_was_seen(evidence: Evidence) -> str:
    facts = evidence.facts
    slots = len({(facts.events[item.arrival.event].unit, item.arrival.slot) for item in evidence.kinds})
    noun = "slot" if slots == 1 else "slots"
    if facts.wired_by == "rnneval":
        return f"no state crosses between layers in the author's graph; rnneval carries the {slots} {noun}"
    return f"{slots} {noun} seen carried into the same layer over {facts.calls} calls, and the behaviour agrees"
