"""Facts written by hand: two GRU layers over four calls, each slot carried unless a test says otherwise."""

from dataclasses import replace
from typing import Any

from rnneval.records.wiring import TestResult
from rnneval.wiring.facts import Spot, StateArrival, StateSource, UnitEvent, UnitFact, WiringFacts

CALLS = 4


def event(unit: int, call: int, units: int = 2) -> int:
    """The number of the event at which a unit runs in a call."""
    return call * units + unit


def stack(**changes: Any) -> WiringFacts:
    """A right stack of gru and gru_2."""
    events = tuple(
        UnitEvent(unit=unit, call=call, steps=2, at=Spot(file="model.py", line=10 + unit), reads=frozenset({"ids"}))
        for call in range(CALLS)
        for unit in range(2)
    )
    arrivals = tuple(
        StateArrival(event=event(unit, call), slot=0, **_from(unit, call)) for call in range(CALLS) for unit in range(2)
    )
    returned = tuple(
        frozenset({StateSource(event(0, call), 0), StateSource(event(1, call), 0)}) for call in range(CALLS)
    )
    facts = WiringFacts(
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
    return {"sources": frozenset({StateSource(event(unit, call - 1), 0)})} if call else {"born": 0}


def lstm(**changes: Any) -> WiringFacts:
    """One right LSTM."""
    arrivals = tuple(
        StateArrival(
            event=call, slot=slot, sources=frozenset({StateSource(call - 1, slot)}) if call else frozenset(), born=call
        )
        for call in range(CALLS)
        for slot in range(2)
    )
    facts = WiringFacts(
        units=(UnitFact(name="lstm", path="lstm", kind="LSTM", slots=("h", "c")),),
        events=tuple(UnitEvent(unit=0, call=call, steps=2) for call in range(CALLS)),
        arrivals=arrivals,
        returned=tuple(frozenset({StateSource(call, 0), StateSource(call, 1)}) for call in range(CALLS)),
        takes_states=True,
        gives_states=True,
        calls=CALLS,
    )
    return replace(facts, **changes)


def arriving(facts: WiringFacts, unit: int, *, from_call: int = 1, slot: int = 0, **changes: Any) -> WiringFacts:
    """The facts with what arrives at a unit changed, from a call on; `sources` may depend on the call."""

    def changed(arrival: StateArrival) -> StateArrival:
        at = facts.events[arrival.event]
        if at.unit != unit or at.call < from_call or arrival.slot != slot:
            return arrival
        given = {key: value(at.call) if callable(value) else value for key, value in changes.items()}
        return replace(arrival, **given)

    return replace(facts, arrivals=tuple(changed(arrival) for arrival in facts.arrivals))


def oracle(facts: WiringFacts, name: str, verdict: str) -> WiringFacts:
    """The facts with another outcome of one oracle."""
    return replace(
        facts, oracles={**facts.oracles, name: replace_verdict(facts.oracles.get(name) or passed(), verdict)}
    )


def replace_verdict(found: TestResult, verdict: Any) -> TestResult:
    return TestResult(verdict=verdict, largest_difference=0.5, tolerance=found.tolerance, detail="differ: 0.5")


def passed() -> TestResult:
    return TestResult(verdict="pass", largest_difference=0.0, tolerance=1e-4, detail="no difference")
