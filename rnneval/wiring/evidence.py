"""What a rule looks at, and what it makes of it: facts with their kinds, and findings in the words of one house."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from rnneval.records.wiring import Finding
from rnneval.wiring.correction import corrected
from rnneval.wiring.facts import Event, Facts, Source, Spot, UnitFact
from rnneval.wiring.flows import Kind, classify
from rnneval.wiring.places import by_place


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The facts, and the kind of each arrival."""

    facts: Facts
    kinds: tuple[Kind, ...]

    def groups(self, *kinds: str) -> "tuple[Group, ...]":
        """Arrivals of these kinds, those of one unit and one foreign unit together, in the order in which they ran."""
        found: dict[tuple[int, int | None], list[Kind]] = {}
        for item in self.kinds:
            if item.kind in kinds:
                for giver in _givers(self.facts, item):
                    found.setdefault((self.facts.events[item.arrival.event].unit, giver), []).append(item)
        return tuple(
            Group(facts=self.facts, unit=key[0], giver=key[1], items=tuple(items)) for key, items in found.items()
        )

    def all_seen(self) -> bool:
        """Whether there are recurrent layers or cells, and each slot was seen to be right."""
        from rnneval.wiring.flows import SEEN_RIGHT

        return bool(self.kinds) and all(item.kind in SEEN_RIGHT for item in self.kinds)

    def has(self, *kinds: str) -> bool:
        """Whether any arrival is of one of these kinds."""
        return any(item.kind in kinds for item in self.kinds)

    def has_faults(self) -> bool:
        """Whether any slot was seen to be wired wrong."""
        from rnneval.wiring.flows import SEEN_RIGHT

        return any(item.kind not in (*SEEN_RIGHT, "unknown") for item in self.kinds)

    def failed(self, oracle: str) -> bool:
        """Whether a test of behaviour failed."""
        found = self.facts.oracles.get(oracle)
        return found is not None and found.verdict == "fail"

    def place_of(self, oracle: str) -> str:
        """Where a test of behaviour fails, in words."""
        spot = self.facts.spots.get(oracle)
        if spot is None:
            return "no layer can be named, since the two runs of the test could not be compared op by op"
        return f"it comes in at {spot.layer or f'line {spot.line}, outside of any layer'}"

    def only_place(self) -> str:
        """The one recurrent layer to look at, in words, or why none is named."""
        spot = self.only_unit()
        if spot is not None:
            return f"{spot.layer} is the only recurrent layer"
        several = len(self._layers())
        if several:
            return f"any of {several} recurrent layers may be meant: see the other findings"
        return "no layer can be named, since the recurrence is written by hand, without a recurrent layer or cell"

    def _layers(self) -> set[str]:
        return {self.facts.units[event.unit].path for event in self.facts.events}

    def only_unit(self) -> Spot | None:
        """The place of the model's recurrent layer or cell, where it has one only."""
        events = self.facts.events
        if len(self._layers()) != 1:
            return None
        return Spot(layer=self.facts.units[0].name, file=events[0].file, line=events[0].line)


def evidence(facts: Facts) -> Evidence:
    """Classify what was seen, by layer and place."""
    facts = by_place(facts)
    return Evidence(facts=facts, kinds=classify(facts))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Arrivals at one unit, from one other unit where there is one: the stuff of one finding."""

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

    def within(self, *, same_call: bool) -> "Group | None":
        """The part whose foreign state comes from the same call (or from an earlier one); None where there is none."""
        items = tuple(item for item in self.items if self._in_call(item) is same_call)
        return Group(facts=self.facts, unit=self.unit, giver=self.giver, items=items) if items else None

    def _in_call(self, item: Kind) -> bool:
        call = self.facts.events[item.arrival.event].call
        return any(
            self.facts.events[s.event].call == call
            for s in item.foreign
            if self.facts.events[s.event].unit == self.giver
        )

    @property
    def flow(self) -> str:
        """What went where, such as `gru_2.h ← gru.h`."""
        pairs = {
            f"{self.facts.slot(item.arrival.event, item.arrival.slot)} ← {given}"
            for item in self.items
            for given in self._given(item)
        }
        return ", ".join(sorted(pairs))

    def _given(self, item: Kind) -> set[str]:
        named = {
            self.facts.slot(s.event, s.slot) for s in item.foreign
            if self.giver is None or self.facts.events[s.event].unit == self.giver
        }  # fmt: skip
        return named or {"nothing"}

    @property
    def slots(self) -> str:
        """The slots that were reached, such as `lstm.h, lstm.c`."""
        return ", ".join(sorted({self.facts.slot(item.arrival.event, item.arrival.slot) for item in self.items}))

    def begins(self) -> str:
        """What begins anew, and from what, in words."""
        part = self.slots if set(self.slots.split(", ")) != self._every_slot() else self.into.name
        made = {self.facts.name(event) for item in self.items for event in item.arrival.outputs}
        if not made:
            return f"{part} begins anew"
        return f"{part} gets what was an output of {', '.join(sorted(made))}, and not the last state"

    def _every_slot(self) -> set[str]:
        return {f"{self.into.name}.{slot}" for slot in self.into.slots}

    @property
    def calls(self) -> str:
        """In which calls it was seen: `call 1`, `calls 1 to 3`, `calls 0 and 2`."""
        seen = sorted({self.facts.events[item.arrival.event].call for item in self.items})
        if len(seen) == 1:
            return f"call {seen[0]}"
        if seen == list(range(seen[0], seen[-1] + 1)):
            return f"calls {seen[0]} to {seen[-1]}"
        return f"calls {', '.join(map(str, seen[:-1]))} and {seen[-1]}"

    def is_returned(self) -> bool:
        """Whether the unit's own new state was among what the calls before returned."""
        calls = {self.facts.events[item.arrival.event].call - 1 for item in self.items}
        returned = [self.facts.returned[call] for call in calls if 0 <= call < len(self.facts.returned)]
        return any(_of(self.facts, s, self.unit) for states in returned for s in states)


def _of(facts: Facts, source: Source, unit: int) -> bool:
    return facts.events[source.event].unit == unit


def _givers(facts: Facts, item: Kind) -> list[int | None]:
    unit = facts.events[item.arrival.event].unit
    givers = sorted({facts.events[s.event].unit for s in item.foreign} - {unit})
    return [*givers] if givers else [None]


Severity = Literal["error", "warning", "info"]


def finding(
    rule: ModuleType,
    seen: str,
    group: Group | None = None,
    *,
    severity: Severity | None = None,
    at: Spot | None = None,
) -> Finding:
    """Put a finding together: what was seen, why it matters and what to write instead, from the rule's own text.

    Args:
        rule: The rule's module.
        seen: What was seen, without a full stop.
        group: The arrivals that it is about; they say layer and line.
        severity: Another one than the rule's own.
        at: Where it was seen, in place of `group`.
    """
    why = _paragraph(rule, "Why it is wrong")
    if group is not None:
        at = Spot(layer=group.into.name, file=group.event.file, line=group.event.line)
    return Finding(
        rule=rule.NAME,
        severity=severity or rule.SEVERITY,
        layer=at.layer if at else None,
        source_layer=group.source.name if group and group.source else None,
        file=at.file if at else None,
        line=at.line if at else None,
        message=f"{seen}. {why}",
        help=_help(rule, group),
    )


def _help(rule: ModuleType, group: Group | None) -> str:
    line = None
    if group is not None and getattr(rule, "CORRECTS", False):
        line = corrected(group.event.code, group.into.path, group.into.slots, group.into.place)
    general = _paragraph(rule, "What to write instead")
    return f"write `{line}`, and return that state too: {general[0].lower()}{general[1:]}" if line else general


def _paragraph(rule: ModuleType, title: str) -> str:
    """The first paragraph of a section of the rule's text, in one line."""
    text = rule.__doc__ or ""
    match = re.search(rf"^## {re.escape(title)}\n+(.+?)(?:\n\n|\n```|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(match.group(1).split()) if match else ""


def each(groups: "tuple[Group, ...]", *, same_call: bool) -> Iterator[Group]:
    """The parts of the groups that are of the same call, or of earlier ones."""
    for group in groups:
        part = group.within(same_call=same_call)
        if part is not None:
            yield part
