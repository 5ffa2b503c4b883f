"""A part of the state has no effect on the predictions.

## What it finds
A step function was called with its own state in which one array was exchanged for that of another text: the logits of
the next 64 tokens are equal (oracle *leaves*).

## Why it is wrong
What the array remembers is never read. Either it is a remainder that only takes memory, or the model was meant to use
it, and has forgotten a part of the past (the cell state of an LSTM, the inputs of a short convolution).

## Example
```python
def step(ids, state):
    x, (h, c) = lstm(embedding(ids), (state["h"], zeros(len(ids))))    # state["c"] is never read
    return out(x), {"h": h, "c": c}
```

## What to write instead
Read the array where the call begins, `lstm(embedding(ids), (state["h"], state["c"]))`, or leave it out of the state.

## References
docs, backends: the tests of step functions.
"""

NAME = "unused-part"
SEVERITY = "warning"
