"""A layer starts from the state that another layer of the same stack has just given back.

## What it finds
The state that one recurrent layer gives back is handed to the next layer of the same stack, in the same call:
through one variable used for both, `x, *states = …`, a loop over layers that hands `[h, c]` on, an attribute, or
the layer's last output.

## Why it is wrong
Each layer's state lives in a space of its own. The layer above starts every segment from the *final* state of the
layer below, so in training it has seen the future of the segment: the loss looks fine, while generation, token by
token, is terrible. Only one state comes out at the end, so the other layer's memory is lost at every call.

## Example
```python
x, states = self.gru1(x, initial_state=states)
x, states = self.gru2(x, initial_state=states)  # RNN001: gru1's state
```

## What to write instead
```python
s1, s2 = states or (None, None)
x, s1 = self.gru1(x, initial_state=s1)
x, s2 = self.gru2(x, initial_state=s2)
return x, (s1, s2)
```

## When it is silent
A decoder that starts from an encoder's state (its sequence is not the encoder's outputs alone), layer by layer or
fanned out; a layer fed with one vector repeated; a state that was mapped by a trained layer first, on any way
through the code; a giver that reads backwards; giver and receiver that call themselves encoder and decoder.

## References
Sutskever, Vinyals, Le (2014), *Sequence to Sequence Learning with Neural Networks*, for the handoff that is right;
the TensorFlow tutorial *Text generation with an RNN*, for the model that is stacked.
"""

from collections.abc import Iterator

from rnneval.linter.flow.facts import Event, Facts
from rnneval.linter.flow.relations import earlier_pass, feeds, given_by, judged, last_output, unsure
from rnneval.linter.spot import Spot, at

CODE = "RNN001"
NAME = "shared-state"
SEVERITY = "error"


def find(facts: Facts) -> Iterator[Spot]:
    """Look at every state that one event gave and another received."""
    for event in facts.events:
        giver = _giver(facts, event) if judged(event) else None
        if giver is not None:
            yield Spot(
                node=event.node,
                message=f"`{event.name}` starts from the state that `{giver.name}` {at(giver.node)} gave "
                f"back in the same call: give each layer a state of its own, `{event.name}`'s from the call before",
            )


def _giver(facts: Facts, event: Event) -> Event | None:
    if unsure(event):
        return None
    found = [giver for _, _, giver in given_by(facts, event)]
    last = last_output(facts, event)
    for giver in [*found, *([last] if last is not None else [])]:
        crosses = giver.layer != event.layer and judged(giver) and feeds(giver, event)
        if crosses and not earlier_pass(giver, event) and not _is_handoff(giver, event):
            return giver
    return None


def _is_handoff(giver: Event, event: Event) -> bool:
    """Believe layers that say what they are: an encoder's or a backward reader's state is meant for the decoder."""
    if giver.spec.backwards and not event.spec.backwards:
        return True
    return "enc" in giver.name.lower() and "dec" in event.name.lower()
