"""The evidence that finders look at: the facts of one probing, each arrival with its kind, grouped by layer.

An *arrival* is one part of the state that went into one run of a unit; a *unit* is a recurrent layer or free cell, at
one of its places. A *finder* looks for one fault. `evidence` gives each arrival a kind (carried, crossed, stale, …;
docs, wiring lists them), and `fold` makes the entries of the flow matrix out of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from rnneval.models.protocol import place_name, places_of
from rnneval.records.wiring import Flow, Slot
from rnneval.wiring.facts import Spot, StateArrival, StateSource, UnitEvent, UnitFact, WiringFacts

SEEN_RIGHT = ("carried", "carried-transformed", "handoff", "initial", "declared", "uncarried")
"""Kinds that speak for the wiring, or at least not against it."""
_LOST = ("stale", "fresh", "dropped", "partial")
Severity = Literal["error", "warning", "info"]
_Links = set[tuple[int, int]]  # pairs of events: the later one got something from the earlier one


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A fault that a finder saw in a model that ran, still without the text of its page."""

    sentence: str  # what was seen, without a full stop
    severity: Severity | None = None  # another severity than that of the fault
    at: Spot = Spot()  # noqa: RUF009 - it is frozen
    source_layer: str | None = None  # the layer whose state it is, where another one got it


def evidence(facts: WiringFacts) -> "Evidence":
    """Classify every arrival of the facts, by layer and place."""
    facts = by_place(facts)
    before: list[int | None] = []  # the unit's event before each event, whose state it may carry on
    last: dict[int, int] = {}
    for index, event in enumerate(facts.events):
        before.append(last.get(event.unit))
        last[event.unit] = index
    classified = tuple(_with_kind(facts, arrival, before[arrival.event]) for arrival in facts.arrivals)
    return Evidence(**vars(facts) | {"arrivals": _recurrent(facts, classified)})


def _recurrent(facts: WiringFacts, arrivals: tuple[StateArrival, ...]) -> tuple[StateArrival, ...]:
    """Return the arrivals with another kind where an old, new or partial state belongs to the recurrence itself.

    A state that moves at some tokens only, a queue of states, a state that begins anew after a word: they go the same
    way in one call over the whole text, so that nothing is lost between calls. What no call carries is lost everywhere.
    """
    several, at_once = _by_run(facts), _by_run(facts.at_once or WiringFacts())
    owned = ("carried", "carried-transformed", "stale")
    carried = {(facts.unit_of(a), a.slot) for a in arrivals if a.sources and a.kind in owned}
    held = facts.returned[-1] if facts.arrivals and facts.returned else ()  # a queue that is longer than the text
    carried |= {(facts.unit_of(s), s.slot) for s in held if facts.events[s.event].call < facts.calls - 1}

    def settled(arrival: StateArrival) -> StateArrival:
        unit, slot = facts.unit_of(arrival), arrival.slot
        key = facts.units[unit].path, slot
        if arrival.kind not in _LOST or (unit, slot) not in carried or several[key] != at_once.get(key):
            return arrival
        kind = "carried-transformed" if arrival.missing else "carried" if arrival.sources else "initial"
        return replace(arrival, kind=kind, foreign=())

    return tuple(map(settled, arrivals))


def _by_run(facts: WiringFacts) -> dict[tuple[str, int], list[set[tuple[str, int, int]]]]:
    """Return the sources of each state, by the path of its unit and its slot, at run after run of the unit."""
    paths = [facts.units[event.unit].path for event in facts.events]
    runs = [(path, paths[:index].count(path)) for index, path in enumerate(paths)]
    by_slot: dict[tuple[str, int], list[set[tuple[str, int, int]]]] = {}
    for arrival in facts.arrivals:
        sources = {(*runs[source.event], source.slot) for source in arrival.sources}
        by_slot.setdefault((paths[arrival.event], arrival.slot), []).append(sources)
    return by_slot


def by_place(facts: WiringFacts) -> WiringFacts:
    """Return the same facts with one unit for each place of each layer, so that every finder goes by (layer, place).

    Where one call has fewer places than another, its places are the last ones: an encoder that runs in the first call
    only goes before its decoder.
    """
    links = {(source.event, arrival.event) for arrival in facts.arrivals for source in arrival.sources}
    runs: dict[int, dict[int, list[int]]] = {}
    for index, event in enumerate(facts.events):
        runs.setdefault(event.unit, {}).setdefault(event.call, []).append(index)
    places, reused = [1] * len(facts.events), set[int]()
    for unit, calls in runs.items():
        placed = [(within, _places_in_call(facts, links, within)) for within in calls.values()]
        most = max(max(own) for _, own in placed)
        for within, own in placed:
            if _is_stacked(facts, links, within, own):
                reused.add(unit)
            for event_index, place in zip(within, own, strict=True):
                places[event_index] = place + most - max(own)
    keys = sorted({(event.unit, place) for event, place in zip(facts.events, places, strict=True)})
    new = {key: index for index, key in enumerate(keys)}
    units = []
    for number, place in keys:
        fact = facts.units[number]
        name, twin = place_name(fact.name, place), None if fact.twin is None else new.get((fact.twin, place))
        units.append(replace(fact, name=name, layer=fact.name, place=place, reused=number in reused, twin=twin))
    events = tuple(replace(e, unit=new[e.unit, place]) for e, place in zip(facts.events, places, strict=True))
    return replace(facts, units=tuple(units), events=events)


def _places_in_call(facts: WiringFacts, links: _Links, within: Sequence[int]) -> tuple[int, ...]:
    """Return the place of each event of one layer in one call."""
    steps = [facts.events[event].steps for event in within]
    if 1 < facts.tokens <= min(steps) and not _reads(facts, within):
        return tuple(range(1, len(within) + 1))  # streams side by side, even where one begins with another's state
    return places_of(steps, facts.tokens, lambda a, b: (within[a], within[b]) in links)


def _reads(facts: WiringFacts, within: Sequence[int]) -> _Links:
    """Return the pairs of events of which the later one reads what the earlier one gave."""
    return {(earlier, later) for later in within for earlier in facts.events[later].descends & {*within}}


def _is_stacked(facts: WiringFacts, links: _Links, within: Sequence[int], places: Sequence[int]) -> bool:
    """Return whether the runs of a layer in one call are a stack, one reading another, and not steps of a loop."""
    at = dict(zip(within, places, strict=True))
    if any(at[earlier] != at[later] for earlier, later in _reads(facts, within)):
        return True
    for place in set(places):
        runs = [event for event in within if at[event] == place]
        by_token = len(runs) <= facts.tokens and all(facts.events[event].steps == 1 for event in runs)
        if _reads(facts, runs) and not (by_token and not _has_two_chains(facts, links, runs)):
            return True
    return False


def _has_two_chains(facts: WiringFacts, links: _Links, runs: Sequence[int]) -> bool:
    """Return whether runs of a layer go on from two chains of states by turns; one chain may begin anew, or wait."""
    unit = facts.events[runs[0]].unit
    last = {b: a for a, b in sorted(links) if b in runs and facts.events[a].unit == unit}
    return any(last[one] < last[other] < one for one, other in combinations(sorted(last), 2))


def _with_kind(facts: WiringFacts, arrival: StateArrival, before: int | None) -> StateArrival:
    """Return an arrival with its kind; `before` is the unit's last event."""
    last = frozenset[StateSource]() if before is None else frozenset({StateSource(before, arrival.slot)})
    kind = "unknown"
    if not arrival.unknown:
        kind = _kind_of_sources(facts, arrival, last) if arrival.sources else _kind_of_nothing(facts, arrival)
    foreign = tuple(sorted(arrival.sources - last)) if kind not in SEEN_RIGHT else ()
    return replace(arrival, kind=kind, foreign=foreign)


def _kind_of_sources(facts: WiringFacts, arrival: StateArrival, last: frozenset[StateSource]) -> str:
    """Return the kind of an arrival that holds states."""
    unit = facts.unit_of(arrival)
    mine = frozenset(source for source in arrival.sources if facts.unit_of(source) == unit)
    same_slot = frozenset(source for source in mine if source.slot == arrival.slot)
    if mine != arrival.sources:
        return _kind_of_others(facts, arrival, mine, is_first=not last)
    if mine - same_slot:
        # Stacked cells of one layer are crossed like layers; the parts of one cell are swapped.
        slots = facts.units[unit].slots
        cells = {slots[slot].rpartition(".")[0] for slot in (arrival.slot, *(source.slot for source in mine))}
        return "mixed" if same_slot else "swapped" if len(cells) == 1 else "crossed"
    if not (same_slot & last):
        return "stale"
    if not arrival.in_place:
        return "misplaced"
    if arrival.missing:
        return "partial"
    return "carried-transformed" if arrival.transformed or same_slot - last else "carried"


def _kind_of_others(facts: WiringFacts, arrival: StateArrival, mine: frozenset[StateSource], *, is_first: bool) -> str:
    """Return the kind of an arrival that holds states of other units, and of its own those in `mine`."""
    event, others = facts.events[arrival.event], arrival.sources - mine
    if _is_declared(facts, event, facts.declared.mixed):
        return "declared"
    if mine:
        return "mixed"
    # An encoder gives its last state to a decoder: they read different texts, and it happens once. In a graph that
    # carries nothing, and in a layer declared stateless, every call is the first.
    anew = is_first or facts.wired_by == "rnneval" or _is_declared(facts, event, facts.declared.stateless)
    if anew and not any(s.event in event.descends or facts.events[s.event].reads & event.reads for s in others):
        return "handoff"
    twin = facts.units[event.unit].twin
    return "swapped" if twin is not None and {*map(facts.unit_of, others)} == {twin} else "crossed"


def _kind_of_nothing(facts: WiringFacts, arrival: StateArrival) -> str:
    """Return the kind of an arrival that holds no state."""
    event = facts.events[arrival.event]
    if event.call == 0:
        return "initial"
    if _is_declared(facts, event, facts.declared.stateless):
        return "declared"
    is_kept = _is_kept(facts, arrival)
    if arrival.random and not is_kept:
        return "random"
    if facts.wired_by == "rnneval" or _reads_its_own_text(facts, event):
        return "uncarried"
    if is_kept:
        return "stale"
    last = facts.returned[event.call - 1] if event.call <= len(facts.returned) else frozenset()
    given_back = any(facts.unit_of(source) == event.unit and source.slot == arrival.slot for source in last)
    return "fresh" if given_back or facts.units[event.unit].stateful else "dropped"


def _is_kept(facts: WiringFacts, arrival: StateArrival) -> bool:
    """Return whether one tensor goes in again and again; one that each call makes for the next is a lost state."""
    return any(
        other.born is not None and other.born < facts.events[other.event].call - 1
        for other in facts.arrivals
        if other.slot == arrival.slot and facts.unit_of(other) == facts.unit_of(arrival) and not other.sources
    )


def _reads_its_own_text(facts: WiringFacts, event: UnitEvent) -> bool:
    """Return whether this is an encoder that reads its own source at every call: it begins anew by right."""
    others = any(other.unit != event.unit and "ids" in other.reads for other in facts.events)
    given = any(
        facts.unit_of(source) == event.unit
        for arrival in facts.arrivals
        if facts.unit_of(arrival) != event.unit
        for source in arrival.sources
    )
    return others and given and "ids" not in event.reads


def _is_declared(facts: WiringFacts, event: UnitEvent, names: Iterable[str]) -> bool:
    return not facts.units[event.unit].names.isdisjoint(names)


def fold(facts: WiringFacts) -> tuple[Flow, ...]:
    """Fold the classified arrivals of all calls into the entries of the flow matrix."""

    def slot_of(part: StateArrival | StateSource) -> Slot:
        unit = facts.units[facts.unit_of(part)]
        return Slot(layer=unit.name, slot=unit.slots[part.slot])

    calls: dict[tuple[Slot, Slot | str, str], set[int]] = {}
    for arrival in facts.arrivals:
        nothing = "random" if arrival.random else "outputs" if arrival.outputs else "initial"
        sources: list[Slot | str] = [*dict.fromkeys(map(slot_of, sorted(arrival.sources)))]
        for source in ["unknown"] if arrival.kind == "unknown" else sources or [nothing]:
            calls.setdefault((slot_of(arrival), source, arrival.kind), set()).add(facts.events[arrival.event].call)
    return tuple(
        Flow(into=into, source=source, kind=kind, calls=tuple(sorted(seen)))
        for (into, source, kind), seen in calls.items()
    )


@dataclass(frozen=True, kw_only=True)
class Evidence(WiringFacts):
    """The facts with the kind of each arrival, and what finders ask of them."""

    def groups(self, *kinds: str) -> "tuple[Group, ...]":
        """Return arrivals of these kinds, grouped by the unit and the foreign unit, in the order in which they ran."""
        grouped: dict[tuple[int, int | None], list[StateArrival]] = {}
        for arrival in self.arrivals:
            if arrival.kind in kinds:
                unit = self.unit_of(arrival)
                givers: list[int | None] = [*sorted({*map(self.unit_of, arrival.foreign)} - {unit})]
                for giver in givers or [None]:
                    grouped.setdefault((unit, giver), []).append(arrival)
        return tuple(Group(self, unit, arrivals, giver) for (unit, giver), arrivals in grouped.items())

    def crossed(self, *, same_call: bool) -> "list[Group]":
        """Return the groups of crossed arrivals whose foreign state comes from the same call, or from earlier ones."""
        groups = []
        for group in self.groups("crossed"):
            arrivals = [arrival for arrival in group.arrivals if group.is_of_one_call(arrival) is same_call]
            if arrivals:
                groups.append(replace(group, arrivals=arrivals))
        return groups

    def transformed_between_calls(self) -> list[int]:
        """Return the units whose state goes through arithmetic between two calls, and not between steps of one.

        What happens at each step (a zoneout or a clock in the author's loop over cells) belongs to the recurrence.
        """
        first = {(event.unit, event.call): k for k, event in reversed([*enumerate(self.events)])}
        transformed = [arrival for arrival in self.arrivals if arrival.kind == "carried-transformed"]
        between = {self.unit_of(arrival) for arrival in transformed if arrival.event in first.values()}
        within = {self.unit_of(arrival) for arrival in transformed if arrival.event not in first.values()}
        return sorted(between - within)

    def kinds(self) -> set[str]:
        """Return the kinds of all arrivals."""
        return {arrival.kind for arrival in self.arrivals}

    def has(self, *kinds: str) -> bool:
        """Return whether any arrival is of one of these kinds."""
        return not self.kinds().isdisjoint(kinds)

    def failed(self, test: str) -> bool:
        """Return whether a test of behaviour failed."""
        return test in self.oracles and self.oracles[test].verdict == "fail"

    def failed_test(self, test: str, words: str) -> Detection:
        """Return the detection of a failed test of behaviour: what was seen, the test's detail, and where it fails."""
        spot = self.spots.get(test)
        place = "no layer can be named, since the two runs of the test could not be compared op by op"
        if spot is not None:
            place = f"it comes in at {spot.layer or f'line {spot.line}, outside of any layer'}"
        return Detection(sentence=f"{words}: {self.oracles[test].detail}; {place}", at=spot or Spot())

    def failed_recurrence(self, test: str, words: str, severity: Severity | None = None) -> Detection:
        """Return the detection of a failed test of what is carried, at the place that the flow of states leaves open.

        Where every state is carried the fault is outside of the recurrent layers, unless an op shows it inside of one.
        """
        layers = {self.units[event.unit].path for event in self.events}
        spot = None
        if not layers:
            place = "no layer can be named, since the recurrence is written by hand, without a recurrent layer or cell"
        elif "carried" in self.kinds() <= {"carried", "handoff", "initial"}:
            spot = self.spots.get(test)
            begins = "" if spot is None else f"; the difference begins at {spot.layer or f'line {spot.line}'}"
            place = f"every recurrent layer gets its own state back: the fault is elsewhere, or in a cell{begins}"
        elif len(layers) == 1:
            spot = replace(self.events[0].at, layer=self.units[0].name)
            place = f"{spot.layer} is the only recurrent layer"
        else:
            place = f"any of {len(layers)} recurrent layers may be meant: see the other findings"
        return Detection(
            sentence=f"{words}: {self.oracles[test].detail}; {place}", severity=severity, at=spot or Spot()
        )


@dataclass(frozen=True)
class Group:
    """Arrivals at one unit, from one other unit if there is one: the subject of one finding."""

    facts: WiringFacts
    unit: int
    arrivals: Sequence[StateArrival]
    giver: int | None = None

    def detection(self, sentence: str) -> Detection:
        """Return the detection of a fault of this group, at the first event that shows it."""
        at = replace(self.facts.events[self.arrivals[0].event].at, layer=self.into.name)
        return Detection(sentence=sentence, at=at, source_layer=self.source.name if self.source else None)

    @property
    def into(self) -> UnitFact:
        """The unit that got the state."""
        return self.facts.units[self.unit]

    @property
    def source(self) -> UnitFact | None:
        """The unit that gave it."""
        return None if self.giver is None else self.facts.units[self.giver]

    def is_of_one_call(self, arrival: StateArrival) -> bool:
        """Return whether the foreign state of an arrival was made in the same call."""
        call = self.facts.events[arrival.event].call
        givers = (self.facts.events[source.event] for source in arrival.foreign)
        return any(giver.call == call for giver in givers if giver.unit == self.giver)

    @property
    def flow(self) -> str:
        """Each state and its source, such as `gru_2.h ← gru.h`."""
        pairs = set()
        for arrival in self.arrivals:
            given = [s for s in arrival.foreign if self.giver is None or self.facts.unit_of(s) == self.giver]
            names = {*map(self.facts.named, given)} or {"nothing"}
            pairs |= {f"{self.facts.named(arrival)} ← {name}" for name in names}
        return ", ".join(sorted(pairs))

    @property
    def slots(self) -> str:
        """The states that were reached, such as `lstm.h, lstm.c`."""
        return ", ".join(sorted({*map(self.facts.named, self.arrivals)}))

    @property
    def calls(self) -> str:
        """The calls in which it was seen: `call 1`, `calls 1 to 3`, `calls 0, 2`."""
        seen = sorted({self.facts.events[arrival.event].call for arrival in self.arrivals})
        if len(seen) > 1 and seen == list(range(seen[0], seen[-1] + 1)):
            return f"calls {seen[0]} to {seen[-1]}"
        return f"call{'s' * (len(seen) > 1)} {', '.join(map(str, seen))}"
