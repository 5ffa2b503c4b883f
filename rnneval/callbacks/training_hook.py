"""Part of the callbacks in a fit: hooks that change the model for it, and the numbers that they put into its `logs`.

`fit` tells callbacks when it begins, but not that it was broken off: an exception in another callback or an interrupt
between two steps ends it without `on_train_end`. So a callback that changes a model for one fit hooks into
`make_train_function`, which every fit and every `train_on_batch` calls. The first call after a hook was added belongs
to its own fit. A later call belongs to another fit, and removes the hook before anything is trained. A forced call,
by which a fit learns that a layer was frozen, belongs to the same fit: the hook begins again.
"""

from collections.abc import Mapping
from typing import Any

import keras

from rnneval.callbacks.histories import require_logs

_NAME = "make_train_function"


class HookedCallback(keras.callbacks.Callback):
    """A callback that changes a model for one fit."""

    def __init__(self, logs: str) -> None:
        super().__init__()
        require_logs(logs)
        self._logs = logs

    def set_model(self, model: Any) -> None:
        """Add the hook for the fit that begins."""
        super().set_model(model)
        self.ends()  # one that was broken off
        hooked = vars(model).get(_NAME)
        if isinstance(hooked, _HookedFunction) and hooked.begun:
            hooked.remove()
        if not isinstance(hooked, _HookedFunction) or hooked.begun:
            hooked = vars(model)[_NAME] = _HookedFunction(model)  # past Keras' tracking of attributes
        hooked.hooks[id(self)] = self

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
            hooked.remove()
        self.ends()


class _HookedFunction:
    """Replacement of a model's `make_train_function` for one fit."""

    def __init__(self, model: Any) -> None:
        self.model, self.original = model, getattr(model, _NAME)
        self.was_own = _NAME in vars(model)  # whether the model itself had the attribute, and not only its class
        self.hooks: dict[int, HookedCallback] = {}
        self.begun = False

    def __call__(self, force: bool = False) -> Any:
        if self.begun and not force:  # another fit
            self.remove()
            return self.original(force)
        for hook in self.hooks.values():  # of a forced call: they begin again
            hook.ends()
        self.begun = True
        self.model.train_function = None  # one that was made without the hooks
        made = self.original(force)
        try:
            for hook in self.hooks.values():
                self.model.train_function = hook.begins(self.model.train_function)
        except BaseException:
            self.remove()
            raise
        return made

    def remove(self) -> None:
        """Restore the model; the next use makes another training function."""
        self.model.train_function = None
        if self.was_own:
            vars(self.model)[_NAME] = self.original
        else:
            del vars(self.model)[_NAME]
        for hook in self.hooks.values():
            hook.ends()
