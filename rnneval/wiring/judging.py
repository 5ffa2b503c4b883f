"""From facts to the record: classify, run the rules, give the verdict. Pure, and without TensorFlow."""

from rnneval.records.wiring import WiredLayer, Wiring
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import Facts
from rnneval.wiring.flows import fold
from rnneval.wiring.rules import findings
from rnneval.wiring.verdict import judge


def wiring_of(facts: Facts) -> Wiring:
    """Judge what was seen."""
    seen = evidence(facts)
    facts, found = seen.facts, findings(seen)
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
