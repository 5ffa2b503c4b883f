"""One layer object stands twice in a stack.

## What it finds
The same recurrent layer called a second time on its own outputs, a loop that does so, and `[layer] * n`, which is n
times the same object, run as a stack.

## Why it is wrong
Two layers of a stack are meant to have weights and states of their own. One object has one set of weights and,
where it carries, one state: the second passage starts from, or overwrites, the first one's.

## Example
```python
x, s = self.gru(x, initial_state=s)
x, s = self.gru(x, initial_state=s)  # RNN007
```

## What to write instead
```python
x, s1 = self.gru1(x, initial_state=s1)
x, s2 = self.gru2(x, initial_state=s2)
```

## When it is silent
Steps over time (the outputs of one step, chosen or mapped, go in with the state of that step); the same layer on
two inputs of their own, in training and in inference; cells.

## References
PyTorch, *nn.ModuleList*, and the notes on sharing parameters.
"""

from collections.abc import Iterator

from rnneval.linter.flow.facts import Event, Facts
from rnneval.linter.flow.relations import feeds, given_by
from rnneval.linter.spot import Spot, at

CODE = "RNN007"
NAME = "shared-layer"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Look for a layer that reads what it gave."""
    for event in facts.events:
        if event.spec.framework in ("keras", "torch") and (not event.spec.cell or _is_multiplied(facts, event)):
            first = _first(facts, event)
            if first is not None:
                yield Spot(
                    node=event.node,
                    message=f"`{event.name}` runs on its own outputs {at(first.node)}: one layer "
                    "object, its weights "
                    "and its state, stands twice in the stack; make one for each place",
                )


def _is_multiplied(facts: Facts, event: Event) -> bool:
    """Tell whether a cell stands several times in a list that is run as a stack."""
    return _of_layers(event) and any(repeated.layer == event.layer for repeated in facts.repeated)


def _first(facts: Facts, event: Event) -> Event | None:
    for number in sorted(event.enters.passed):
        other = facts.events[number]
        if other.layer == event.layer and other.function == event.function and feeds(other, event):
            loops = other.node is event.node
            chained = any(True for _ in given_by(facts, event))
            if not loops and (not chained or event.enters.whole_of == number):
                return other
            if loops and not chained and event.state is None and event.enters.whole_of == number:
                return other
            if loops and _of_layers(event):
                return other
    return None


def _of_layers(event: Event) -> bool:
    """Tell whether the innermost loop runs over layers: these passes are places in a stack, not steps over time."""
    return bool(event.turns) and event.turns[-1][2]
