"""Places of layers in the facts of a probing: one unit for each place, so that finders go by (layer, place)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rnneval.models.places import place_name, places_of
from rnneval.wiring.facts import StateSource, WiringFacts


def by_place(facts: WiringFacts) -> WiringFacts:
    """Return the same facts with one unit for each place of each layer, so that every finder goes by (layer, place).

    Where one call has fewer places than another, its places are the last ones: an encoder that runs in the first call
    only goes before its decoder.
    """
    sources: dict[int, set[StateSource]] = {}
    for arrival in facts.arrivals:
        sources.setdefault(arrival.event, set()).update(arrival.sources)
    runs: dict[int, dict[int, list[int]]] = {}
    for index, event in enumerate(facts.events):
        runs.setdefault(event.unit, {}).setdefault(event.call, []).append(index)
    places, reused = [1] * len(facts.events), set[int]()
    for unit, calls in runs.items():
        found = [_OneCall(facts, sources, within) for within in calls.values()]
        most = max(max(call.places) for call in found)
        for call in found:
            if call.is_stacked():
                reused.add(unit)
            for event_index, place in zip(call.within, call.places, strict=True):
                places[event_index] = place + most - max(call.places)
    keys = sorted({(event.unit, place) for event, place in zip(facts.events, places, strict=True)})
    new = {key: index for index, key in enumerate(keys)}
    units = []
    for number, place in keys:
        fact = facts.units[number]
        name, twin = place_name(fact.name, place), None if fact.twin is None else new.get((fact.twin, place))
        is_reused = number in reused or fact.reused
        units.append(replace(fact, name=name, layer=fact.name, place=place, reused=is_reused, twin=twin))
    events = tuple(replace(e, unit=new[e.unit, place]) for e, place in zip(facts.events, places, strict=True))
    return replace(facts, units=tuple(units), events=events)


class _OneCall:
    """The events of one layer in one call."""

    def __init__(self, facts: WiringFacts, sources: dict[int, set[StateSource]], within: list[int]) -> None:
        self.within, self._facts, self._sources = within, facts, sources
        steps = [facts.events[event].steps for event in within]
        if 1 < facts.tokens <= min(steps) and not self._fed_back(within):
            # Streams side by side, even where one begins with another's state.
            self.places = tuple(range(1, len(within) + 1))
        else:
            self.places = places_of(steps, facts.tokens, lambda a, b: self._linked(within[a], within[b]))

    def _linked(self, earlier: int, later: int) -> bool:
        """Return whether the state of the later event was made by the earlier one."""
        return any(source.event == earlier for source in self._sources.get(later, ()))

    def _reads(self, later: int, earlier: int) -> bool:
        return earlier in self._facts.events[later].descends

    def _fed_back(self, within: Sequence[int]) -> bool:
        """Return whether a run reads what an earlier run gave."""
        return any(self._reads(later, earlier) for at, later in enumerate(within) for earlier in within[:at])

    def is_stacked(self) -> bool:
        """Return whether the runs are layers of a stack, and not the steps of loops over tokens.

        In a stack, one place reads what another gave; where there is one place, its runs are more than the steps of a
        loop in which each goes on from the state of the last.
        """
        at = dict(zip(self.within, self.places, strict=True))
        if any(
            self._reads(later, earlier) and at[earlier] != at[later]
            for later in self.within
            for earlier in self.within
            if earlier < later
        ):
            return True
        for place in set(self.places):
            own = [event for event in self.within if at[event] == place]
            chained = all(self._linked(a, b) for a, b in pairwise(own))
            by_token = len(own) <= self._facts.tokens and all(self._facts.events[event].steps == 1 for event in own)
            if self._fed_back(own) and not (by_token and chained):
                return True
        return False
