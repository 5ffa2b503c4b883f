"""Which place of a layer an event is: right and wrong facts of one GRU that reads two streams, written by hand."""

from dataclasses import replace

import pytest

from rnneval.errors import UsageError
from rnneval.models.places import places_of
from rnneval.wiring.facts import (
    StateArrival,
    StateSource,
    UnitEvent,
    UnitFact,
    WiringFacts,
    parse_declarations,
    require_known,
)
from rnneval.wiring.judging import wiring_of
from rnneval.wiring.places import by_place

CALLS = 3


def facts(given, steps=2, descends=False, runs=2):
    """Events of one GRU; `given(call, run)` is the event whose state goes in, None for an initial one."""
    numbers = [(call, run) for call in range(CALLS) for run in range(runs)]
    events = tuple(UnitEvent(unit=0, call=call, steps=steps, reads=frozenset({"ids"})) for call, _ in numbers)
    events = tuple(
        replace(event, descends=frozenset({k - run} if run and descends else ()))
        for k, (event, (_, run)) in enumerate(zip(events, numbers, strict=True))
    )
    arrivals = tuple(
        StateArrival(event=k, slot=0, born=call, sources=frozenset(
            StateSource(source, 0) for source in [given(call, run)] if source is not None and source >= 0))
        for k, (call, run) in enumerate(numbers)
    )  # fmt: skip
    last = [frozenset(StateSource(call * runs + run, 0) for run in range(runs)) for call in range(CALLS)]
    unit = UnitFact(name="gru", path="rnn", kind="GRU", slots=("h",))
    return WiringFacts(
        units=(unit,), events=events, arrivals=arrivals, returned=tuple(last), takes_states=True, gives_states=True,
        calls=CALLS,
    )  # fmt: skip


def own(call, run):
    return (call - 1) * 2 + run if call else None


def exchanged(call, run):
    return (call - 1) * 2 + 1 - run if call else None


def chained(call, run):
    return call * 2 + run - 1


def from_first(call, run):
    return call * 2 if run else own(call, 0)


def test_each_place_goes_by_its_own_name():
    wiring = wiring_of(facts(own))
    assert [layer.name for layer in wiring.layers] == ["gru", "gru#2"]
    assert wiring.verdict == "pass"
    assert {(f.into.layer, f.kind) for f in wiring.flow if f.source == f.into} == {
        ("gru", "carried"),
        ("gru#2", "carried"),
    }


def test_exchanged_places_are_crossed_states_that_name_both():
    wiring = wiring_of(facts(exchanged))
    assert [(f.rule, f.layer, f.source_layer) for f in wiring.findings] == [
        ("crossed-state", "gru", "gru#2"),
        ("crossed-state", "gru#2", "gru"),
    ]
    assert "gru.h ← gru#2.h" in wiring.findings[0].message


def test_a_place_that_begins_with_the_state_of_the_other_is_a_shared_state():
    wiring = wiring_of(facts(from_first))
    assert [(f.rule, f.layer, f.source_layer) for f in wiring.findings] == [("shared-state", "gru#2", "gru")]


@pytest.mark.parametrize("given", [own, chained])
def test_a_layer_that_reads_its_own_output_is_shared_unless_declared(given):
    stacked = facts(given, descends=True)
    assert [(f.rule, f.layer) for f in wiring_of(stacked).findings] == [("shared-layer", "gru")]
    for name in ("gru", "rnn"):
        declared = replace(stacked, declared=parse_declarations([f"shared={name}"]))
        assert wiring_of(declared).verdict == "pass"


def test_steps_of_one_loop_are_one_place_even_where_each_begins_anew():
    loop = facts(chained, steps=1)
    assert [unit.name for unit in by_place(loop).units] == ["gru"]
    assert wiring_of(loop).verdict == "pass"
    restarted = facts(lambda call, _: call * 2 - 1 if call else None, steps=1)
    assert [(f.rule, f.layer) for f in wiring_of(restarted).findings] == [("stale-state", "gru")]


def test_where_a_call_has_fewer_places_they_are_the_last_ones():
    found = facts(lambda call, run: {0: None, 1: 0}[run] if call == 0 else own(call, run))
    events = [event for k, event in enumerate(found.events) if k not in (2, 4)]  # an encoder that ran in call 0 alone
    events[1] = replace(events[1], reads=frozenset({"target"}))
    sources = [
        frozenset(),
        frozenset({StateSource(0, 0)}),
        frozenset({StateSource(1, 0)}),
        frozenset({StateSource(2, 0)}),
    ]
    arrivals = tuple(StateArrival(event=k, slot=0, sources=sources[k], born=0) for k in range(4))
    wiring = wiring_of(replace(found, events=tuple(events), arrivals=arrivals, returned=()))
    assert wiring.verdict == "pass"
    assert [(f.into.layer, f.kind) for f in wiring.flow] == [
        ("gru", "initial"),
        ("gru#2", "handoff"),
        ("gru#2", "carried"),
    ]


def test_a_declaration_names_a_layer_or_one_of_its_places():
    units = by_place(facts(own)).units
    for name in ("gru", "rnn", "gru#2"):
        require_known(parse_declarations([f"stateless={name}"]), units)
    with pytest.raises(UsageError, match="are: gru, gru#2"):
        require_known(parse_declarations(["stateless=gru#3"]), units)


@pytest.mark.parametrize(
    ("steps", "tokens", "links", "places"),
    [
        ([3, 1, 1], 3, {(0, 1), (1, 2)}, (1, 1, 1)),  # reads, then generates
        ([1, 1, 1], 2, set(), (1, 1, 1)),  # not every place reads every token: no places to tell apart
        ([2, 2, 2, 2], 4, {(0, 1), (2, 3)}, (1, 1, 2, 2)),  # two streams in two pieces each
        ([1] * 6, 2, {(0, 3), (1, 4), (2, 5)}, (1, 2, 3, 1, 2, 3)),
    ],
)
def test_places_of_runs(steps, tokens, links, places):
    assert places_of(steps, tokens, lambda a, b: (a, b) in links) == places
