"""Facts written by hand: two GRU layers over four calls, each slot carried unless a test says otherwise."""

from dataclasses import replace
from typing import Any

from rnneval.records.wiring import Oracle
from rnneval.wiring.facts import Arrival, Event, Facts, Source, UnitFact

CALLS = 4


def event(unit: int, call: int, units: int = 2) -> int:
    """The number of the event at which a unit runs in a call."""
    return call * units + unit


def stack(**changes: Any) -> Facts:
    """A right stack of gru and gru_2."""
    events = tuple(
        Event(unit=unit, call=call, steps=2, file="model.py", line=10 + unit, reads=frozenset({"ids"}))
        for call in range(CALLS)
        for unit in range(2)
    )
    arrivals = tuple(
        Arrival(event=event(unit, call), slot=0, **_from(unit, call)) for call in range(CALLS) for unit in range(2)
    )
    returned = tuple(frozenset({Source(event(0, call), 0), Source(event(1, call), 0)}) for call in range(CALLS))
    facts = Facts(
        units=tuple(UnitFact(name=name, path=name, kind="GRU", slots=("h",)) for name in ("gru", "gru_2")),
        events=events,
        arrivals=arrivals,
        returned=returned,
        takes_states=True,
        gives_states=True,
        calls=CALLS,
        oracles={name: passed() for name in ("chunk", "causal", "batch", "used", "repeat")},
    )
    return replace(facts, **changes)


def _from(unit: int, call: int) -> dict[str, Any]:
    return {"sources": frozenset({Source(event(unit, call - 1), 0)})} if call else {"born": 0}


def lstm(**changes: Any) -> Facts:
    """One right LSTM."""
    arrivals = tuple(
        Arrival(event=call, slot=slot, sources=frozenset({Source(call - 1, slot)}) if call else frozenset(), born=call)
        for call in range(CALLS)
        for slot in range(2)
    )
    facts = Facts(
        units=(UnitFact(name="lstm", path="lstm", kind="LSTM", slots=("h", "c")),),
        events=tuple(Event(unit=0, call=call, steps=2) for call in range(CALLS)),
        arrivals=arrivals,
        returned=tuple(frozenset({Source(call, 0), Source(call, 1)}) for call in range(CALLS)),
        takes_states=True,
        gives_states=True,
        calls=CALLS,
    )
    return replace(facts, **changes)


def arriving(facts: Facts, unit: int, *, from_call: int = 1, slot: int = 0, **changes: Any) -> Facts:
    """The facts with what arrives at a unit changed, from a call on; `sources` may depend on the call."""

    def changed(arrival: Arrival) -> Arrival:
        at = facts.events[arrival.event]
        if at.unit != unit or at.call < from_call or arrival.slot != slot:
            return arrival
        given = {key: value(at.call) if callable(value) else value for key, value in changes.items()}
        return replace(arrival, **given)

    return replace(facts, arrivals=tuple(changed(arrival) for arrival in facts.arrivals))


def oracle(facts: Facts, name: str, verdict: str) -> Facts:
    """The facts with another outcome of one oracle."""
    return replace(
        facts, oracles={**facts.oracles, name: replace_verdict(facts.oracles.get(name) or passed(), verdict)}
    )


def replace_verdict(found: Oracle, verdict: Any) -> Oracle:
    return Oracle(verdict=verdict, largest_difference=0.5, tolerance=found.tolerance, detail="differ: 0.5")


def passed() -> Oracle:
    return Oracle(verdict="pass", largest_difference=0.0, tolerance=1e-4, detail="no difference")
