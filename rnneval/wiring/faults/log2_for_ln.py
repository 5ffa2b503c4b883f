"""A loss is raised to a perplexity with the wrong base: 2 for nats, or e for bits.

## What it finds
`2 ** loss`, `pow(2, loss)` or `exp2(loss)` of a cross-entropy in nats, and `exp` of bits, such as a loss that was
divided by `log(2)` or made with `log2`.

## Why it is wrong
Keras, TensorFlow and PyTorch compute losses with natural logarithms, in nats, so that their perplexity is a power of e.
2 to the power of nats is too small, e to the power of bits too large: at 4 nats a token the perplexity is
exp(4) = 54.6, and 2 ** 4 is 16.

## Example
```python
loss = F.cross_entropy(logits, targets)
perplexity = 2 ** loss.item()  # RNN015
```

## What to write instead
```python
perplexity = math.exp(loss.item())
bits = loss.item() / math.log(2)  # the same perplexity is 2 ** bits
```

## When it is silent
Where the unit is not certain: a loss that is a parameter, comes from another file, or is in nats on one branch and in
bits on another.

## References
keras-team/keras #8267 (a perplexity by `K.pow(2.0, …)` of a cross-entropy in nats). docs, number: nats and bits.
"""

from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts

CODE = "RNN015"
NAME = "log2-for-ln"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find powers of 2 of nats and powers of e of bits."""
    for fault in (fault for fault in facts.scores if fault.kind == NAME):
        base = "a power of e, `exp(loss)`" if fault.unit == "nats" else "a power of 2, `2 ** bits`"
        yield Match(
            node=fault.node, message=f"`{fault.seen}`: the loss is in {fault.unit}, and its perplexity is {base}"
        )
