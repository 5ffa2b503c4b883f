"""Each rule on facts written by hand: one case that fires, and neighbours on which it must stay silent."""

from dataclasses import replace

import pytest

from rnneval.wiring import judging
from rnneval.wiring.evidence import evidence
from rnneval.wiring.facts import ONE_ROW, Declarations, Spot, StateSource, Trace
from tests.wiring.made_up import arriving, event, lstm, oracle, stack


def found(facts):
    return {(f.rule, f.severity) for f in judging.findings(evidence(facts))}


def of(*sources):
    return lambda call: frozenset(StateSource(event(unit, call - back), 0) for unit, back in sources)


def declaring(facts, **given):
    return replace(facts, declared=Declarations(**given))


SHARED = arriving(stack(), 1, from_call=0, sources=of((0, 0)))
CROSSED = arriving(stack(), 0, sources=of((1, 1)))
MIXED = arriving(stack(), 0, sources=of((0, 1), (1, 1)))
STALE = arriving(stack(), 0, from_call=2, sources=of((0, 2)))
FRESH = arriving(stack(), 1, sources=frozenset(), born=lambda call: call)
DROPPED = replace(FRESH, returned=tuple(frozenset({StateSource(event(0, call), 0)}) for call in range(4)))
SWAPPED = arriving(lstm(), 0, slot=0, sources=lambda call: frozenset({StateSource(call - 1, 1)}))
REUSED = replace(
    stack(),
    units=stack().units[:1],
    events=tuple(
        replace(e, unit=0, descends=frozenset({i - 1}) if i % 2 else frozenset()) for i, e in enumerate(stack().events)
    ),
)
BY_TOKEN = replace(
    arriving(REUSED, 0, from_call=0, sources=frozenset()),
    events=tuple(replace(e, steps=1) for e in REUSED.events),
    arrivals=tuple(
        replace(a, sources=frozenset({StateSource(a.event - 1, 0)}) if a.event else frozenset())
        for a in REUSED.arrivals
    ),
)


def celled(*cells):
    """The stack, where gru is made of these cells."""
    return replace(stack(), units=(replace(stack().units[0], cells=cells), stack().units[1]))


ONE_CELL = replace(
    stack(),
    units=tuple(replace(unit, cells=(("", 0),)) for unit in stack().units),
    events=tuple(
        replace(e, descends=frozenset({k - 1}) if e.unit else frozenset()) for k, e in enumerate(stack().events)
    ),
)
TRANSFORMED = arriving(stack(), 0, transformed=True)  # one run a call: between calls
BY_STEP = replace(  # two runs a call of one unit, each of which transforms the state: the author's loop over tokens
    BY_TOKEN, arrivals=tuple(replace(a, transformed=bool(a.event)) for a in BY_TOKEN.arrivals)
)


def at_once(facts):
    """The facts, with one call over the whole text in which the states go the same way."""
    events = tuple(replace(e, call=0) for e in facts.events)
    return replace(facts, at_once=replace(facts, events=events))


WAITS = at_once(STALE)  # the state of call 1 moved at no token of call 1
REST = at_once(arriving(stack(), 1, from_call=3, sources=frozenset(), born=lambda call: call))
QUEUE = arriving(
    stack(), 0, from_call=0, sources=lambda call: frozenset({StateSource(call * 2 - 4, 0)} if call > 1 else ())
)

FIRES = {
    "shared-state": [(SHARED, "error")],
    "crossed-state": [(CROSSED, "error")],
    "swapped-slots": [(SWAPPED, "error")],
    "mixed-state": [(MIXED, "error")],
    "misplaced-state": [(arriving(stack(), 0, in_place=False), "error")],
    "stale-state": [(STALE, "error"), (QUEUE, "error"), (arriving(stack(), 0, sources=frozenset(), born=0), "error")],
    "ignored-state": [(FRESH, "error"), (at_once(FRESH), "error"), (arriving(stack(), 0, missing=0.5), "error")],
    # Zeros that each call returns in the place of the new state are a lost state, and no old one.
    "dropped-state": [(DROPPED, "error"), (arriving(DROPPED, 1, born=lambda call: call - 1), "error")],
    "uncarried-state": [(declaring(DROPPED, stateless=frozenset({"gru_2"})), "info")],
    "random-state": [(arriving(stack(), 1, sources=frozenset(), random=True, born=lambda call: call), "error")],
    "noisy-state": [(arriving(stack(), 0, noisy=True), "error")],
    "shared-layer": [(REUSED, "error"), (celled(("cells[0]", 0), ("cells[1]", 0)), "error"), (ONE_CELL, "error")],
    "future-leak": [
        (oracle(stack(), "causal", "fail"), "error"),
        (oracle(stack(), "training", "fail"), "error"),
    ],
    "batch-leak": [(oracle(stack(), "batch", "fail"), "error"), (oracle(stack(), "alone", "fail"), "error")],
    "chunk-variance": [
        (oracle(stack(), "chunk", "fail"), "error"),
        (oracle(TRANSFORMED, "chunk", "fail"), "error"),
        (oracle(declaring(TRANSFORMED, chunked=frozenset({"gru"})), "chunk", "fail"), "warning"),
        (oracle(declaring(TRANSFORMED, chunked=frozenset({"gru_2"})), "chunk", "fail"), "error"),
        (oracle(BY_STEP, "chunk", "fail"), "error"),
        (oracle(declaring(BY_STEP, chunked=frozenset({"gru"})), "chunk", "fail"), "warning"),
        (oracle(declaring(BY_STEP, depends_on_cuts=True), "chunk", "fail"), "warning"),
        (oracle(declaring(DROPPED, stateless=frozenset({"gru_2"})), "chunk", "fail"), "warning"),
    ],
    "unused-state": [(oracle(stack(), "used", "fail"), "error")],
    "always-random": [(oracle(stack(), "repeat", "fail"), "error")],
    "leftover-state": [(oracle(stack(), "fresh", "fail"), "error")],
    "frozen-trace": [
        (replace(stack(), trace=Trace(frozen=(("It differs", Spot()),))), "error"),
        (replace(stack(), trace=Trace(trap="Model.call")), "warning"),
    ],
}
HANDOFF = replace(
    arriving(
        stack(), 1, from_call=0, sources=lambda call: frozenset({StateSource(0 if call == 0 else call * 2 - 1, 0)})
    ),
    events=tuple(replace(e, reads=frozenset({"ids1"} if e.unit == 0 else {"ids"})) for e in stack().events),
)
SILENT = {
    "shared-state": [stack(), CROSSED, HANDOFF, declaring(SHARED, mixed=frozenset({"gru_2"}))],
    "crossed-state": [stack(), SHARED, declaring(CROSSED, mixed=frozenset({"gru"}))],
    "swapped-slots": [lstm()],
    "mixed-state": [stack(), declaring(MIXED, mixed=frozenset({"gru"}))],
    "misplaced-state": [stack(), arriving(stack(), 0, transformed=True)],
    "stale-state": [
        stack(),
        arriving(stack(), 0, from_call=2, sources=of((0, 1), (0, 2))),
        arriving(DROPPED, 1, born=lambda call: call - 1),
        WAITS,
        at_once(QUEUE),
    ],
    "ignored-state": [stack(), DROPPED, REST],
    "dropped-state": [stack(), FRESH, replace(DROPPED, wired_by="rnneval")],
    "uncarried-state": [stack()],
    "random-state": [stack(), arriving(stack(), 0, from_call=0, noisy=False)],
    "noisy-state": [stack()],
    "shared-layer": [
        stack(),
        BY_TOKEN,
        replace(BY_TOKEN, arrivals=BY_TOKEN.arrivals[::2]),  # every second token begins anew
        declaring(REUSED, shared=frozenset({"gru"})),
        celled(("cells[0]", 0), ("cells[1]", 1)),
        declaring(ONE_CELL, shared=frozenset({"gru_2"})),
        replace(ONE_CELL, events=stack().events),  # neither reads the other
        arriving(ONE_CELL, 1, from_call=0, sources=of((0, 0))),  # one recurrence, in two forms
    ],
    "future-leak": [stack(), declaring(oracle(stack(), "causal", "fail"), causal=False)],
    "batch-leak": [
        stack(),
        oracle(stack(), "batch", "inconclusive"),
        oracle(replace(stack(), variants={ONE_ROW: (FRESH,)}), "alone", "fail"),
    ],
    "always-random": [
        stack(),
        oracle(oracle(stack(), "fresh", "fail"), "repeat", "fail"),
        oracle(arriving(stack(), 0, noisy=True), "repeat", "fail"),
    ],
    "leftover-state": [stack(), oracle(stack(), "fresh", "inconclusive")],
    "chunk-variance": [stack()],
    "unused-state": [stack()],
    "frozen-trace": [stack()],
}


@pytest.mark.parametrize("name", FIRES)
def test_fires(name):
    for facts, severity in FIRES[name]:
        assert (name, severity) in found(facts)


@pytest.mark.parametrize("name", SILENT)
def test_stays_silent(name):
    for facts in SILENT[name]:
        assert name not in {rule for rule, _ in found(facts)}


def test_shared_state_comes_first_and_then_crossed_state():
    both = arriving(SHARED, 0, sources=of((1, 1)))
    first, second = judging.findings(evidence(oracle(oracle(both, "causal", "fail"), "chunk", "fail")))[:2]
    assert (first.rule, first.layer, first.source_layer, first.file, first.line) == (
        "shared-state", "gru_2", "gru", "model.py", 11,
    )  # fmt: skip
    assert (second.rule, second.layer, second.source_layer) == ("crossed-state", "gru", "gru_2")


def test_a_finding_says_what_was_seen_why_it_matters_and_what_to_write():
    (finding,) = (f for f in judging.findings(evidence(SHARED)) if f.rule == "shared-state")
    assert "gru_2.h ← gru.h; calls 0 to 3" in finding.message
    assert "sees the future" in finding.message
    assert finding.help.startswith("Keep one state for each layer")
