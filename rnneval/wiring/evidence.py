"""The evidence that finders look at: the facts of one probing, each arrival with its kind, grouped by layer.

An *arrival* is one part of the state that went into one run of a unit; a *unit* is a recurrent layer or free cell, at
one of its places. A *finder* looks for one fault.

`classify` gives each state that went into a unit a kind (carried, crossed, stale, …; docs, wiring lists them), and
`fold` makes the entries of the flow matrix out of them. `Evidence` and `Group` answer the questions of the finders.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rnneval.records.wiring import Flow, Slot
from rnneval.wiring.facts import Arrival, Event, Facts, Source, Spot, UnitFact
from rnneval.wiring.places import by_place

SEEN_RIGHT = ("carried", "carried-transformed", "handoff", "initial", "declared", "uncarried")
"""Kinds that speak for the wiring, or at least not against it."""
Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An arrival with its kind."""

    arrival: Arrival
    kind: str
    foreign: tuple[Source, ...] = ()
    """The sources of the state that do not belong at this unit."""


def classify(facts: Facts) -> tuple[Kind, ...]:
    """Return the kind of every arrival, where each place of a layer is a unit (`by_place`)."""
    before: dict[int, int | None] = {}
    last: dict[int, int] = {}
    for index, event in enumerate(facts.events):
        before[index] = last.get(event.unit)
        last[event.unit] = index
    return tuple(_kind(facts, arrival, before[arrival.event]) for arrival in facts.arrivals)


def _kind(facts: Facts, arrival: Arrival, before: int | None) -> Kind:
    """Return an arrival's kind; `before` is the unit's last event, whose state this one may carry on."""
    own = frozenset[Source]() if before is None else frozenset({Source(before, arrival.slot)})
    if arrival.unknown:
        kind = "unknown"
    else:
        kind = _kind_of_sources(facts, arrival, own) if arrival.sources else _kind_of_nothing(facts, arrival)
    foreign = tuple(sorted(arrival.sources - own)) if kind not in SEEN_RIGHT else ()
    return Kind(arrival=arrival, kind=kind, foreign=foreign)


def _kind_of_sources(facts: Facts, arrival: Arrival, own: frozenset[Source]) -> str:
    """Return the kind of an arrival that holds states."""
    event = facts.events[arrival.event]
    others = frozenset(s for s in arrival.sources if facts.events[s.event].unit != event.unit)
    mine = arrival.sources - others
    same_slot = frozenset(s for s in mine if s.slot == arrival.slot)
    if others:
        return _kind_of_others(facts, arrival, others, is_first=not own)
    if mine - same_slot:
        # Stacked cells of one layer are crossed like layers; the parts of one cell are swapped.
        slots = facts.units[event.unit].slots
        cells = {slots[slot].rpartition(".")[0] for slot in (arrival.slot, *(s.slot for s in mine))}
        return "mixed" if same_slot else "swapped" if len(cells) == 1 else "crossed"
    if not (same_slot & own):
        return "stale"
    if not arrival.in_place:
        return "misplaced"
    if arrival.missing:
        return "partial"
    return "carried-transformed" if arrival.transformed or same_slot - own else "carried"


def _kind_of_others(facts: Facts, arrival: Arrival, others: frozenset[Source], *, is_first: bool) -> str:
    """Return the kind of an arrival that holds states of other units."""
    event = facts.events[arrival.event]
    mixed = bool(arrival.sources - others)
    if _is_declared(facts, event, facts.declared.mixed):
        return "declared"
    # An encoder gives its last state to a decoder: they read different texts, and it happens once. In a graph that
    # carries nothing, and in a layer declared stateless, every call is the first.
    anew = is_first or facts.wired_by == "rnneval" or _is_declared(facts, event, facts.declared.stateless)
    apart = not any(s.event in event.descends or facts.events[s.event].reads & event.reads for s in others)
    if anew and apart and not mixed:
        return "handoff"
    if mixed:
        return "mixed"
    twin = facts.units[event.unit].twin
    return "swapped" if twin is not None and {facts.events[s.event].unit for s in others} == {twin} else "crossed"


def _kind_of_nothing(facts: Facts, arrival: Arrival) -> str:
    """Return the kind of an arrival that holds no state."""
    event = facts.events[arrival.event]
    if event.call == 0:
        return "initial"
    if _is_declared(facts, event, facts.declared.stateless):
        return "declared"
    made_before = arrival.born is not None and arrival.born < event.call
    if arrival.random and not made_before:
        return "random"
    if facts.wired_by == "rnneval" or _reads_its_own_text(facts, event):
        return "uncarried"
    if made_before:
        return "stale"
    last = facts.returned[event.call - 1] if event.call <= len(facts.returned) else frozenset()
    given_back = facts.units[event.unit].stateful or any(
        facts.events[s.event].unit == event.unit and s.slot == arrival.slot for s in last
    )
    return "fresh" if given_back else "dropped"


def _reads_its_own_text(facts: Facts, event: Event) -> bool:
    """Return whether this is an encoder that reads its own source at every call: it begins anew by right."""
    others = any(other.unit != event.unit and "ids" in other.reads for other in facts.events)
    given = any(
        facts.events[source.event].unit == event.unit
        for arrival in facts.arrivals
        if facts.events[arrival.event].unit != event.unit
        for source in arrival.sources
    )
    return others and given and "ids" not in event.reads


def _is_declared(facts: Facts, event: Event, names: Iterable[str]) -> bool:
    return not facts.units[event.unit].names.isdisjoint(names)


def fold(facts: Facts, kinds: Iterable[Kind]) -> tuple[Flow, ...]:
    """Fold the events of all calls into the entries of the flow matrix."""
    calls: dict[tuple[int, int, tuple[int, int] | str, str], set[int]] = {}
    for item in kinds:
        event, arrival = facts.events[item.arrival.event], item.arrival
        states = {(facts.events[s.event].unit, s.slot) for s in arrival.sources}
        sources: list[tuple[int, int] | str] = [*sorted(states)]
        if item.kind == "unknown":
            sources = ["unknown"]
        elif not sources:
            sources = ["random" if arrival.random else "outputs" if arrival.outputs else "initial"]
        for source in sources:
            calls.setdefault((event.unit, arrival.slot, source, item.kind), set()).add(event.call)

    def named(unit: int, slot: int) -> Slot:
        return Slot(layer=facts.units[unit].name, slot=facts.units[unit].slots[slot])

    return tuple(
        Flow(
            into=named(unit, slot),
            source=source if isinstance(source, str) else named(*source),
            kind=kind,
            calls=tuple(sorted(seen)),
        )
        for (unit, slot, source, kind), seen in calls.items()
    )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The facts, and the kind of each arrival."""

    facts: Facts
    kinds: tuple[Kind, ...]

    def groups(self, *kinds: str) -> "tuple[Group, ...]":
        """Return arrivals of these kinds, grouped by the unit and the foreign unit, in the order in which they ran."""
        found: dict[tuple[int, int | None], list[Kind]] = {}
        for item in self.kinds:
            if item.kind in kinds:
                unit = self.facts.events[item.arrival.event].unit
                others = {self.facts.events[s.event].unit for s in item.foreign} - {unit}
                givers: list[int | None] = [*sorted(others)] if others else [None]
                for giver in givers:
                    found.setdefault((unit, giver), []).append(item)
        return tuple(self.group(unit, items, giver) for (unit, giver), items in found.items())

    def groups_within(self, *kinds: str, same_call: bool) -> "list[Group]":
        """Return the groups of arrivals whose foreign state comes from the same call, or else from earlier ones."""
        found = []
        for group in self.groups(*kinds):
            items = [item for item in group.items if group.is_of_one_call(item) is same_call]
            if items:
                found.append(self.group(group.unit, items, group.giver))
        return found

    def group(self, unit: int, items: Iterable[Kind], giver: int | None = None) -> "Group":
        """Return arrivals at one unit as a group."""
        return Group(facts=self.facts, unit=unit, giver=giver, items=tuple(items))

    def transformed_between_calls(self) -> tuple[UnitFact, ...]:
        """Return the units whose state goes through arithmetic between two calls, and not between steps of one.

        What happens at each step (a zoneout or a clock in the author's loop over cells) belongs to the recurrence.
        """
        events, first = self.facts.events, dict[tuple[int, int], int]()
        for index, event in enumerate(events):
            first.setdefault((event.unit, event.call), index)
        transformed = [item.arrival.event for item in self.kinds if item.kind == "carried-transformed"]
        begin_calls = set(first.values())
        between, within = (
            {events[at].unit for at in transformed if (at in begin_calls) is when} for when in (True, False)
        )
        return tuple(self.facts.units[unit] for unit in sorted(between - within))

    def variants(self, when: str) -> "Iterator[Evidence]":
        """Yield the evidence of every run in another setting, named by a part of its description."""
        for variant in self.facts.variants:
            if when in variant.when:
                yield from map(evidence, variant.runs)

    def all_seen(self) -> bool:
        """Return whether there are recurrent layers or cells, and each state was seen to be right."""
        return bool(self.kinds) and all(item.kind in SEEN_RIGHT for item in self.kinds)

    def carries(self) -> bool:
        """Return whether each recurrent layer or cell was seen to get its own last state, unchanged."""
        kinds = {item.kind for item in self.kinds}
        return "carried" in kinds and kinds <= {"carried", "handoff", "initial"}

    def has(self, *kinds: str) -> bool:
        """Return whether any arrival is of one of these kinds."""
        return any(item.kind in kinds for item in self.kinds)

    def has_faults(self) -> bool:
        """Return whether any state was seen to be wired wrong."""
        return any(item.kind not in (*SEEN_RIGHT, "unknown") for item in self.kinds)

    def failed(self, oracle: str) -> bool:
        """Return whether a test of behaviour failed."""
        found = self.facts.oracles.get(oracle)
        return found is not None and found.verdict == "fail"

    def failure(self, oracle: str, seen: str) -> "Detection":
        """Return the detection of a failed test of behaviour: what was seen, the test's detail, and where it fails."""
        spot = self.facts.spots.get(oracle)
        place = "no layer can be named, since the two runs of the test could not be compared op by op"
        if spot is not None:
            place = f"it comes in at {spot.layer or f'line {spot.line}, outside of any layer'}"
        return self.detection(f"{seen}: {self.facts.oracles[oracle].detail}; {place}", at=spot)

    def failure_of_recurrence(self, oracle: str, seen: str, severity: Severity | None = None) -> "Detection":
        """Return the detection of a failed test of what is carried, at the place that the flow of states leaves open.

        Where every state is carried the fault is outside of the recurrent layers, unless an op shows it inside of one.
        """
        layers = {self.facts.units[event.unit].path for event in self.facts.events}
        spot = self.facts.spots.get(oracle)
        begins = "" if spot is None else f"; the difference begins at {spot.layer or f'line {spot.line}'}"
        if not layers:
            spot = None
            place = "no layer can be named, since the recurrence is written by hand, without a recurrent layer or cell"
        elif self.carries():
            place = "every recurrent layer gets its own state back, so "
            own = ", ".join(dict.fromkeys(unit.name for unit in self.facts.units if unit.of_author))
            names = {unit.layer or unit.name for unit in self.facts.units}
            if spot is not None and spot.layer is not None and spot.layer.removesuffix(".cell") in names:
                place += f"the fault is in what {spot.layer} reads or computes"
            else:
                where = f"the fault is inside of {own}, or outside" if own else "the fault is outside"
                place += f"{where} of the recurrent layers{begins}"
        elif len(layers) == 1:
            first = self.facts.events[0]
            spot = Spot(layer=self.facts.units[0].name, file=first.file, line=first.line)
            place = f"{spot.layer} is the only recurrent layer"
        else:
            spot = None
            place = f"any of {len(layers)} recurrent layers may be meant: see the other findings"
        seen = f"{seen}: {self.facts.oracles[oracle].detail}; {place}"
        return self.detection(seen, severity=severity, at=spot)

    def detection(
        self, seen: str, group: "Group | None" = None, *, severity: Severity | None = None, at: Spot | None = None
    ) -> "Detection":
        """Return what a finder yields: see the fields of `Detection`; the place is that of the group, or `at`."""
        if group is not None:
            at = Spot(layer=group.into.name, file=group.event.file, line=group.event.line)
        return Detection(seen=seen, group=group, severity=severity, at=at or Spot())


def evidence(facts: Facts) -> Evidence:
    """Classify the facts, by layer and place."""
    facts = by_place(facts)
    return Evidence(facts=facts, kinds=classify(facts))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Arrivals at one unit, from one other unit if there is one: the subject of one finding."""

    facts: Facts
    unit: int
    giver: int | None
    items: tuple[Kind, ...]

    @property
    def into(self) -> UnitFact:
        """The unit that got the state."""
        return self.facts.units[self.unit]

    @property
    def source(self) -> UnitFact | None:
        """The unit that gave it."""
        return None if self.giver is None else self.facts.units[self.giver]

    @property
    def event(self) -> Event:
        """The first event at which it was seen."""
        return self.facts.events[self.items[0].arrival.event]

    def is_of_one_call(self, item: Kind) -> bool:
        """Return whether the foreign state of an arrival was made in the same call."""
        call = self.facts.events[item.arrival.event].call
        givers = (self.facts.events[source.event] for source in item.foreign)
        return any(giver.call == call for giver in givers if giver.unit == self.giver)

    @property
    def flow(self) -> str:
        """Each state and its source, such as `gru_2.h ← gru.h`."""
        pairs = set()
        for item in self.items:
            into = self.facts.slot(item.arrival.event, item.arrival.slot)
            given = {
                self.facts.slot(s.event, s.slot)
                for s in item.foreign
                if self.giver is None or self.facts.events[s.event].unit == self.giver
            }
            pairs |= {f"{into} ← {source}" for source in given or {"nothing"}}
        return ", ".join(sorted(pairs))

    @property
    def slots(self) -> str:
        """The states that were reached, such as `lstm.h, lstm.c`."""
        return ", ".join(sorted({self.facts.slot(item.arrival.event, item.arrival.slot) for item in self.items}))

    def begins(self) -> str:
        """Describe which state begins anew, and from what."""
        every = {f"{self.into.name}.{slot}" for slot in self.into.slots}
        part = self.slots if set(self.slots.split(", ")) != every else self.into.name
        made = {self.facts.name(event) for item in self.items for event in item.arrival.outputs}
        if not made:
            return f"{part} begins anew"
        return f"{part} gets what was an output of {', '.join(sorted(made))}, and not the last state"

    @property
    def calls(self) -> str:
        """The calls in which it was seen: `call 1`, `calls 1 to 3`, `calls 0 and 2`."""
        seen = sorted({self.facts.events[item.arrival.event].call for item in self.items})
        if len(seen) == 1:
            return f"call {seen[0]}"
        if seen == list(range(seen[0], seen[-1] + 1)):
            return f"calls {seen[0]} to {seen[-1]}"
        return f"calls {', '.join(map(str, seen[:-1]))} and {seen[-1]}"

    def is_returned(self) -> bool:
        """Return whether the unit's own new state was among what the calls before returned."""
        calls = {self.facts.events[item.arrival.event].call - 1 for item in self.items}
        returned = [self.facts.returned[call] for call in calls if 0 <= call < len(self.facts.returned)]
        return any(self.facts.events[s.event].unit == self.unit for states in returned for s in states)


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A fault that a finder saw in a model that ran, still without the text of its page."""

    seen: str
    """Words for what was seen, without a full stop."""
    group: Group | None
    """The arrivals that it is about."""
    severity: Severity | None
    """Severity, if it is another one than that of the fault's page; None for the page's own."""
    at: Spot
