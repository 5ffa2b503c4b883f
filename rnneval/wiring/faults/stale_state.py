"""A layer gets a state older than its last one.

## What it finds
The state that goes in is the layer's own, but not the newest: the *incoming* state was returned (or kept) instead of
the new one, or the first call's initial tensor is used again. In a stack, the linter finds it layer by layer: in the
returned tuple, list or dict, and in an attribute that no call writes while another layer's moves on.

## Why it is wrong
The layer never moves on from that point of the text: what it read in between is lost to it.

Everything runs and the shapes agree.

## Example
```python
x, new = self.gru(x, initial_state=states)
return x, states  # RNN004: the incoming state, not `new`
```

## What to write instead
Return the state that the layer gave in this call.

```python
x, states = self.gru(x, initial_state=states)
return x, states
```

## When it is silent
The linter is silent where the new state is returned, stored or used in any way, and where only the output is returned.

## References
docs, wiring: the state that a layer returns at call t − 1 is the one it starts from at call t.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import Event, Facts, Function, arrivals, judged, neighbour, sources
from rnneval.linter.flow.values import Incoming, Many, Table, Value, alternatives, emissions, leaves, left_at

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN004"
NAME = "stale-state"
SEVERITY = "error"
ORDER = 60


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find older states of the layer itself, and initial tensors that were made in an earlier call."""
    for group in evidence.groups("stale"):
        what = "an older state of its own" if group.items[0].arrival.sources else "the initial state of an earlier call"
        seen = f"{group.into.name} gets {what}, not its last one ({group.slots}; {group.calls})"
        yield evidence.detection(seen, group)


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find incoming states among what is returned, and attributes that keep a state which never moves on."""
    yield from _standing(facts)
    for function in facts.functions:
        for node, value in function.returns:
            found = _stale(facts, function, value)
            if found is not None:
                event, place = found
                # The place as the source writes it, as far as its keys are literals.
                keys = takewhile(lambda key: isinstance(key, int | str), place.path)
                written = "".join(str(key) if str(key).startswith(".") else f"[{key!r}]" for key in keys)
                yield Match(
                    node=node,
                    message=f"the state that came in (`{place.carrier}{written}`) is returned, and the new state of "
                    f"`{event.name}` {line_of(event.node)} is thrown away: return what the layer gave back",
                )


def _standing(facts: Facts) -> Iterator[Match]:
    """Find layers that start from an attribute which no call writes, in a stack with one that is carried in one."""
    for arrival in arrivals(facts):
        beside = arrival.event
        if arrival.carried.returned or not arrival.is_own(facts):
            continue
        function = facts.functions[beside.function]
        written = {carried.carrier for carried in function.carried}
        for event in facts.of(function):
            kept = {place for _, place in sources(event) if isinstance(place, Incoming) and not place.path}
            standing = [place for place in kept if place.carrier.startswith("self.") and place.carrier not in written]
            if standing and judged(event) and neighbour(event, [beside]) and not _is_used(facts, function, event):
                yield Match(
                    node=event.node,
                    message=f"`{event.name}` starts from `{standing[0].carrier}`, which stays as it is, and its new "
                    f"state is thrown away, while that of `{beside.name}` {line_of(beside.node)} is kept: keep both",
                )


def _stale(facts: Facts, function: Function, value: Value) -> tuple[Event, Incoming] | None:
    """Return a layer whose incoming state is returned in place of its new one, and that state; None without one."""
    for option in alternatives(value):
        if not isinstance(option, Many) or len(option.items) < 2:
            continue
        for event in facts.of(function):
            if not judged(event) and event.spec.framework != "guess":
                continue
            for _, place in sources(event):
                if isinstance(place, Incoming) and _comes_back(option, place) and not _is_used(facts, function, event):
                    return event, place
    return None


def _comes_back(returned: Many, place: Incoming) -> bool:
    """Return whether the very place that the layer read is returned as it came, alone or in its structure."""
    if not place.carrier or place.carrier.startswith("input "):
        return False
    for item in returned.items[1:]:
        for option in alternatives(item):
            if isinstance(option, Table) and left_at(option, place.path) == place and emissions(option):
                return True
            if any(isinstance(leaf, Incoming) and _covers(leaf, place) for leaf in leaves(option)):
                return not place.carrier.startswith("self.")
    return False


def _covers(left: Incoming, place: Incoming) -> bool:
    """Return whether what is left as it came holds the place."""
    depth = len(left.path)
    if left.carrier != place.carrier or place.path[:depth] != left.path:
        return False
    at = place.path[depth] if len(place.path) > depth else None
    return not left.sliced or (isinstance(at, int) and left.start <= at and (left.stop is None or at < left.stop))


def _is_used(facts: Facts, function: Function, event: Event) -> bool:
    """Return whether any new state of this layer is read, returned or carried anywhere in the function."""
    same = facts.by_layer[function.number, event.layer]
    numbers = {other.number for other in same}
    left = (*(value for _, value in function.returns), *(carried.left for carried in function.carried))
    return any(other.read for other in same) or any(numbers & emissions(value) for value in left)
