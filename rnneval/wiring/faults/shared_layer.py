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

    def path(event: int) -> str:
        return evidence.units[evidence.events[event].unit].path

    for unit, fact in enumerate(evidence.units):
        if not fact.reused or fact.place > 1 or fact.names & evidence.declared.shared:
            continue
        own = [arrival for arrival in evidence.arrivals if path(arrival.event) == fact.path]
        again = [a for a in own if any(path(other) == fact.path for other in evidence.events[a.event].descends)]
        seen = f"{fact.name} runs more than once in one call and reads what it gave itself"
        yield evidence.group(unit, again or own).found(f"{seen}: one object stands for several layers")


def _stacked_twice(evidence: Evidence) -> Detections:
    """Find cell objects that stand several times in one stack."""
    for unit, fact in enumerate(evidence.units):
        places: dict[int, list[str]] = {}
        for place, number in fact.cells:
            places.setdefault(number, []).append(place)
        for same in places.values():
            if len(same) > 1 and fact.place == 1 and not fact.names & evidence.declared.shared:
                group = evidence.group(unit, (a for a in evidence.arrivals if evidence.unit_of(a) == unit))
                yield group.found(
                    f"{' and '.join(same)} of {fact.name} are one object: one cell stands for several layers"
                )


def _in_two_layers(evidence: Evidence) -> Detections:
    """Find layers that read what another layer with the same cell object gave; each has a state of its own."""
    # One recurrence that is written in two ways (a layer over the text, its cell for what follows) hands its state on.
    linked = {(evidence.unit_of(source), evidence.unit_of(a)) for a in evidence.arrivals for source in a.sources}
    pairs = {
        (evidence.events[other].unit, event.unit): arrival
        for arrival in reversed(evidence.arrivals)
        for event in [evidence.events[arrival.event]]
        for other in event.descends
        if evidence.events[other].call == event.call
    }
    for below, above in sorted(pairs.keys() - linked):
        one, two = evidence.units[below], evidence.units[above]
        shared = {number for _, number in one.cells} & {number for _, number in two.cells}
        if shared and one.path != two.path and not (one.names | two.names) & evidence.declared.shared:
            seen = f"{two.name} has the cell of {one.name}, whose outputs it reads: one object stands for two layers"
            yield evidence.group(above, [pairs[below, above]], below).found(seen)
