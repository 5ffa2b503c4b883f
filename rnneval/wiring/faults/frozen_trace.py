"""A `tf.function` keeps the weights, or the Python values, that it had when it was traced.

## What it finds
The model is called as its user calls it, and the same calls are made eagerly: the logits differ. Or they differ, with
and without tracing, after the weights were changed. A warning is given for a `tf.function` on `call` that would be
traced before the model is built.

## Why it is wrong
Python runs only while a trace is made, once for each shape of the inputs. What it reads then is a constant of the
trace, without any message: a flag that is set in the first call, a position that is counted in an attribute, and, where
the model is not built yet, the *initial* weights. Training and `evaluate` trace the model too.

The other findings are about the code as it is written, which is checked eagerly.

## Example
```python
@tf.function
def call(self, ids):
    state = self.state if self.started else tf.zeros_like(self.state)   # False in this trace for ever
    self.started = True
```

## What to write instead
Keep what changes between calls in a `tf.Variable`, or pass it in and return it, as a state; and build the model before
its first traced call: call it once under `tf.config.run_functions_eagerly(True)`, or leave `@tf.function` off `call`
(Keras traces `fit` and `predict` by itself).

## References
docs, wiring: frozen traces.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "frozen-trace"
SEVERITY = "error"
ORDER = 150
TOLERANCE = 1e-4


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find traced logits that differ from eager ones, or would."""
    trace = evidence.facts.trace
    if trace.difference is not None and not trace.difference <= TOLERANCE:
        seen = (
            f"Traced and eager logits differ by {trace.difference:.2g} of the largest logit after the weights changed; "
            "no layer is named, since the trace is of the whole call"
        )
        yield evidence.detection(seen)
    if trace.as_called:
        yield evidence.detection(trace.as_called, at=trace.spot)
    elif trace.trap:
        seen = f"{trace.trap} is a tf.function on a model that was not built when it was handed over"
        yield evidence.detection(seen, severity="warning")
