"""A layer starts from the state that another layer made in the same call.

## What it finds
The state that goes into a layer (or a cell) comes from another layer's new state of the very same call: through one
variable used for both, `x, *states = …`, a loop over layers that passes `[h, c]` on, an attribute, or the layer's last
output.

## Why it is wrong
Each layer's state belongs to its own space. A layer that has read the whole segment gives the state of its *end*: the
receiver sees the future of the text that it is to predict, so the training loss looks fine, generation is bad, and a
perplexity computed from it is not one.

Only one state comes out at the end, so the other layer's memory is lost at every call.

Crossed *cells* inside one step loop leak nothing (a deep-transition cell is just that), and no test of behaviour can
object to them; where that is meant, say so with `--declare mixed=LAYER`.

## Example
```python
x, states = self.gru(x, initial_state=states)
x, states = self.gru_2(x, initial_state=states)  # RNN001: gru_2 starts from gru's final state
```

## What to write instead
Keep one state for each layer: give it to that layer alone, and return all of them.

```python
s1, s2 = states or (None, None)
x, s1 = self.gru(x, initial_state=s1)
x, s2 = self.gru_2(x, initial_state=s2)
return x, (s1, s2)
```

## When it is silent
An encoder may hand its last state to a decoder, once, layer by layer or to all layers: they read different texts. The
linter is also silent about a layer fed with one vector repeated; a state that a trained layer mapped first, on any path
through the code; a giver that reads backwards; and layers that are named encoder and decoder.

## References
Pascanu et al. 2014, How to Construct Deep Recurrent Neural Networks (deep transition and stacked states). Sutskever,
Vinyals, Le 2014, Sequence to Sequence Learning with Neural Networks (the handoff that is right). TensorFlow tutorial,
Text generation with an RNN (the model that is stacked).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnneval.linter.finding import Match, line_of
from rnneval.linter.flow.facts import Event, Facts, earlier_pass, feeds, given_by, judged, sources
from rnneval.linter.flow.values import Data, alternatives

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

CODE = "RNN001"
NAME = "shared-state"
SEVERITY = "error"
ORDER = 10
CORRECTS = True


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find states from another layer, made in the same call."""
    for group in evidence.groups_within("crossed", same_call=True):
        giver = group.source.name if group.source else "another unit"
        if group.into.is_layer:
            seen, meant = f"{group.into.name} starts from the state that {giver} made in the same call", ""
        else:
            seen = f"cell {group.into.name} takes the state that {giver} made in the same call"
            meant = f"; if that is meant, give --declare mixed={group.into.name}"
        yield evidence.detection(f"{seen} ({group.flow}; {group.calls}){meant}", group)


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find states that one layer gave back and another layer above it received."""
    for event in facts.events:
        giver = _giver(facts, event) if judged(event) else None
        if giver is not None:
            yield Match(
                node=event.node,
                message=f"`{event.name}` starts from the state that `{giver.name}` {line_of(giver.node)} gave "
                f"back in the same call: give each layer a state of its own, `{event.name}`'s from the call before",
            )


def _giver(facts: Facts, event: Event) -> Event | None:
    """Return the layer of the same call from whose state or last output this one starts; None if not certain."""
    given = [value for _, value in sources(event)]
    everything = [*given, *(() if event.state is None else alternatives(event.state))]
    if any(isinstance(value, Data) and value.last_of is None for value in everything):
        return None  # something that is not followed may be in the state: a state mapped by a layer, say
    # The first of several ways, whatever the order of a set: a message is the same on every run.
    found = sorted((giver for _, _, giver in given_by(facts, event)), key=lambda giver: giver.number)
    outputs = [value.last_of for value in given if isinstance(value, Data) and value.last_of is not None]
    for giver in [*found, *(facts.events[number] for number in outputs[:1])]:
        crosses = giver.layer != event.layer and judged(giver) and feeds(giver, event)
        if crosses and not earlier_pass(giver, event) and not _is_handoff(giver, event):
            return giver
    return None


def _is_handoff(giver: Event, event: Event) -> bool:
    """Believe layers that say what they are: an encoder's or a backward reader's state is meant for the decoder."""
    if giver.spec.backwards and not event.spec.backwards:
        return True
    return "enc" in giver.name.lower() and "dec" in event.name.lower()
