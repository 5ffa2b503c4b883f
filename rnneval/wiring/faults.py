"""The faults of state wiring, and where each shows in a model that ran.

The page of a fault, `rnneval/pages/NAME.md`, is the text of `rnneval explain`, of the docs and of a finding's help.
A test of behaviour names its fault in `rnneval.wiring.behaviour.TESTS`, a test of the calls of a cached model in
`CALL_TESTS`.
"""

from collections.abc import Iterator
from itertools import chain

from rnneval.wiring.behaviour import TESTS
from rnneval.wiring.evidence import SEEN_RIGHT, Detection, Evidence, Group, Severity
from rnneval.wiring.evidence import evidence as evidence_of
from rnneval.wiring.facts import ONE_ROW, StateArrival

FAULTS: dict[str, Severity] = {
    "shared-state": "error",
    "crossed-state": "error",
    "swapped-slots": "error",
    "shared-layer": "error",
    "mixed-state": "error",
    "misplaced-state": "error",
    "stale-state": "error",
    "leftover-state": "error",
    "ignored-state": "error",
    "dropped-state": "error",
    "random-state": "error",
    "noisy-state": "error",
    "always-random": "error",
    "future-leak": "error",
    "batch-leak": "error",
    "chunk-variance": "error",
    "call-variance": "error",
    "padding-leak": "error",
    "cache-operation": "error",
    "packing-leak": "error",
    "unused-state": "error",
    "unused-part": "warning",
    "frozen-trace": "error",
    "uncarried-state": "info",
}
"""The severity of each fault, by name, in the order of findings."""
CALL_TESTS = {
    "train": "call-variance",
    "shapes": "call-variance",
    "special": "call-variance",
    "padding": "padding-leak",
    "right_padding": "padding-leak",
    "packed": "packing-leak",
    "restore": "cache-operation",
    "rollback": "cache-operation",
    "reset": "cache-operation",
    "reorder": "cache-operation",
    "equal": "call-variance",
    "ragged": "padding-leak",
    "pieces": "padding-leak",
    "merge": "cache-operation",
    "extract": "cache-operation",
    "filter": "cache-operation",
    "extend": "cache-operation",
    "save": "cache-operation",
    "trim": "cache-operation",
}
"""The fault that each test of the calls of a cached model shows by failing; `behaviour.TESTS` has those of others."""
_BY_KIND = {
    "swapped-slots": ("swapped", "{into}: {flow} ({calls})"),
    "mixed-state": ("mixed", "{into} continues from its own state mixed with another ({flow}; {calls})"),
    "misplaced-state": (
        "misplaced",
        "{into} gets its own state back with rows or units in other places ({slots}; {calls})",
    ),
    "random-state": ("random", "{into} starts from random numbers ({slots}; {calls})"),
}
"""Faults that one kind of arrival shows: the kind, and the words for it with the attributes of a group."""
_Found = Iterator[tuple[str, Detection]]


def find_faults(evidence: Evidence) -> list[tuple[str, Detection]]:
    """Return everything that is wrong with a model that ran, each with the name of its fault, in their order."""
    finders = (_crossed, _wrong, _begun_anew, _shared_layer, _cell_in_two_layers, _behaviour, _chunk_variance, _trace)
    order = list(FAULTS)
    return sorted(chain.from_iterable(find(evidence) for find in finders), key=lambda fault: order.index(fault[0]))


def _crossed(evidence: Evidence) -> _Found:
    """Find states that went into another unit."""
    for group in evidence.crossed(same_call=True):
        giver, into = group.source.name if group.source else "another unit", group.into.name
        seen, meant = f"{into} starts from", ""
        if not group.into.is_layer:
            seen, meant = f"cell {into} takes", f"; if that is meant, give --declare mixed={into}"
        seen = f"{seen} the state that {giver} made in the same call ({group.flow}; {group.calls}){meant}"
        yield "shared-state", group.detection(seen)
    groups = evidence.crossed(same_call=False)
    pairs = {(group.unit, group.giver) for group in groups}
    for group in groups:
        giver = group.source.name if group.source else "another cell of the same layer"
        seen = f"{group.into.name} gets back the state of {giver} ({group.flow}; {group.calls})"
        if (group.giver, group.unit) in pairs:
            seen += ": the two states are exchanged where they are returned or taken apart, and this call may be right"
        yield "crossed-state", group.detection(seen)


def _wrong(evidence: Evidence) -> _Found:
    """Find states that came back to their own unit, but not as they were."""
    for fault, (kind, seen) in _BY_KIND.items():
        for group in evidence.groups(kind):
            words = {"into": group.into.name, "flow": group.flow, "slots": group.slots, "calls": group.calls}
            yield fault, group.detection(seen.format(**words))
    for group in evidence.groups("stale"):
        what = "an older state of its own" if group.arrivals[0].sources else "the initial state of an earlier call"
        seen = f"{group.into.name} gets {what}, not its last one ({group.slots}; {group.calls})"
        yield "stale-state", group.detection(seen)
    noisy: dict[int, list[StateArrival]] = {}
    for arrival in evidence.arrivals:
        if arrival.noisy:
            noisy.setdefault(evidence.unit_of(arrival), []).append(arrival)
    for group in (Group(evidence, unit, arrivals) for unit, arrivals in noisy.items()):
        met = f"random numbers meet the state of {group.into.name} with training=False"
        yield "noisy-state", group.detection(f"{met} ({group.slots}; {group.calls})")


def _begun_anew(evidence: Evidence) -> _Found:
    """Find states that were lost between two calls, or a part of them."""
    back = "who gave it back" if evidence.takes_states else "and no argument of the model's call takes a state"
    for group in evidence.groups("fresh"):
        why = "is stateful" if group.into.stateful else f"gave its state to the caller, {back}"
        yield "ignored-state", group.detection(f"{group.into.name} {why}, and yet {_begins(group)} ({group.calls})")
    for group in evidence.groups("partial"):
        share = f"{100 * max(arrival.missing for arrival in group.arrivals):.0f} %"
        seen = f"{share} of the state of {group.into.name} is not carried ({group.slots}; {group.calls})"
        yield "ignored-state", group.detection(seen)
    carries = _carries(evidence)
    for group in evidence.groups("dropped") if carries else ():
        seen = f"{_begins(group)}, and its last state is not among what is handed on ({group.calls})"
        yield "dropped-state", group.detection(seen)
    kinds = ("declared", "uncarried", *(() if carries else ("dropped",)))
    for group in evidence.groups(*kinds) if evidence.wired_by == "author" else ():
        if not any(arrival.sources for arrival in group.arrivals):
            yield "uncarried-state", group.detection(f"{group.into.name} begins anew at every call ({group.slots})")


def _carries(evidence: Evidence) -> bool:
    """Return whether any state goes from call to call, or was to go: else there is no wiring to judge."""
    hands_on = evidence.takes_states or evidence.gives_states or any(unit.stateful for unit in evidence.units)
    arrived = evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    return hands_on or arrived or evidence.wired_by == "rnneval"


def _begins(group: Group) -> str:
    """Describe which state begins anew, and from what."""
    facts = group.facts
    givers = {facts.units[facts.events[event].unit].name for each in group.arrivals for event in each.outputs}
    if givers:
        return f"{group.slots} gets what was an output of {', '.join(sorted(givers))}, and not the last state"
    return f"{group.slots} begins anew"


def _shared_layer(evidence: Evidence) -> _Found:
    """Find layers, and cells in one layer, that stand for several."""
    for unit, fact in enumerate(evidence.units):
        if fact.place > 1 or fact.names & evidence.declared.shared:
            continue
        if fact.reused:
            seen = f"{fact.name} runs more than once in one call and reads what it gave itself"
            yield "shared-layer", _run_again(evidence, unit).detection(f"{seen}: one object stands for several layers")
        places: dict[int, list[str]] = {}
        for place, number in fact.cells:
            places.setdefault(number, []).append(place)
        group = Group(evidence, unit, [a for a in evidence.arrivals if evidence.unit_of(a) == unit])
        for same in (" and ".join(each) for each in places.values() if len(each) > 1):
            seen = f"{same} of {fact.name} are one object: one cell stands for several layers"
            yield "shared-layer", group.detection(seen)


def _run_again(evidence: Evidence, unit: int) -> Group:
    """Return the arrivals at runs of a layer that read what it gave itself, at one place or at another."""

    def is_own(event: int) -> bool:
        return evidence.units[evidence.events[event].unit].path == evidence.units[unit].path

    own = [arrival for arrival in evidence.arrivals if is_own(arrival.event)]
    again = [arrival for arrival in own if any(map(is_own, evidence.events[arrival.event].descends))]
    return Group(evidence, unit, again or own)


def _cell_in_two_layers(evidence: Evidence) -> _Found:
    """Find layers that read what another layer with the same cell object gave; each has a state of its own."""
    # One recurrence that is written in two ways (a layer over the text, its cell for what follows) hands its state on.
    linked = {(evidence.unit_of(source), evidence.unit_of(a)) for a in evidence.arrivals for source in a.sources}
    pairs = {
        (evidence.events[other].unit, event.unit): arrival
        for arrival in reversed(evidence.arrivals)
        for event in [evidence.events[arrival.event]]
        for other in event.descends
        if evidence.events[other].call == event.call
    }
    for below, above in sorted(pairs.keys() - linked):
        one, two = evidence.units[below], evidence.units[above]
        shared = {number for _, number in one.cells} & {number for _, number in two.cells}
        if shared and one.path != two.path and not (one.names | two.names) & evidence.declared.shared:
            seen = f"{two.name} has the cell of {one.name}, whose outputs it reads: one object stands for two layers"
            yield "shared-layer", Group(evidence, above, [pairs[below, above]], below).detection(seen)


def _behaviour(evidence: Evidence) -> _Found:
    """Find the tests of behaviour that fail, but for `chunk`: of two that show one cause, the first."""
    failed = {test for test in TESTS if evidence.failed(test)} - {"chunk"}
    if "fresh" in failed or any(arrival.random or arrival.noisy for arrival in evidence.arrivals):
        failed.discard("repeat")
    if not evidence.declared.causal:
        failed.discard("causal")
    if "causal" in failed or not evidence.declared.causal:
        failed.discard("training")
    alone = (evidence_of(run).kinds() for run in evidence.variants.get(ONE_ROW, ()) if "alone" in failed)
    if "batch" in failed or not all(kinds <= {*SEEN_RIGHT, "unknown"} for kinds in alone):
        failed.discard("alone")
    if not _carries(evidence):
        failed.discard("used")
    for test in (test for test in TESTS if test in failed):
        if test == "alone":  # no place is known
            yield TESTS[test].fault, Detection(sentence=f"{TESTS[test].words}: {evidence.oracles[test].detail}")
        else:
            find = evidence.failed_recurrence if test == "used" else evidence.failed_test
            yield TESTS[test].fault, find(test, TESTS[test].words)


def _chunk_variance(evidence: Evidence) -> _Found:
    if not evidence.failed("chunk"):
        return
    declared, seen = evidence.declared, TESTS["chunk"].words
    transformed = [evidence.units[unit] for unit in evidence.transformed_between_calls()]
    if transformed:
        seen += f", and the state of {', '.join(unit.name for unit in transformed)} is transformed between calls"
    chunked = declared.chunked and not any(unit.names.isdisjoint(declared.chunked) for unit in transformed)
    all_seen = bool(evidence.arrivals) and evidence.kinds() <= {*SEEN_RIGHT}
    meant = all_seen and (not declared.causal or chunked or evidence.has("declared"))
    carries = _carries(evidence) or not evidence.arrivals
    by_design = declared.depends_on_cuts or meant or not carries
    if not by_design:
        units = {unit.name for unit in transformed} or {
            evidence.units[evidence.unit_of(arrival)].name for arrival in evidence.arrivals
        }
        layer = units.pop() if len(units) == 1 else "LAYER"
        fitting = f"chunked={layer} or chunked=true" if all_seen else "chunked=true"
        seen = f"{seen} (declare {fitting} if that is meant)"
    yield "chunk-variance", evidence.failed_recurrence("chunk", seen, "warning" if by_design else None)


def _trace(evidence: Evidence) -> _Found:
    """Find traces of a `tf.function` that keep what Python read to make them, and the trap of one to come."""
    trace = evidence.trace
    for seen, spot in trace.frozen:
        yield "frozen-trace", Detection(sentence=seen, at=spot)
    if trace.trap and not trace.frozen:
        seen = f"{trace.trap} is a tf.function on a model that was not built when it was handed over"
        yield "frozen-trace", Detection(sentence=seen, severity="warning")
