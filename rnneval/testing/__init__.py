"""Helpers for test suites, and the pytest plugin."""

from collections.abc import Iterable
from typing import Any

__all__ = ["assert_parity", "assert_state_wiring"]


def assert_state_wiring(
    model: Any,
    *,
    declare: Iterable[str] = (),
    vocab_size: int | None = None,
    seed: int = 0,
    allow_inconclusive: bool = False,
) -> None:
    """Fail with the flow matrix and the findings unless each layer's state goes back into the same layer.

    Args:
        model: A Keras model, a `RecurrentLM`, or any callable object that holds recurrent layers or cells.
        declare: Properties that its author intends, such as `"stateless=encoder"`; see `rnneval check --declare`.
        vocab_size: Number of ids that it takes; by default the size of its embedding, else the width of its logits.
        seed: Random seed for the ids and for the numbers that stubs emit.
        allow_inconclusive: Whether an inconclusive verdict passes: no fault was found.

    Raises:
        AssertionError: the verdict is fail, or inconclusive and that is not allowed.
        UsageError: a declaration is not one, or TensorFlow is not installed.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    from rnneval.evaluate.check import check

    wiring = check(model, declare=declare, vocab_size=vocab_size, seed=seed)
    allowed = ("pass", "inconclusive") if allow_inconclusive else ("pass",)
    if wiring.verdict not in allowed:
        raise AssertionError(f"state wiring of {type(model).__name__}\n{wiring}")


def assert_parity(reference: Any, candidate: Any, text: Any = None, **options: Any) -> None:
    """Fail with the statistics unless a candidate is still the same model as its reference, state included.

    Args:
        reference: Model that is right, as `rnneval.parity` takes it.
        candidate: Port, export or other precision of it.
        text: Files of held-out text; or give `string=`.
        options: Keyword arguments of `rnneval.parity`, such as `max_kl=1e-4`; without a limit, rounding alone passes.

    Raises:
        AssertionError: the verdict is not pass.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    from rnneval.parity.run import parity

    record = parity(reference, candidate, text, **options)
    if not record:
        raise AssertionError(f"parity\n{record}")
