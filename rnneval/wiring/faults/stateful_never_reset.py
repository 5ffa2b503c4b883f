"""A stateful model is trained and its states are never reset.

## What it finds
A model with `stateful=True` layers, trained for several epochs in order, in a file that resets no state anywhere.

## Why it is wrong
The second epoch begins with the state that the end of the text left behind, and so does every evaluation and every
generated text.

## Example
```python
model.fit(x, y, epochs=10, shuffle=False)  # RNN011
```

## What to write instead
```python
for _ in range(10):
    model.fit(x, y, epochs=1, shuffle=False)
    model.reset_states()  # Keras 3: layer.reset_state() for each stateful layer
```

## When it is silent
Where the file resets a state anywhere, in a callback or a loop; a single epoch.

## References
Keras, *Recurrent layers*, note on using statefulness.
"""

import ast
from collections.abc import Iterator

from rnneval.linter.finding import Match
from rnneval.linter.flow.facts import Facts, keyword, models, shuffles

CODE = "RNN011"
NAME = "stateful-never-reset"
SEVERITY = "warning"


def find_in_source(facts: Facts) -> Iterator[Match]:
    """Find training over several epochs without a reset."""
    for model in models(facts) if not facts.survey.resets else ():
        fits = [fit for fit in model.fits if not shuffles(facts.tree, fit)]
        epochs = [keyword(fit, "epochs") or keyword(fit, "nb_epoch") for fit in fits]
        several = any(given and not (isinstance(given, ast.Constant) and given.value == 1) for given in epochs)
        if fits and (model.fit_in_loop or several):
            yield Match(
                node=fits[0],
                message=f"`{model.name}` has stateful layers that are never reset: each epoch starts from the state "
                "that the last one left; reset the states where the text begins anew",
            )
