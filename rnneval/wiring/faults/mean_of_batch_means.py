"""A perplexity is computed from means over batches of different size, each of which counts the same.

## What it finds
Mean losses of batches that are averaged without weights and then raised to a perplexity or converted to bits, where the
last batch is smaller: a `DataLoader` without `drop_last=True`, a dataset from `batch(n)` without `drop_remainder=True`,
slices of `range(0, len(rows), size)`.

## Why it is wrong
A token of the last batch counts more than the others. The result depends on the batch size, and two models that were
evaluated with different batch sizes cannot be compared: mean losses of 2 nats over 99 tokens and 6 nats over one token
give the perplexity exp(2.04) = 7.7, while exp of the mean of 2 and 6 is 54.6.

## Example
```python
for x, y in DataLoader(data, batch_size=64):
    losses.append(F.cross_entropy(model(x), y).item())
perplexity = math.exp(np.mean(losses))  # RNN014
```

## What to write instead
Weigh each mean by its number of tokens.

```python
for x, y in DataLoader(data, batch_size=64):
    total_nats += F.cross_entropy(model(x), y, reduction="sum").item()
    tokens += y.numel()
perplexity = math.exp(total_nats / tokens)
```

## When it is silent
Where the batches come from elsewhere, such as a parameter `loader`; for batches of one row; where the mean loss is only
shown, as the progress of training; and where a batch's loss is multiplied by anything. Batches of equal size whose
padding differs have the same fault, which the source does not show.

## References
keras-team/keras-hub #2958 (the metric Perplexity averaged the means of batches with different numbers of tokens).
"""

from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts

CODE = "RNN014"
NAME = "mean-of-batch-means"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find unweighted means of batch means that become a perplexity or bits."""
    for fault in (fault for fault in facts.scores if fault.kind == NAME):
        yield Match(
            node=fault.node,
            message=f"`{fault.seen}` gives each batch the same weight, although the last one may be smaller: weigh "
            "each mean loss by its number of tokens",
        )
