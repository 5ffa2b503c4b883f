"""From arrivals to the entries of the flow matrix: each slot that went into a unit gets a kind."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from rnneval.records.wiring import Flow, Slot
from rnneval.wiring.facts import Arrival, Event, Facts, Source

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
    """Give every arrival its kind: see the table in docs, wiring."""
    passes = Passes(facts)
    return tuple(_kind(facts, arrival, passes) for arrival in facts.arrivals)


class Passes:
    """Which events of a unit come before which: looked up often, so worked out once."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._of_unit: dict[int, list[int]] = {}
        for index, event in enumerate(facts.events):
            self._of_unit.setdefault(event.unit, []).append(index)
        self.shared = frozenset(_reused(facts, self._of_unit))

    def before(self, event: int) -> tuple[int, ...]:
        """The events whose state an event may carry on: the unit's last one.

        A unit that is reused within a call has one state for each of its places in the call, or one for all: both
        are taken, since the reuse itself is judged by another rule.
        """
        unit = self._facts.events[event].unit
        mine = self._of_unit[unit]
        at = mine.index(event)
        found = set(mine[max(at - 1, 0) : at])
        if unit in self.shared:
            call = self._facts.events[event].call
            turn = sum(1 for other in mine[:at] if self._facts.events[other].call == call)
            found |= set([other for other in mine if self._facts.events[other].call == call - 1][turn : turn + 1])
        return tuple(sorted(found))

    def is_first(self, event: int) -> bool:
        """Whether the unit ran here for the first time."""
        return self._of_unit[self._facts.events[event].unit][0] == event


def reused_units(facts: Facts) -> tuple[int, ...]:
    """The units that read, in one call, what they themselves gave in that call, other than token by token."""
    return tuple(sorted(Passes(facts).shared))


def _reused(facts: Facts, of_unit: dict[int, list[int]]) -> Iterator[int]:
    for unit, mine in of_unit.items():
        for call in {facts.events[event].call for event in mine}:
            within = [event for event in mine if facts.events[event].call == call]
            if _stacked(facts, within):
                yield unit
                break


def _stacked(facts: Facts, within: list[int]) -> bool:
    """Whether these events of one unit in one call are layers of a stack, and not the steps of a loop over tokens."""
    fed_back = any(
        earlier in facts.events[later].descends for at, later in enumerate(within) for earlier in within[:at]
    )
    by_token = len(within) <= facts.tokens and all(facts.events[event].steps == 1 for event in within)
    return fed_back and not (by_token and _chained(facts, within))


def _chained(facts: Facts, within: list[int]) -> bool:
    return all(
        any(a.event == later and any(s.event == earlier for s in a.sources) for a in facts.arrivals)
        for earlier, later in pairwise(within)
    )


def _kind(facts: Facts, arrival: Arrival, passes: Passes) -> Kind:
    before = passes.before(arrival.event)
    own = {Source(event, arrival.slot) for event in before}
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
        return "mixed" if same_slot else "swapped"
    return _kind_of_own(arrival, same_slot, own)


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
        (anew or passes.is_first(event))
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
    unit = facts.units[facts.events[event].unit]
    return unit.name in names or unit.path in names


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
        return ["random" if item.arrival.random else "initial"]
    return sorted({(facts.events[s.event].unit, s.slot) for s in item.arrival.sources})


def _slot(facts: Facts, unit: int, slot: int) -> Slot:
    return Slot(layer=facts.units[unit].name, slot=facts.units[unit].slots[slot])
