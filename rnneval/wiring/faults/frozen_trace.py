"""A `tf.function` keeps the weights that it had when it was traced.

## What it finds
After the weights were changed, the logits with and without tracing differ; or, as a warning, a `tf.function` on
`call` that would be traced before the model is built.

## Why it is wrong
A `tf.function` that is first called while the model is not yet built bakes the *initial* weights into its trace as
constants: weights that are trained or loaded afterwards have no effect on inputs of that shape, without any message.

## Example
```python
class Model(tf.keras.Model):
    @tf.function
    def call(self, ids): ...

model = Model()
model(ids)                                           # traced unbuilt
model.load_weights("w.weights.h5")                   # the trace keeps the initial weights
```

## What to write instead
Build the model before its first traced call: call it once under `tf.config.run_functions_eagerly(True)`, or leave
`@tf.function` off `call` (Keras traces `fit` and `predict` by itself).

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
    elif trace.trap:
        seen = f"{trace.trap} is a tf.function on a model that was not built when it was handed over"
        yield evidence.detection(seen, severity="warning")
    elif trace.uncompared:
        seen = f"A trace that the model came with could not be compared to an eager run: {trace.uncompared}"
        yield evidence.detection(seen, severity="info")
