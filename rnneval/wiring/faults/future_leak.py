"""A prediction depends on tokens that come after it.

## What it finds
A later token of the same segment was altered, and an earlier prediction changed (oracle *causal*), or did so with
training=True (oracle *training*).

## Why it is wrong
The model sees what it is to predict: its loss is low for a reason that is gone when it generates, and a perplexity
computed from it is not one.

## Example
```python
x = tf.keras.layers.Bidirectional(tf.keras.layers.GRU(units, return_sequences=True))(x)   # in a language model
```

## What to write instead
Let each position see only what comes before it: no Bidirectional, no `go_backwards`, causal padding in convolutions,
no mean over time, and no layer that starts from another's final state.

A model that is no language model (a tagger) may look ahead: declare it with `--declare causal=false`.

## References
docs, wiring: the oracles.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "future-leak"
SEVERITY = "error"
ORDER = 110


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *causal* or *training* where looking ahead was not declared."""
    failed = [name for name in ("causal", "training") if evidence.failed(name)]
    if failed and evidence.facts.declared.causal:
        yield evidence.failure(failed[0], "Predictions depend on later tokens")
