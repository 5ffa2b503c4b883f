"""The faults of state wiring, in the order of their findings: adding a function adds the fault.

The page of a fault, `rnneval/pages/NAME.md`, is the text of `rnneval explain`, of the docs and of a finding's help. Its
function looks at a model that has run, and yields detections. Faults without one are found in models of PyTorch alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rnneval.wiring.evidence import SEEN_RIGHT, Detection, Evidence, Group, Severity
from rnneval.wiring.evidence import evidence as evidence_of
from rnneval.wiring.facts import ONE_ROW

_Find = Callable[[Evidence], Iterable[Detection]]
SEEN_OF_CUTS = "One call and several carried calls over the same text differ"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault that a check can find."""

    severity: Severity
    find: _Find | None
    corrects: bool  # whether the help of a finding shows the author's line as it should be, where it can be made


FAULTS: dict[str, Fault] = {}
"""All faults by name."""


def _fault(name: str, severity: Severity = "error", *, corrects: bool = False) -> Callable[[_Find | None], None]:
    def add(find: _Find | None) -> None:
        FAULTS[name] = Fault(severity=severity, find=find, corrects=corrects)

    return add


def _by_kind(kind: str, seen: str) -> _Find:
    """Return a finder of arrivals of a kind; `seen` may hold the attributes of a group."""

    def find(evidence: Evidence) -> Iterator[Detection]:
        for group in evidence.groups(kind):
            words = {"into": group.into.name, "flow": group.flow, "slots": group.slots, "calls": group.calls}
            yield group.found(seen.format(**words))

    return find


@_fault("shared-state", corrects=True)
def _shared_state(evidence: Evidence) -> Iterator[Detection]:
    for group in evidence.crossed(same_call=True):
        giver = group.source.name if group.source else "another unit"
        if group.into.is_layer:
            seen, meant = f"{group.into.name} starts from the state that {giver} made in the same call", ""
        else:
            seen = f"cell {group.into.name} takes the state that {giver} made in the same call"
            meant = f"; if that is meant, give --declare mixed={group.into.name}"
        yield group.found(f"{seen} ({group.flow}; {group.calls}){meant}")


@_fault("crossed-state", corrects=True)
def _crossed_state(evidence: Evidence) -> Iterator[Detection]:
    groups = evidence.crossed(same_call=False)
    pairs = {(group.unit, group.giver) for group in groups}
    for group in groups:
        giver = group.source.name if group.source else "another cell of the same layer"
        exchanged = ": the two states are exchanged where they are returned or taken apart, and this call may be right"
        more = exchanged if (group.giver, group.unit) in pairs else ""
        yield group.found(f"{group.into.name} gets back the state of {giver} ({group.flow}; {group.calls}){more}")


_fault("swapped-slots")(_by_kind("swapped", "{into}: {flow} ({calls})"))


@_fault("shared-layer")
def _shared_layer(evidence: Evidence) -> Iterator[Detection]:
    shared = evidence.declared.shared
    for unit, fact in enumerate(evidence.units):
        if fact.place > 1 or fact.names & shared:
            continue
        if fact.reused:
            yield _run_again(evidence, unit).found(
                f"{fact.name} runs more than once in one call and reads what it gave itself: one object stands for "
                "several layers"
            )
        places: dict[int, list[str]] = {}
        for place, number in fact.cells:
            places.setdefault(number, []).append(place)
        for same in (each for each in places.values() if len(each) > 1):
            group = evidence.group(unit, (a for a in evidence.arrivals if evidence.unit_of(a) == unit))
            yield group.found(f"{' and '.join(same)} of {fact.name} are one object: one cell stands for several layers")
    yield from _cell_in_two_layers(evidence)


def _run_again(evidence: Evidence, unit: int) -> Group:
    """Return the arrivals at runs of a layer that read what it gave itself, at one place or at another."""

    def is_own(event: int) -> bool:
        return evidence.units[evidence.events[event].unit].path == evidence.units[unit].path

    own = [arrival for arrival in evidence.arrivals if is_own(arrival.event)]
    again = [arrival for arrival in own if any(map(is_own, evidence.events[arrival.event].descends))]
    return evidence.group(unit, again or own)


def _cell_in_two_layers(evidence: Evidence) -> Iterator[Detection]:
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
            yield evidence.group(above, [pairs[below, above]], below).found(seen)


_fault("mixed-state")(_by_kind("mixed", "{into} continues from its own state mixed with another ({flow}; {calls})"))
_fault("misplaced-state")(
    _by_kind("misplaced", "{into} gets its own state back with rows or units in other places ({slots}; {calls})")
)


@_fault("stale-state")
def _stale_state(evidence: Evidence) -> Iterator[Detection]:
    for group in evidence.groups("stale"):
        own = group.arrivals[0].sources
        what = "an older state of its own" if own else "the initial state of an earlier call"
        yield group.found(f"{group.into.name} gets {what}, not its last one ({group.slots}; {group.calls})")


@_fault("leftover-state")
def _leftover_state(evidence: Evidence) -> Iterator[Detection]:
    if evidence.failed("fresh"):
        yield evidence.failed_test("fresh", "A new document depends on what was read before it")


@_fault("ignored-state")
def _ignored_state(evidence: Evidence) -> Iterator[Detection]:
    for group in evidence.groups("fresh"):
        why = "is stateful" if group.into.stateful else "gave its state to the caller, who gave it back"
        yield group.found(f"{group.into.name} {why}, and yet {_begins(group)} ({group.calls})")
    for group in evidence.groups("partial"):
        share = f"{100 * max(arrival.missing for arrival in group.arrivals):.0f} %"
        yield group.found(f"{share} of the state of {group.into.name} is not carried ({group.slots}; {group.calls})")


@_fault("dropped-state", corrects=True)
def _dropped_state(evidence: Evidence) -> Iterator[Detection]:
    for group in evidence.groups("dropped") if evidence.hands_states_on() else ():
        yield group.found(f"{_begins(group)}, and its last state is not among what is handed on ({group.calls})")


def _begins(group: Group) -> str:
    """Describe which state begins anew, and from what."""
    facts = group.facts
    givers = {facts.units[facts.events[event].unit].name for each in group.arrivals for event in each.outputs}
    if givers:
        return f"{group.slots} gets what was an output of {', '.join(sorted(givers))}, and not the last state"
    return f"{group.slots} begins anew"


_fault("random-state")(_by_kind("random", "{into} starts from random numbers ({slots}; {calls})"))


@_fault("noisy-state")
def _noisy_state(evidence: Evidence) -> Iterator[Detection]:
    noisy = [arrival for arrival in evidence.arrivals if arrival.noisy]
    for unit in dict.fromkeys(map(evidence.unit_of, noisy)):
        group = evidence.group(unit, (arrival for arrival in noisy if evidence.unit_of(arrival) == unit))
        what = f"{group.slots}; {group.calls}"
        yield group.found(f"random numbers meet the state of {group.into.name} with training=False ({what})")


@_fault("always-random")
def _always_random(evidence: Evidence) -> Iterator[Detection]:
    drawn = any(arrival.random or arrival.noisy for arrival in evidence.arrivals)
    if evidence.failed("repeat") and not evidence.failed("fresh") and not drawn:
        yield evidence.failed_test("repeat", "Random numbers are drawn with training=False")


@_fault("future-leak")
def _future_leak(evidence: Evidence) -> Iterator[Detection]:
    failed = [name for name in ("causal", "training") if evidence.failed(name)]
    if failed and evidence.declared.causal:
        yield evidence.failed_test(failed[0], "Predictions depend on later tokens")


@_fault("batch-leak")
def _batch_leak(evidence: Evidence) -> Iterator[Detection]:
    if evidence.failed("batch"):
        yield evidence.failed_test("batch", "Predictions depend on other rows of the batch")
    elif evidence.failed("alone"):
        alone = (evidence_of(run) for run in evidence.variants.get(ONE_ROW, ()))
        if all(each.kinds() <= {*SEEN_RIGHT, "unknown"} for each in alone):
            detail = evidence.oracles["alone"].detail
            yield Detection(seen=f"Predictions depend on whether there are other rows: {detail}")


@_fault("chunk-variance")
def _chunk_variance(evidence: Evidence) -> Iterator[Detection]:
    if not evidence.failed("chunk"):
        return
    declared, seen = evidence.declared, SEEN_OF_CUTS
    transformed = [unit.name for unit in evidence.transformed_between_calls()]
    if transformed:
        seen = f"{seen}, and the state of {', '.join(transformed)} is transformed between calls"
    meant = not declared.causal or declared.chunked or evidence.has("declared") or transformed
    nothing_carried = (
        bool(evidence.arrivals)
        and not (evidence.takes_states or evidence.gives_states)
        and not evidence.has("carried", "carried-transformed", "crossed", "mixed", "swapped", "stale", "fresh")
    )
    by_design = declared.depends_on_cuts or bool(evidence.all_seen() and meant) or nothing_carried
    if not by_design:
        units = dict.fromkeys(evidence.units[evidence.unit_of(arrival)].name for arrival in evidence.arrivals)
        layer = next(iter(units)) if len(units) == 1 else "LAYER"
        fitting = f"chunked={layer} or chunked=true" if evidence.all_seen() else "chunked=true"
        seen = f"{seen} (declare {fitting} if that is meant)"
    yield evidence.failed_recurrence("chunk", seen, severity="warning" if by_design else None)


for _name in ("call-variance", "padding-leak", "cache-operation", "packing-leak"):
    _fault(_name)(None)


@_fault("unused-state")
def _unused_state(evidence: Evidence) -> Iterator[Detection]:
    hands_on = evidence.takes_states or evidence.gives_states or any(unit.stateful for unit in evidence.units)
    if evidence.failed("used") and hands_on:
        yield evidence.failed_recurrence("used", "The past has no effect on the predictions")


_fault("unused-part", "warning")(None)


@_fault("frozen-trace")
def _frozen_trace(evidence: Evidence) -> Iterator[Detection]:
    trace = evidence.trace
    for seen, spot in trace.frozen:
        yield Detection(seen=seen, at=spot)
    if trace.trap and not trace.frozen:
        seen = f"{trace.trap} is a tf.function on a model that was not built when it was handed over"
        yield Detection(seen=seen, severity="warning")


@_fault("uncarried-state", "info")
def _uncarried_state(evidence: Evidence) -> Iterator[Detection]:
    kinds = ("declared", "uncarried", *(() if evidence.hands_states_on() else ("dropped",)))
    for group in evidence.groups(*kinds) if evidence.wired_by == "author" else ():
        if not any(arrival.sources for arrival in group.arrivals):
            yield group.found(f"{group.into.name} begins anew at every call ({group.slots})")
