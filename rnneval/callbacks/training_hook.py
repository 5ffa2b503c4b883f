"""Part of the callbacks in a fit: hooks that change the model for it, and the numbers that they put into its `logs`.

`fit` tells callbacks when it begins, but not that it was broken off: an exception in another callback or an interrupt
between two steps ends it without `on_train_end`. So a callback that changes a model for one fit hooks into
`make_train_function`, which every fit and every `train_on_batch` calls. The first call after a hook was added belongs
to its own fit. A later call belongs to another fit, and removes the hook before anything is trained. A forced call,
by which a fit learns that a layer was frozen, belongs to the same fit: the hook begins again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from rnneval.errors import UsageError

LOGS = ("main", "all", "none")
"""Values of `logs=`: Keras prints every entry of `logs` in its progress line, and passes them to other callbacks."""
MAIN = ("grad_norm", "update_ratio", "heldout_perplexity")
_NAME = "make_train_function"


class HookedCallback(keras.callbacks.Callback):
    """A callback that changes a model for one fit."""

    def set_model(self, model: Any) -> None:
        """Add the hook for the fit that begins."""
        super().set_model(model)
        self.ends()  # one that was broken off
        hooked = vars(model).get(_NAME)
        if not isinstance(hooked, _HookedFunction):
            hooked = vars(model)[_NAME] = _HookedFunction(model)  # past Keras' tracking of attributes
        hooked.add(self)

    def begins(self, function: Any) -> Any:
        """Take the training function of this fit, and return the one to use in its place."""
        raise NotImplementedError

    def ends(self) -> None:
        """Restore the model: the fit has ended, or was broken off; a second call does nothing."""
        raise NotImplementedError

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Restore the model, and write what is left."""
        hooked = vars(self.model).get(_NAME)
        if isinstance(hooked, _HookedFunction):
            hooked.remove(self)
        self.ends()


class _HookedFunction:
    """Replacement of a model's `make_train_function` while it has hooks."""

    def __init__(self, model: Any) -> None:
        self.model, self.original = model, getattr(model, _NAME)
        self.was_own = _NAME in vars(model)  # whether the model itself had the attribute, and not only its class
        self.waiting: list[HookedCallback] = []  # callbacks whose fit has not begun
        self.active: list[HookedCallback] = []

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

    def _end(self, hooks: Sequence[HookedCallback]) -> None:
        for hook in tuple(hooks):
            self.remove(hook)
            hook.ends()

    def add(self, hook: HookedCallback) -> None:
        """Add a callback for the next fit; it may have been in one that was broken off."""
        self.active = [each for each in self.active if each is not hook]
        if hook not in self.waiting:
            self.waiting.append(hook)

    def remove(self, hook: HookedCallback) -> None:
        """Remove a callback, and the training function that was made for it: the next use makes another."""
        if hook not in (*self.waiting, *self.active):
            return
        self.waiting = [each for each in self.waiting if each is not hook]
        self.active = [each for each in self.active if each is not hook]
        self.model.train_function = None
        if self.waiting or self.active:
            return
        if self.was_own:
            vars(self.model)[_NAME] = self.original
        else:
            del vars(self.model)[_NAME]


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
