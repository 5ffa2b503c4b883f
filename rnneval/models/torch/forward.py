"""The forward of a module: which arguments are the state, and where logits and the new state are in what it returns."""

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch

_NO_STATE = ("target", "label")  # arguments whose names begin so


class States(SimpleNamespace):
    """Several states, by the names of the arguments that take them."""


class Forward:
    """Calls a module with ids and the state that it returned before.

    A module returns logits alone, `(logits, state)`, `(logits, h, c)` where h and c are arguments, or a mapping or
    object with `logits`. Where it returns more than a pair, what is None is left out, such as a loss without targets.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        """Read the arguments of a module's forward."""
        later = [*inspect.signature(module.forward).parameters.values()][1:]
        named = [each for each in later if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}]
        states = [each for each in named if _may_be_state(each)]
        self._names = [each.name for each in states]
        self._by_name = bool(states) and (states[0] is not named[0] or states[0].kind is states[0].KEYWORD_ONLY)
        self.takes_state = bool(states) or any(each.kind is each.VAR_POSITIONAL for each in later)
        required = sum(each.default is each.empty for each in states) if states else self.takes_state
        self._start = (None,) * required  # the arguments of the first call

    def __call__(self, module: torch.nn.Module, ids: torch.Tensor, state: Any) -> Any:
        """Return logits and the state after the ids; what the module returned, if that is logits alone or not known."""
        if state is None or not self.takes_state:
            return self._parts(module(ids, *self._start))
        if isinstance(state, States):
            return self._parts(module(ids, **vars(state)))
        return self._parts(module(ids, **{self._names[0]: state}) if self._by_name else module(ids, state))

    def _parts(self, returned: Any) -> Any:
        values = _values(returned)
        if "logits" in values:
            logits = values.pop("logits")
            states = [values[name] for name in self._names if name in values] or [*values.values()]
        elif isinstance(returned, tuple | list) and (len(returned) > 2 or not self.takes_state):
            logits, *states = returned
        else:
            return returned
        states = [each for each in states if each is not None]
        if not self.takes_state:
            return logits
        if len(states) == 1:
            return logits, states[0]
        several = len(states) == len(self._names)
        return (logits, States(**dict(zip(self._names, states, strict=True)))) if several else returned


def _may_be_state(argument: inspect.Parameter) -> bool:
    """Return whether an argument after the ids may be a state: no targets, and no flag or number by its default."""
    return not argument.name.startswith(_NO_STATE) and not isinstance(argument.default, bool | int | float | str)


def _values(returned: Any) -> dict[str, Any]:
    """Return the values of a mapping, a named tuple or an object by their names."""
    if isinstance(returned, Mapping):
        return dict(returned)
    if hasattr(returned, "_asdict"):
        return dict(returned._asdict())
    return dict(getattr(returned, "__dict__", {}))
