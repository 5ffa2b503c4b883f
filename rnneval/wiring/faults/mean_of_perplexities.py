"""Perplexities are averaged: the mean of exponentials is not the perplexity of the text.

## What it finds
A mean of exp(loss) over tokens, batches or texts: `tf.reduce_mean(tf.exp(loss))`, a list or a sum of batch perplexities
that is divided by its length, a metric object that is given perplexities, and a function that returns a perplexity in
`compile(metrics=[…])`, which Keras averages over the batches.

## Why it is wrong
The perplexity of a text is the exponential of its mean loss. The mean of exponentials is larger whenever the losses
differ (Jensen's inequality), and by how much depends on the size of the batches: losses of 2 and 6 nats have the
perplexity exp(4) = 54.6, while the mean of exp(2) and exp(6) is 205.4.

Two such numbers cannot be compared, unless batches and text are the same.

## Example
```python
values.append(math.exp(loss))
perplexity = sum(values) / len(values)  # RNN013
```

## What to write instead
Average the losses, weighted by their tokens, and take the exponential once, at the end.

```python
total_nats += loss * tokens
total_tokens += tokens
perplexity = math.exp(total_nats / total_tokens)
```

## When it is silent
Where it is not certain that the number is a perplexity: a loss of unknown origin whose exponential has no name that
says so. Also in loops over seeds, folds, runs and epochs, whose perplexities may be averaged as results of their own,
and for a geometric mean, `exp(mean(log(perplexities)))`.

## References
magenta/magenta #239 (metrics/perplexity as the streaming mean of tf.exp(loss)). keras-team/keras #13537 and #8267 (a
perplexity among the metrics differs from the exponential of the loss). Jelinek et al. 1977, Perplexity, a measure of
the difficulty of speech recognition tasks.
"""

from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts

CODE = "RNN013"
NAME = "mean-of-perplexities"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find means of perplexities."""
    for fault in (fault for fault in facts.scores if fault.kind == NAME):
        yield Match(
            node=fault.node,
            message=f"`{fault.seen}`: perplexities are averaged, which gives more than the perplexity of the text; "
            "average the losses, and take the exponential of their mean",
        )
