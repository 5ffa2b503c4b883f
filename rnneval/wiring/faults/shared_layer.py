"""One layer object is used as two layers of a stack."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "shared-layer"
SEVERITY = "error"
ORDER = 35


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find layers that read what they gave, stacks of one cell, and two layers of one cell."""
    yield from _run_again(evidence)
    yield from _stacked_twice(evidence)
    yield from _in_two_layers(evidence)


def _stacked_twice(evidence: "Evidence") -> Iterator["Detection"]:
    """Find cell objects that stand several times in one stack."""
    facts = evidence.facts
    for unit, fact in enumerate(facts.units):
        places: dict[int, list[str]] = {}
        for place, number in fact.cells:
            places.setdefault(number, []).append(place)
        for same in places.values():
            if len(same) > 1 and fact.place == 1 and not fact.names & facts.declared.shared:
                items = [item for item in evidence.kinds if facts.events[item.arrival.event].unit == unit]
                seen = f"{' and '.join(same)} of {fact.name} are one object: one cell stands for several layers"
                yield evidence.detection(seen, evidence.group(unit, items))


def _in_two_layers(evidence: "Evidence") -> Iterator["Detection"]:
    """Find layers that read what another layer with the same cell object gave; each has a state of its own."""
    facts = evidence.facts
    unit_of = [event.unit for event in facts.events]
    # One recurrence that is written in two ways (a layer over the text, its cell for what follows) hands its state on.
    linked = {(unit_of[s.event], unit_of[arrival.event]) for arrival in facts.arrivals for s in arrival.sources}
    pairs = {
        (unit_of[other], event.unit): item
        for item in reversed(evidence.kinds)
        for event in [facts.events[item.arrival.event]]
        for other in event.descends
        if facts.events[other].call == event.call
    }
    for below, above in sorted(pairs.keys() - linked):
        one, two = facts.units[below], facts.units[above]
        shared = {number for _, number in one.cells} & {number for _, number in two.cells}
        if shared and one.path != two.path and not (one.names | two.names) & facts.declared.shared:
            seen = f"{two.name} has the cell of {one.name}, whose outputs it reads: one object stands for two layers"
            yield evidence.detection(seen, evidence.group(above, [pairs[below, above]], below))


def _run_again(evidence: "Evidence") -> Iterator["Detection"]:
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
