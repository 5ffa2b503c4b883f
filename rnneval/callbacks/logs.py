"""Selection of the numbers that callbacks put into Keras' `logs`: the three main ones, all, or none.

Keras prints every entry of `logs` in its progress line, and passes them to every other callback.
"""

from collections.abc import Mapping

from rnneval.errors import UsageError

LOGS = ("main", "all", "none")
_SWITCHED = {True: "all", False: "none"}
"""Values of `logs=` when it was a switch, which trainings still have."""
MAIN = ("grad_norm", "update_ratio", "heldout_perplexity")


def require_known(logs: object) -> None:
    """Check the value of `logs=`.

    Raises:
        UsageError: it is not one of `LOGS`.
    """
    if not isinstance(logs, bool) and logs not in LOGS:
        raise UsageError(f"logs={logs!r} is not known: give one of {', '.join(LOGS)}")


def chosen(numbers: Mapping[str, float], logs: str | bool) -> dict[str, float]:
    """Return the numbers to put into `logs`; True stands for `all`, and False for `none`.

    Example:
        >>> chosen({"grad_norm": 0.5, "grad_norm/gru": 0.4}, "main")
        {'grad_norm': 0.5}
    """
    known = logs if isinstance(logs, str) else _SWITCHED[logs]
    wanted = {"main": MAIN, "all": tuple(numbers), "none": ()}[known]
    return {name: numbers[name] for name in wanted if name in numbers}
