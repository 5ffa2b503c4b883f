"""`rnneval.check`: the wiring check of any model, and its consequence for an evaluation: a leak has no perplexity."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rnneval.backends.protocol import ChecksItself, LanguageModel
from rnneval.errors import UsageError
from rnneval.records.run import Warning, WiringSummary  # noqa: A004 - the record's own word
from rnneval.records.wiring import Wiring

LEAK_SEGMENT = 100
"""Tokens a step with which a leaking model is measured, as in training."""
_LEAKS = ("future-leak", "batch-leak")


def check(model: Any, *, declare: Iterable[str] = (), vocab_size: int | None = None, seed: int = 0) -> Wiring:
    """Prove (or refute) that each layer's state goes back into the same layer.

    A Keras model is run eagerly over a few short segments of random ids, with every recurrent layer replaced by a stub
    that emits numbers of its own; then, as it is, by five tests of its behaviour. Its weights and states are left as
    they were. A model of another backend says itself how its states are wired.

    Args:
        model: A Keras model, a model from `rnneval.open`, `rnneval.wrap` or `rnneval.from_step`, or any callable
            object that holds recurrent layers or cells.
        declare: Intended by its author: `causal=false`, `stateless=LAYER`, `shared=LAYER`, `mixed=LAYER`.
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
    from rnneval.models.wiring import check_layers

    return check_layers(model, declare=declare, vocab_size=vocab_size, seed=seed)


@dataclass(frozen=True, kw_only=True)
class WiringPrecheck:
    """Verdict of the wiring check, and its consequence for the evaluation."""

    summary: WiringSummary | None = None
    leaks: tuple[str, ...] = ()
    """Rules that the model breaks because predictions see future tokens or other rows."""

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """Warnings for the record."""
        if self.summary is None or self.summary.verdict == "pass":
            return ()
        if self.leaks:
            message = (
                f"{' and '.join(self.leaks)}: predictions see what they must not see, so no score is a perplexity; "
                f"shown are {LEAK_SEGMENT} tokens a step and, token_by_token, one token a step: see rnneval check"
            )
            return (Warning(code="leak", message=message),)
        found = "; ".join(finding.message for finding in self.summary.findings if finding.severity == "error")
        said = f"{self.summary.verdict}: {found or self.summary.reason}; see rnneval check"
        return (Warning(code="wiring", message=said),)


def precheck_wiring(
    lm: LanguageModel, declare: Iterable[str], *, seed: int, known: Wiring | None = None
) -> WiringPrecheck:
    """Run the wiring check unless its record is known; a leak makes the evaluation not valid, else findings warn."""
    wiring = check(lm, declare=declare, seed=seed) if known is None else known
    errors = {finding.rule for finding in wiring.findings if finding.severity == "error"}
    return WiringPrecheck(
        summary=WiringSummary(verdict=wiring.verdict, reason=wiring.reason, findings=wiring.findings),
        leaks=tuple(rule for rule in _LEAKS if rule in errors),
    )


UNCHECKED = WiringPrecheck()
