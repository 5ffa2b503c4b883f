"""One layer object is used as two layers of a stack.

## What it finds
A layer (or cell) runs twice in one call, and reads the second time what it gave the first time: it is called on its own
outputs, in a loop, or as `[layer] * n`, which is n times the same object. Or one cell object stands several times in
the list that is given to `RNN` or `StackedRNNCells`, or in two layers of which one reads what the other gave. The
linter also knows TensorFlow 1's `MultiRNNCell`.

## Why it is wrong
Both layers of the stack have the same weights (and may share a state), although they were meant to be two: the model
is smaller than it looks, and no test of its behaviour can tell.

## Example
```python
self.layers_ = [tf.keras.layers.GRU(units, return_sequences=True)] * 3  # three names for one layer
for layer in self.layers_:
    x = layer(x)  # RNN007

self.rnn = tf.keras.layers.RNN([tf.keras.layers.GRUCell(units)] * 3)  # RNN007
```

## What to write instead
Make one object for each layer: `[tf.keras.layers.GRU(units, return_sequences=True) for _ in range(3)]`.

```python
x, s1 = self.gru1(x, initial_state=s1)
x, s2 = self.gru2(x, initial_state=s2)
```

Weights shared over depth on purpose (a recurrent highway) are declared with `--declare shared=LAYER`.

## When it is silent
Loops over tokens run the same layer on each token in turn, with the state of the step before: they are not this fault.
The linter is also silent about the same layer on two inputs of their own, in training and in inference, about cells
that are called by hand, and about lists of cells that a function from elsewhere makes.

## References
Zilly et al. 2017, Recurrent Highway Networks (weights shared over depth on purpose). PyTorch, nn.ModuleList, and the
notes on sharing parameters. tensorflow/tensorflow #5485 and #13814 (`MultiRNNCell([cell] * n)`: shared weights, or an
error where the widths differ).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import Event, Facts, feeds, given_by
from rnneval.linter.flow.values import Const, Incoming, Layer, Many, Object, Value, alternatives

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN007"
NAME = "shared-layer"
SEVERITY = "error"
ORDER = 35


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find layers that read what they gave, stacks of one cell, and two layers of one cell."""
    yield from _run_again(evidence)
    yield from _stacked_twice(evidence)
    yield from _in_two_layers(evidence)


def _stacked_twice(evidence: "Evidence") -> Iterator["Detection"]:
    """Find cell objects that stand several times in one stack."""
    facts = evidence.facts
    for unit, fact in enumerate(facts.units):
        places: dict[int, list[str]] = {}
        for place, number in fact.cells:
            places.setdefault(number, []).append(place)
        for same in places.values():
            if len(same) > 1 and fact.place == 1 and not fact.names & facts.declared.shared:
                items = [item for item in evidence.kinds if facts.events[item.arrival.event].unit == unit]
                seen = f"{' and '.join(same)} of {fact.name} are one object: one cell stands for several layers"
                yield evidence.detection(seen, evidence.group(unit, items))


def _in_two_layers(evidence: "Evidence") -> Iterator["Detection"]:
    """Find layers that read what another layer with the same cell object gave; each has a state of its own."""
    facts = evidence.facts
    unit_of = [event.unit for event in facts.events]
    # One recurrence that is written in two ways (a layer over the text, its cell for what follows) hands its state on.
    linked = {(unit_of[s.event], unit_of[arrival.event]) for arrival in facts.arrivals for s in arrival.sources}
    pairs = {
        (unit_of[other], event.unit): item
        for item in reversed(evidence.kinds)
        for event in [facts.events[item.arrival.event]]
        for other in event.descends
        if facts.events[other].call == event.call
    }
    for below, above in sorted(pairs.keys() - linked):
        one, two = facts.units[below], facts.units[above]
        shared = {number for _, number in one.cells} & {number for _, number in two.cells}
        if shared and one.path != two.path and not (one.names | two.names) & facts.declared.shared:
            seen = f"{two.name} has the cell of {one.name}, whose outputs it reads: one object stands for two layers"
            yield evidence.detection(seen, evidence.group(above, [pairs[below, above]], below))


def _run_again(evidence: "Evidence") -> Iterator["Detection"]:
    """Find layers whose second input descends from their first output, at one place or at another."""
    facts = evidence.facts

    def path(event: int) -> str:
        return facts.units[facts.events[event].unit].path

    for unit, fact in enumerate(facts.units):
        if not fact.reused or fact.place > 1 or fact.names & facts.declared.shared:
            continue
        items = [item for item in evidence.kinds if path(item.arrival.event) == fact.path]
        again = [
            item
            for item in items
            if any(path(other) == fact.path for other in facts.events[item.arrival.event].descends)
        ]
        seen = f"{fact.name} runs more than once in one call and reads what it gave itself"
        yield evidence.detection(f"{seen}: one object stands for several layers", evidence.group(unit, again or items))


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find layers that read what they gave."""
    for event in facts.events:
        # Cells run once per token; only one that stands several times in a list that is run as a stack is a fault.
        multiplied = event.layer in facts.repeated and _of_layers(event)
        if event.spec.framework in ("keras", "torch") and (multiplied or not event.spec.cell):
            first = _first(facts, event)
            if first is not None:
                yield Match(
                    node=event.node,
                    message=f"`{event.name}` runs on its own outputs {line_of(first.node)}: one layer object, its "
                    "weights and its state, stands twice in the stack; make one for each place",
                )
    for node, cells in facts.stacks:
        if not isinstance(cells, Many) or all(isinstance(cell, Const) for cell in cells.items):
            continue
        known = [cell for cell in cells.items if all(map(_is_one_object, alternatives(cell)))]
        if cells.same or any(one == other for at, one in enumerate(known) for other in known[:at]):
            yield Match(
                node=node,
                message="one cell object stands several times in the stack: all of its layers share their weights, "
                "or building it fails; make a cell for each: `[make_cell() for _ in range(n)]`",
            )


def _is_one_object(value: Value) -> bool:
    """Return whether equal values of this kind stand for one and the same object."""
    if isinstance(value, Incoming):
        return all(isinstance(key, int | str) for key in value.path)
    return isinstance(value, Layer | Object)


def _first(facts: Facts, event: Event) -> Event | None:
    """Return the earlier call of the same layer, on whose outputs this one runs as another place of a stack."""
    chained = any(True for _ in given_by(facts, event))
    for number in sorted(event.enters.passed):
        other = facts.events[number]
        if other.layer == event.layer and other.function == event.function and feeds(other, event):
            whole = event.enters.whole_of == number
            if other.node is not event.node:
                if not chained or whole:
                    return other
            elif (not chained and event.state is None and whole) or _of_layers(event):
                return other
    return None


def _of_layers(event: Event) -> bool:
    """Return whether the innermost loop runs over layers: its passes are places in a stack, not steps over time."""
    return bool(event.turns) and event.turns[-1][2]
