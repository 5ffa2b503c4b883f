"""Part of the callbacks in a fit: hooks that change the model for it, and the numbers that they put into its `logs`.

`fit` tells callbacks when it begins, but not that it was broken off: an exception in another callback or an interrupt
between two steps ends it without `on_train_end`. So a callback that changes a model for one fit hooks into
`make_train_function`, which every fit and every `train_on_batch` calls. The first call after a hook was added belongs
to its own fit. A later call belongs to another fit, and removes the hook before anything is trained. A forced call,
by which a fit learns that a layer was frozen, belongs to the same fit: the hook begins again.

A hook is a callback with two methods. `begins(function)` takes the training function of this fit, and returns the one
to use in its place. `ends()` restores the model: the fit has ended, or was broken off.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rnneval.errors import UsageError

LOGS = ("main", "all", "none")
"""Values of `logs=`: Keras prints every entry of `logs` in its progress line, and passes them to other callbacks."""
MAIN = ("grad_norm", "update_ratio", "heldout_perplexity")
_NAME = "make_train_function"


class _HookedFunction:
    """Replacement of a model's `make_train_function` while it has hooks."""

    def __init__(self, model: Any) -> None:
        self.model, self.original = model, getattr(model, _NAME)
        self.was_own = _NAME in vars(model)
        """Whether the model itself had the attribute, and not only its class."""
        self.waiting: list[Any] = []
        """Hooks whose fit has not begun."""
        self.active: list[Any] = []

    def __call__(self, force: bool = False) -> Any:
        if force:  # the model was changed within a fit: its hooks begin again
            for hook in self.active:
                hook.ends()
            self.active, self.waiting = [], [*self.active, *self.waiting]
        self._end(self.active)
        self.model.train_function = None  # one that was made for other hooks
        made = self.original(force)
        try:
            for hook in self.waiting:
                self.model.train_function = hook.begins(self.model.train_function)
        except BaseException:
            self._end(self.waiting)
            raise
        self.active, self.waiting = self.waiting, []
        return made

    def _end(self, hooks: Sequence[Any]) -> None:
        for hook in tuple(hooks):
            remove(self.model, hook)
            hook.ends()


def add(model: Any, hook: Any) -> None:
    """Add a hook for the next fit of a model."""
    hooked = vars(model).get(_NAME)
    if not isinstance(hooked, _HookedFunction):
        hooked = _HookedFunction(model)
        vars(model)[_NAME] = hooked  # past Keras' tracking of attributes
    hooked.active = [each for each in hooked.active if each is not hook]  # of a fit that was broken off
    if hook not in hooked.waiting:
        hooked.waiting.append(hook)


def remove(model: Any, hook: Any) -> None:
    """Remove a hook, and the training function that was made for it; the next use of the model makes another."""
    hooked = vars(model).get(_NAME)
    if not isinstance(hooked, _HookedFunction) or hook not in (*hooked.waiting, *hooked.active):
        return
    hooked.waiting = [each for each in hooked.waiting if each is not hook]
    hooked.active = [each for each in hooked.active if each is not hook]
    model.train_function = None
    if hooked.waiting or hooked.active:
        return
    if hooked.was_own:
        vars(model)[_NAME] = hooked.original
    else:
        del vars(model)[_NAME]


def require_known(logs: object) -> None:
    """Refuse a value of `logs=` that is not one of `LOGS`."""
    if logs not in LOGS:
        raise UsageError(f"logs={logs!r} is not known: give one of {', '.join(LOGS)}")


def chosen(numbers: Mapping[str, float], logs: str) -> dict[str, float]:
    """Return the numbers to put into `logs`.

    Example:
        >>> chosen({"grad_norm": 0.5, "grad_norm/gru": 0.4}, "main")
        {'grad_norm': 0.5}
    """
    wanted = {"main": MAIN, "all": tuple(numbers), "none": ()}[logs]
    return {name: numbers[name] for name in wanted if name in numbers}
