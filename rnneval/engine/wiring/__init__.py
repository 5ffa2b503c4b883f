"""The dynamic wiring check: is each layer's state given back to the same layer?

Facts are gathered here, by running the model; the rules and the verdict are in `rnneval.wiring`, and know no
TensorFlow.
"""

from collections.abc import Iterable
from typing import Any

from rnneval.engine.wiring.gathering import gather
from rnneval.models.adapters import predicts_once
from rnneval.models.layers import is_graph
from rnneval.models.lm import RecurrentLM
from rnneval.records.wiring import Wiring
from rnneval.wiring.facts import Facts, parse_declarations, require_known
from rnneval.wiring.judging import wiring_of
from rnneval.wiring.places import by_place

__all__ = ["check"]

_WINDOW = (
    "a window model: it predicts from the last tokens alone, each time from the start, so there is no state to carry"
)


def check(model: Any, *, declare: Iterable[str] = (), vocab_size: int | None = None, seed: int = 0) -> Wiring:
    """Prove (or refute) that each layer's state goes back into the same layer.

    The model is run eagerly over a few short segments of random ids, with every recurrent layer replaced by a stub
    that emits numbers of its own; then, as it is, by five tests of its behaviour. Its weights and states are left as
    they were.

    Args:
        model: A Keras model, a `RecurrentLM`, or any callable object that holds recurrent layers or cells.
        declare: Intended by its author: `causal=false`, `stateless=LAYER`, `shared=LAYER`, `mixed=LAYER`.
        vocab_size: The number of ids; by default the size of its embedding, else the width of its logits.
        seed: Random seed for the ids and the emitted numbers.

    Raises:
        UsageError: a declaration is not one, or names a layer that the model does not have.
    """
    declared = parse_declarations(declare)
    inner = model.model if isinstance(model, RecurrentLM) else model  # a RecurrentLM's model is what its author wired
    if is_graph(inner) and predicts_once(inner):
        return wiring_of(Facts(declared=declared, failure=_WINDOW))
    facts = gather(inner, declared, vocab_size=vocab_size, seed=seed)
    if facts.units:
        require_known(declared, by_place(facts).units)
    return wiring_of(facts)
