"""One layer object is used as two layers of a stack."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "shared-layer"
SEVERITY = "error"
ORDER = 35


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find layers whose second input descends from their first output, at one place or at another."""
    facts = evidence.facts

    def path(event: int) -> str:
        return facts.units[facts.events[event].unit].path

    for unit, fact in enumerate(facts.units):
        if not fact.reused or fact.place > 1 or fact.names & facts.declared.shared:
            continue
        items = [item for item in evidence.kinds if path(item.arrival.event) == fact.path]
        again = [
            item
            for item in items
            if any(path(other) == fact.path for other in facts.events[item.arrival.event].descends)
        ]
        seen = f"{fact.name} runs more than once in one call and reads what it gave itself"
        yield evidence.detection(f"{seen}: one object stands for several layers", evidence.group(unit, again or items))
