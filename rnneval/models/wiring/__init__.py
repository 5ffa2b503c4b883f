"""The dynamic wiring check: is each layer's state given back to the same layer?

Facts are gathered here, by running the model; the rules and the verdict are in `rnneval.wiring`, and know no
TensorFlow.
"""

from collections.abc import Iterable
from typing import Any

from rnneval.models.adapters import predicts_once
from rnneval.models.layers import is_graph
from rnneval.models.lm import RecurrentLM
from rnneval.models.wiring.gathering import gather
from rnneval.records.wiring import Wiring
from rnneval.wiring.facts import Facts, parse_declarations, require_known
from rnneval.wiring.judging import wiring_of
from rnneval.wiring.places import by_place

__all__ = ["check_layers"]

_WINDOW = (
    "a window model: it predicts from the last tokens alone, each time from the start, so there is no state to carry"
)


def check_layers(model: Any, *, declare: Iterable[str] = (), vocab_size: int | None = None, seed: int = 0) -> Wiring:
    """Check a Keras model or another object that holds Keras layers; see `rnneval.check`, which has the same arguments.

    Raises:
        UsageError: a declaration is not one, or names a layer that the model does not have.
    """
    declared = parse_declarations(declare)
    lm = model if isinstance(model, RecurrentLM) else None
    inner = model if lm is None else lm.model  # what its author wired
    if is_graph(inner) and predicts_once(inner):
        return wiring_of(Facts(declared=declared, failure=_WINDOW))
    facts = gather(inner, declared, vocab_size=vocab_size, seed=seed, lm=lm)
    if facts.units:
        require_known(declared, by_place(facts).units)
    return wiring_of(facts)
