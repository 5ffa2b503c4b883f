"""A stateful model is trained on shuffled batches.

## What it finds
`fit` of a model with `stateful=True` layers, on arrays without `shuffle=False`, or on a dataset that was shuffled.

## Why it is wrong
A stateful layer starts batch n+1 from the state of batch n, row by row. Shuffled, the rows do not follow on each
other, and every state is that of some other text.

## Example
```python
model.add(LSTM(64, stateful=True, batch_input_shape=(32, 10, 1)))
model.fit(x, y, epochs=10)  # RNN010: fit shuffles unless told not to
```

## What to write instead
```python
for _ in range(10):
    model.fit(x, y, epochs=1, shuffle=False)
    model.reset_states()
```

## When it is silent
Where the order is not known to change; training models without state beside a stateful one for inference.

## References
Keras, *Recurrent layers*, note on using statefulness: "specify shuffle=False when calling fit()".
"""

from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts, models, shuffles

CODE = "RNN010"
NAME = "stateful-shuffle"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find stateful models that are trained on shuffled batches."""
    for model in models(facts):
        for fit in model.fits:
            if shuffles(facts.tree, fit):
                yield Match(
                    node=fit,
                    message=f"`{model.name}` has stateful layers and is trained on shuffled batches: the state of one "
                    "batch goes to rows that do not follow on it; pass shuffle=False, or leave the dataset in its "
                    "order",
                )
