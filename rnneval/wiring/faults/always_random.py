"""Random numbers are drawn at every call, with training=False too.

## What it finds
The same calls were made twice, and their logits differ (oracle *repeat*), although no state is drawn at random. Where
the difference comes from the calls before, the rule is `leftover-state`.

## Why it is wrong
No result can be reproduced: a perplexity is that of one draw, and two models cannot be compared. Dropout that is meant
for training also makes each prediction worse than the model can do.

## Example
```python
x = tf.keras.layers.Dropout(0.3)(x, training=True)   # on at inference too
x = tf.nn.dropout(x, rate=0.3)                       # knows no training
```

## What to write instead
Pass `training` on: `self.dropout(x, training=training)`, or leave it out, and Keras does it.

A model that draws on purpose (Monte Carlo dropout) needs a switch that is off by default; average its draws outside of
the evaluation.

## References
Gal and Ghahramani 2016, Dropout as a Bayesian Approximation.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "always-random"
SEVERITY = "error"
ORDER = 105


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find a failed oracle *repeat* that nothing else explains."""
    drawn = any(item.arrival.random or item.arrival.noisy for item in evidence.kinds)
    if evidence.failed("repeat") and not evidence.failed("fresh") and not drawn:
        yield evidence.failure("repeat", "Random numbers are drawn with training=False")
