"""`rnneval.check`: the wiring check of any model, and its consequence for an evaluation: a leak has no perplexity."""

from collections.abc import Iterable
from typing import Any

from rnneval.backends.protocol import ChecksItself
from rnneval.errors import UsageError
from rnneval.records.run import Warning  # noqa: A004 - the record's own word
from rnneval.records.wiring import Wiring

LEAK_SEGMENT = 100
"""Tokens a step with which a leaking model is measured, as in training."""
_LEAKS = ("future-leak", "batch-leak")


def check(model: Any, *, declare: Iterable[str] = (), vocab_size: int | None = None, seed: int = 0) -> Wiring:
    """Prove (or refute) that each layer's state goes back into the same layer.

    A Keras model is run eagerly over a few short segments of random ids, with every recurrent layer replaced by a stub
    that emits numbers of its own; then, as it is, by tests of its behaviour. Its weights and states are left as
    they were. A model of another backend says itself how its states are wired.

    Args:
        model: A Keras model, a model from `rnneval.open`, `rnneval.wrap` or `rnneval.from_step`, or any callable
            object that holds recurrent layers or cells.
        declare: Intended by its author: `causal=false`, `stateless=LAYER`, `shared=LAYER`, `mixed=LAYER`,
            `chunked=LAYER`, `chunked=true`.
        vocab_size: The number of ids; by default the size of its embedding, else the width of its logits.
        seed: Random seed for the ids and the emitted numbers.

    Raises:
        UsageError: a declaration is not one, or names a layer that the model does not have; or `vocab_size` is given
            for a model that knows its number of ids.
    """
    if isinstance(model, ChecksItself):
        if vocab_size is not None:
            raise UsageError(
                f"vocab_size={vocab_size!r}: a {type(model).__name__} knows its number of ids: leave it out"
            )
        return model.check_wiring(declare=declare, seed=seed)
    from rnneval.models.wiring.gathering import check_layers

    return check_layers(model, declare=declare, vocab_size=vocab_size, seed=seed)


def leaks_of(wiring: Wiring | None) -> tuple[str, ...]:
    """Return the rules that a model breaks because predictions see future tokens or other rows."""
    findings = () if wiring is None else wiring.findings
    errors = {finding.rule for finding in findings if finding.severity == "error"}
    return tuple(rule for rule in _LEAKS if rule in errors)


def wiring_warnings(wiring: Wiring | None) -> list[Warning]:
    """Return the warnings of a run record: a leak makes it not valid, other findings warn."""
    if wiring is None or wiring.verdict == "pass":
        return []
    if leaks := leaks_of(wiring):
        message = (
            f"{' and '.join(leaks)}: predictions see what they must not see, so no score is a perplexity; shown are "
            f"{LEAK_SEGMENT} tokens a step and, token_by_token, one token a step: see rnneval check"
        )
        return [Warning(code="leak", message=message)]
    found = "; ".join(finding.message for finding in wiring.findings if finding.severity == "error")
    return [Warning(code="wiring", message=f"{wiring.verdict}: {found or wiring.reason}; see rnneval check")]
