"""A layer's state is mixed with that of another layer.

## What it finds
The state that goes into a layer holds its own past and something foreign: an average of two states, a slice that is
off, a reshape across layers.

## Why it is wrong
Part of what the layer continues from was never its own state, so its memory of the text is damaged at every segment
although shapes and training look fine.

## Example
```python
s1, s2 = flat[:, 4:12], flat[:, 8:]                  # off by four: s1 ends in layer 2's state
```

## What to write instead
Keep states in a tuple or list, one entry a layer; where they must be one tensor, take it apart with `tf.split` by the
layers' widths.

Cross-layer gated states are mixed by design: say so with `--declare mixed=LAYER`.

## References
Chung et al. 2015, Gated Feedback Recurrent Neural Networks (states that are mixed on purpose).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnneval.wiring.evidence import Detection, Evidence

NAME = "mixed-state"
SEVERITY = "error"
ORDER = 40


def find(evidence: "Evidence") -> Iterator["Detection"]:
    """Find own and foreign states together."""
    for group in evidence.groups("mixed"):
        seen = f"{group.into.name} continues from its own state mixed with another ({group.flow}; {group.calls})"
        yield evidence.detection(seen, group)
