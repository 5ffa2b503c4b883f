"""One layer object is used as two layers of a stack."""

from rnneval.wiring.evidence import Detections, Evidence

NAME, SEVERITY, ORDER = "shared-layer", "error", 35


def find(evidence: Evidence) -> Detections:
    """Find layers that read what they gave, stacks of one cell, and two layers of one cell."""
    yield from _run_again(evidence)
    yield from _stacked_twice(evidence)
    yield from _in_two_layers(evidence)


def _run_again(evidence: Evidence) -> Detections:
    """Find layers whose second input descends from their first output, at one place or at another."""
    facts = evidence.facts

    def path(event: int) -> str:
        return facts.units[facts.events[event].unit].path

    for unit, fact in enumerate(facts.units):
        if not fact.reused or fact.place > 1 or fact.names & facts.declared.shared:
            continue
        own = [arrival for arrival in facts.arrivals if path(arrival.event) == fact.path]
        again = [a for a in own if any(path(other) == fact.path for other in facts.events[a.event].descends)]
        seen = f"{fact.name} runs more than once in one call and reads what it gave itself"
        yield evidence.group(unit, again or own).found(f"{seen}: one object stands for several layers")


def _stacked_twice(evidence: Evidence) -> Detections:
    """Find cell objects that stand several times in one stack."""
    facts = evidence.facts
    for unit, fact in enumerate(facts.units):
        places: dict[int, list[str]] = {}
        for place, number in fact.cells:
            places.setdefault(number, []).append(place)
        for same in places.values():
            if len(same) > 1 and fact.place == 1 and not fact.names & facts.declared.shared:
                group = evidence.group(unit, (a for a in facts.arrivals if facts.unit_of(a) == unit))
                yield group.found(
                    f"{' and '.join(same)} of {fact.name} are one object: one cell stands for several layers"
                )


def _in_two_layers(evidence: Evidence) -> Detections:
    """Find layers that read what another layer with the same cell object gave; each has a state of its own."""
    facts = evidence.facts
    # One recurrence that is written in two ways (a layer over the text, its cell for what follows) hands its state on.
    linked = {(facts.unit_of(source), facts.unit_of(a)) for a in facts.arrivals for source in a.sources}
    pairs = {
        (facts.events[other].unit, event.unit): arrival
        for arrival in reversed(facts.arrivals)
        for event in [facts.events[arrival.event]]
        for other in event.descends
        if facts.events[other].call == event.call
    }
    for below, above in sorted(pairs.keys() - linked):
        one, two = facts.units[below], facts.units[above]
        shared = {number for _, number in one.cells} & {number for _, number in two.cells}
        if shared and one.path != two.path and not (one.names | two.names) & facts.declared.shared:
            seen = f"{two.name} has the cell of {one.name}, whose outputs it reads: one object stands for two layers"
            yield evidence.group(above, [pairs[below, above]], below).found(seen)
