"""The state that came in is handed on as if it were the new one.

## What it finds
A function that gives a layer its incoming state, and returns (or keeps) that incoming state while the layer's new
state is thrown away; an old attribute that is never brought up to date.

## Why it is wrong
The next call starts where this one started: the model never remembers more than one segment, though everything runs
and the shapes agree.

## Example
```python
x, new_states = self.gru(x, initial_state=states)
return x, states  # RNN004: the state that came in
```

## What to write instead
```python
x, states = self.gru(x, initial_state=states)
return x, states
```

## When it is silent
Where the new state is returned, stored or used in any way; where nothing is returned but the output.

## References
The invariant: S_out(l) at t−1 is S_in(l) at t.
"""

from collections.abc import Iterator

from rnneval.linter.flow.carry import left_at
from rnneval.linter.flow.facts import Event, Facts, Function
from rnneval.linter.flow.relations import judged, sources
from rnneval.linter.flow.values import Incoming, Many, Table, Value, emissions, options
from rnneval.linter.spot import Spot, at

CODE = "RNN004"
NAME = "stale-state"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Look for incoming states among what is returned."""
    for function in facts.functions:
        for node, value in function.returns:
            found = _stale(facts, function, value)
            if found is not None:
                event, place = found
                yield Spot(
                    node=node,
                    message=f"the state that came in (`{place.carrier}`) is returned, and the new state of "
                    f"`{event.name}` "
                    f"{at(event.node)} is thrown away: return what the layer gave back",
                )


def _stale(facts: Facts, function: Function, value: Value) -> tuple[Event, Incoming] | None:
    for option in options(value):
        if not isinstance(option, Many) or len(option.items) < 2:
            continue
        for event in facts.of(function):
            if not judged(event) and event.spec.framework != "guess":
                continue
            for _, place in sources(event):
                if isinstance(place, Incoming) and _comes_back(option, place) and not _new(facts, function, event):
                    return event, place
    return None


def _comes_back(returned: Many, place: Incoming) -> bool:
    """Tell whether the very place that the layer read is handed back as it came, alone or in its structure."""
    if not place.carrier or place.carrier.startswith("input "):
        return False
    for item in returned.items[1:]:
        for option in options(item):
            if (
                isinstance(option, Incoming)
                and option.carrier == place.carrier
                and place.path[: len(option.path)] == option.path
            ):
                return not option.carrier.startswith("self.")
            if isinstance(option, Table) and left_at(option, place.path) == place and emissions(option):
                return True
    return False


def _new(facts: Facts, function: Function, event: Event) -> bool:
    """Tell whether any new state of this layer is looked at anywhere in the function, or was never given a name."""
    same = facts.by_layer[function.number, event.layer]
    if any(other.read for other in same):
        return True
    numbers = {other.number for other in same}
    if any(numbers & emissions(value) for _, value in function.returns):
        return True
    return any(numbers & emissions(carried.left) for carried in function.carried)
