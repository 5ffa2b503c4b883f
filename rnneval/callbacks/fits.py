"""Standing where a model makes its training function: what is put there is gone again by the next use of the model.

`fit` tells callbacks when it begins, but not that it was broken off: an exception in another callback or an interrupt
between two steps ends it without `on_train_end`. So whoever changes a model for a fit hangs on `make_train_function`,
through which every fit and every `train_on_batch` goes. The first call after a guest was added is its own fit; a later
call is somebody else's, and a guest who is still there then is shown out before anything is trained; but where the
function is made anew by force, which is how a fit is told of a layer that was frozen, it is the same fit.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

_NAME = "make_train_function"


class Guest(Protocol):
    """Whoever changes a model for one fit."""

    def begins(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Take the training function of this fit, and give the one to be used instead."""
        ...

    def leaves(self) -> None:
        """Put everything back: the fit has ended, or was broken off."""
        ...


class _Door:
    """A model's `make_train_function` while somebody hangs on it."""

    def __init__(self, model: Any) -> None:
        self.model, self._make = model, getattr(model, _NAME)
        self.had = _NAME in vars(model)
        self.waiting: list[Guest] = []
        self.inside: list[Guest] = []

    def __call__(self, force: bool = False) -> Any:
        if force:  # within a fit, by somebody who changed the model: whoever is here begins again
            for guest in self.inside:
                guest.leaves()
            self.inside, self.waiting = [], [*self.inside, *self.waiting]
        self._show_out(self.inside)
        self.model.train_function = None  # one that was made for others
        made = self._make(force)
        try:
            for guest in self.waiting:
                self.model.train_function = guest.begins(self.model.train_function)
        except BaseException:
            self._show_out(self.waiting)
            raise
        self.inside, self.waiting = self.waiting, []
        return made

    def _show_out(self, guests: Sequence[Guest]) -> None:
        for guest in tuple(guests):
            leave(self.model, guest)
            guest.leaves()


def enter(model: Any, guest: Guest) -> None:
    """Take part in the next fit of a model."""
    door = vars(model).get(_NAME)
    if not isinstance(door, _Door):
        door = _Door(model)
        vars(model)[_NAME] = door  # past Keras' tracking of attributes
    door.inside = [one for one in door.inside if one is not guest]  # of a fit that was broken off
    if guest not in door.waiting:
        door.waiting.append(guest)


def leave(model: Any, guest: Guest) -> None:
    """Take part no more; the training function was made for the guest, so another one is made next time."""
    door = vars(model).get(_NAME)
    if not isinstance(door, _Door) or guest not in (*door.waiting, *door.inside):
        return
    door.waiting, door.inside = ([one for one in some if one is not guest] for some in (door.waiting, door.inside))
    model.train_function = None
    if door.waiting or door.inside:
        return
    if door.had:
        vars(model)[_NAME] = door._make
    else:
        del vars(model)[_NAME]
