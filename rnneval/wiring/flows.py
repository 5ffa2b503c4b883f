"""From arrivals to the entries of the flow matrix: each slot that went into a unit gets a kind."""

from collections.abc import Iterable
from dataclasses import dataclass

from rnneval.records.wiring import Flow, Slot
from rnneval.wiring.facts import Arrival, Event, Facts, Source, UnitFact

SEEN_RIGHT = ("carried", "carried-transformed", "handoff", "initial", "declared", "uncarried")
"""Kinds that speak for the wiring, or at least not against it."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An arrival with its kind."""

    arrival: Arrival
    kind: str
    foreign: tuple[Source, ...] = ()
    """The sources that do not belong there."""


def classify(facts: Facts) -> tuple[Kind, ...]:
    """Return the kind of every arrival, where each place of a layer is a unit (`by_place`): see docs, wiring."""
    passes = Passes(facts)
    return tuple(_kind(facts, arrival, passes) for arrival in facts.arrivals)


class Passes:
    """Which events of a unit come before which: looked up often, so worked out once."""

    def __init__(self, facts: Facts) -> None:
        self._before: dict[int, int | None] = {}
        last: dict[int, int] = {}
        for index, event in enumerate(facts.events):
            self._before[index] = last.get(event.unit)
            last[event.unit] = index

    def before(self, event: int) -> int | None:
        """Return the event whose state an event may carry on, the unit's last one; None where it is the first."""
        return self._before[event]


def _kind(facts: Facts, arrival: Arrival, passes: Passes) -> Kind:
    before = passes.before(arrival.event)
    own = set() if before is None else {Source(before, arrival.slot)}
    kind = _kind_of_nothing(facts, arrival) if not arrival.sources else _kind_of_sources(facts, arrival, own, passes)
    foreign = tuple(sorted(arrival.sources - own)) if kind not in SEEN_RIGHT else ()
    return Kind(arrival=arrival, kind=kind, foreign=foreign)


def _kind_of_sources(facts: Facts, arrival: Arrival, own: set[Source], passes: Passes) -> str:
    if arrival.unknown:
        return "unknown"
    event = facts.events[arrival.event]
    others = {s for s in arrival.sources if facts.events[s.event].unit != event.unit}
    mine = arrival.sources - others
    same_slot = frozenset(s for s in mine if s.slot == arrival.slot)
    if others:
        return _kind_of_others(facts, arrival, others, mine, passes)
    if mine - same_slot:
        return "mixed" if same_slot else _kind_of_other_slots(facts.units[event.unit], arrival, mine)
    return _kind_of_own(arrival, same_slot, own)


def _kind_of_other_slots(unit: UnitFact, arrival: Arrival, mine: frozenset[Source]) -> str:
    """Stacked cells of one layer are crossed like layers; the parts of one cell are swapped."""
    cells = {unit.slots[slot].rpartition(".")[0] for slot in (arrival.slot, *(s.slot for s in mine))}
    return "swapped" if len(cells) == 1 else "crossed"


def _kind_of_own(arrival: Arrival, same_slot: frozenset[Source], own: set[Source]) -> str:
    if not (same_slot & own):
        return "stale"
    if not arrival.in_place:
        return "misplaced"
    if arrival.missing:
        return "partial"
    return "carried-transformed" if arrival.transformed or same_slot - own else "carried"


def _kind_of_others(
    facts: Facts, arrival: Arrival, others: set[Source], mine: frozenset[Source], passes: Passes
) -> str:
    if _declared(facts, arrival.event, facts.declared.mixed):
        return "declared"
    if _is_handoff(facts, arrival.event, others, passes) and not mine:
        return "handoff"
    if mine:
        return "mixed"
    if _twins(facts, arrival.event, others):
        return "swapped"
    return "crossed"


def _twins(facts: Facts, event: int, others: set[Source]) -> bool:
    twin = facts.units[facts.events[event].unit].twin
    return twin is not None and {facts.events[s.event].unit for s in others} == {twin}


def _is_handoff(facts: Facts, event: int, others: set[Source], passes: Passes) -> bool:
    """Whether an encoder gives its last state to a decoder: they read different texts, and it happens once.

    In a graph that carries nothing, and in a layer declared stateless, every call is the first.
    """
    receiver = facts.events[event]
    givers = [facts.events[s.event] for s in others]
    anew = facts.wired_by == "rnneval" or _declared(facts, event, facts.declared.stateless)
    return (
        (anew or passes.before(event) is None)
        and not any(s.event in receiver.descends for s in others)
        and not any(giver.reads & receiver.reads for giver in givers)
    )


def _kind_of_nothing(facts: Facts, arrival: Arrival) -> str:
    event = facts.events[arrival.event]
    if arrival.unknown:
        return "unknown"
    if event.call == 0:
        return "initial"
    if _declared(facts, arrival.event, facts.declared.stateless):
        return "declared"
    return _kind_of_fresh(facts, arrival, event)


def _kind_of_fresh(facts: Facts, arrival: Arrival, event: Event) -> str:
    made_before = arrival.born is not None and arrival.born < event.call
    if arrival.random and not made_before:
        return "random"
    if facts.wired_by == "rnneval" or _reads_its_own_text(facts, event):
        return "uncarried"
    if made_before:
        return "stale"
    return "fresh" if _is_given_back(facts, arrival) else "dropped"


def _is_given_back(facts: Facts, arrival: Arrival) -> bool:
    event = facts.events[arrival.event]
    if facts.units[event.unit].stateful:
        return True
    last = facts.returned[event.call - 1] if event.call <= len(facts.returned) else frozenset()
    return any(facts.events[s.event].unit == event.unit and s.slot == arrival.slot for s in last)


def _reads_its_own_text(facts: Facts, event: Event) -> bool:
    """An encoder that reads its own source anew at every call begins anew by right."""
    others = [other for other in facts.events if other.unit != event.unit and "ids" in other.reads]
    given = {
        facts.events[source.event].unit for arrival in facts.arrivals for source in arrival.sources
        if facts.events[arrival.event].unit != event.unit
    }  # fmt: skip
    return bool(others) and "ids" not in event.reads and event.unit in given


def _declared(facts: Facts, event: int, names: Iterable[str]) -> bool:
    return not facts.units[facts.events[event].unit].names.isdisjoint(names)


def fold(facts: Facts, kinds: Iterable[Kind]) -> tuple[Flow, ...]:
    """Fold the events of all calls into the entries of the matrix."""
    calls: dict[tuple[int, int, tuple[int, int] | str, str], set[int]] = {}
    for item in kinds:
        event = facts.events[item.arrival.event]
        for source in _origins(facts, item):
            key = (event.unit, item.arrival.slot, source, item.kind)
            calls.setdefault(key, set()).add(event.call)
    return tuple(
        Flow(
            into=_slot(facts, unit, slot),
            source=source if isinstance(source, str) else _slot(facts, *source),
            kind=kind,
            calls=tuple(sorted(seen)),
        )
        for (unit, slot, source, kind), seen in calls.items()
    )


def _origins(facts: Facts, item: Kind) -> list[tuple[int, int] | str]:
    if item.kind == "unknown":
        return ["unknown"]
    if not item.arrival.sources:
        return ["random" if item.arrival.random else "outputs" if item.arrival.outputs else "initial"]
    return sorted({(facts.events[s.event].unit, s.slot) for s in item.arrival.sources})


def _slot(facts: Facts, unit: int, slot: int) -> Slot:
    return Slot(layer=facts.units[unit].name, slot=facts.units[unit].slots[slot])
