"""Places of layers in the facts of a probing: one unit for each place, so that finders go by (layer, place)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rnneval.models.places import Linked, place_name, places_of
from rnneval.wiring.facts import Facts, Source


def by_place(facts: Facts) -> Facts:
    """Return the same facts with one unit for each place of each layer, so that every finder goes by (layer, place).

    Where one call has fewer places than another, its places are the last ones: an encoder that runs in the first call
    only goes before its decoder.
    """
    places = [1] * len(facts.events)
    reused = set()
    for unit in range(len(facts.units)):
        by_call: dict[int, list[int]] = {}
        for index, event in enumerate(facts.events):
            if event.unit == unit:
                by_call.setdefault(event.call, []).append(index)
        calls = [by_call[call] for call in sorted(by_call)]
        found = [_places(facts, within) for within in calls]
        most = max((max(own) for own in found), default=1)
        for within, own in zip(calls, found, strict=True):
            if _is_stacked(facts, within, own):
                reused.add(unit)
            for run, place in zip(within, own, strict=True):
                places[run] = place + most - max(own)
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


def _places(facts: Facts, within: Sequence[int]) -> tuple[int, ...]:
    """Return the place of each event of one layer in one call."""
    steps = [facts.events[event].steps for event in within]
    if 1 < facts.tokens <= min(steps) and not _fed_back(facts, within):
        return tuple(range(1, len(within) + 1))  # streams side by side, even where one begins with another's state
    return places_of(steps, facts.tokens, _links(facts, within))


def _links(facts: Facts, within: Sequence[int]) -> Linked:
    """Return the function that says whether the state of the later event was made by the earlier one."""
    sources: dict[int, set[Source]] = {}
    for arrival in facts.arrivals:
        sources.setdefault(arrival.event, set()).update(arrival.sources)
    return lambda a, b: any(source.event == within[a] for source in sources.get(within[b], ()))


def _fed_back(facts: Facts, within: Sequence[int]) -> bool:
    """Return whether a run reads what an earlier run gave."""
    return any(earlier in facts.events[later].descends for at, later in enumerate(within) for earlier in within[:at])


def _is_stacked(facts: Facts, within: Sequence[int], places: Sequence[int]) -> bool:
    """Return whether the runs of one layer in one call are layers of a stack, and not the steps of loops over tokens.

    In a stack, one place reads what another gave; where there is one place, its runs are more than the steps of a loop
    in which each goes on from the state of the last.
    """
    if not _fed_back(facts, within):
        return False
    for place in set(places):
        own = [event for event, at in zip(within, places, strict=True) if at == place]
        linked = _links(facts, own)
        chained = all(linked(a, b) for a, b in pairwise(range(len(own))))
        by_token = len(own) <= facts.tokens and all(facts.events[event].steps == 1 for event in own)
        if len(own) > 1 and _fed_back(facts, own) and not (by_token and chained):
            return True
    return any(
        earlier in facts.events[later].descends and places[before] != places[at]
        for at, later in enumerate(within)
        for before, earlier in enumerate(within[:at])
    )
