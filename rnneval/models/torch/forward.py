"""How a module is called: what it is given for the ids, which arguments are its state, and what it returns.

Modules are written in several forms. `Forward.forms` lists those that a module could have, and the first that works in
two calls is its own: ids in one call, one-hot vectors, or one token a call; a state that begins as None, or as a method
such as `init_hidden` makes it.
"""

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch

_NO_STATE = ("target", "label")  # arguments whose names begin so
_STATE = re.compile(r"hidden|state|memory|cache|carry", re.IGNORECASE)
_BEGINS = re.compile(r"init|begin|start|zero|reset|empty|new|make|create", re.IGNORECASE)
_LENGTHS = re.compile(r"len(gth)?s?$|^len", re.IGNORECASE)


class States(SimpleNamespace):
    """Several states, by the names of the arguments that take them."""


class Cut(Enum):
    """How the ids `(batch, time)` of a segment are given to a module."""

    SEGMENT = "all of them in one call"
    COLUMN = "one token a call, `(batch, 1)`"
    VECTOR = "one token a call, `(batch,)`"
    NUMBER = "one token of one row a call, a number"


@dataclass(frozen=True, kw_only=True)
class Form:
    """One of the forms in which modules are called."""

    cut: Cut = Cut.SEGMENT
    width: int = 0  # of the one-hot vectors that stand for the ids; 0 where it is given ids
    start: str = ""  # the method that makes the state at the beginning of a text; "" where it is None
    flags: tuple[str, ...] = ()  # arguments that are false by default and given as true, as `return_state`
    state_at: int = 0  # which of the values beside the logits is the state
    spread: bool = False  # whether it takes each value beside the logits as an argument, as `*states`
    time_first: bool = False  # whether it takes ids `(time, batch)`, and returns logits `(time, batch, V)`

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is unlike `module(ids, state)` in this form, a sentence each."""
        said = {
            f"the module is called with {self.cut.value}": self.cut is not Cut.SEGMENT,
            f"the module is given one-hot vectors of {self.width} numbers": self.width > 0,
            f"a text begins with what {self.start} makes": bool(self.start),
            f"the module is called with {' and '.join(f'{flag}=True' for flag in self.flags)}": bool(self.flags),
            f"of the values beside the logits, number {self.state_at + 1} is carried as the state": self.state_at > 0,
            "each value beside the logits is given back as an argument of its own": self.spread,
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


class Forward:
    """Calls a module with ids and the state that it returned before.

    A module returns logits alone, `(logits, state)`, `(logits, h, c)` where h and c are arguments, or a mapping or
    object with `logits`. Where it returns more than a pair, what is None is left out, such as a loss without targets,
    and so is a number. Logits may be `(batch * time, V)`.
    """

    def __init__(self, module: torch.nn.Module, form: Form) -> None:
        later = _parameters_of(module)[1:]
        named = [each for each in later if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}]
        self._lengths = [each.name for each in named if each.default is each.empty and _LENGTHS.search(each.name)]
        named = [each for each in named if each.name not in self._lengths]
        states = [each for each in named if _may_be_state(each)]
        self._names = [each.name for each in states]
        self._flags = tuple(each.name for each in named if each.default is False and _STATE.search(each.name))
        first = bool(states) and states[0] is named[0] and not self._lengths
        self._by_name = bool(states) and not (first and states[0].kind is not states[0].KEYWORD_ONLY)
        self._takes_any = any(each.kind is each.VAR_POSITIONAL for each in later)
        self.takes_state = bool(states) or self._takes_any
        self._required = [each.name for each in states if each.default is each.empty]
        self.form = form

    def forms(self, module: torch.nn.Module) -> Iterator["Forward"]:
        """Yield this way to call the module, and the other ways that are usual, the most usual first."""
        widths = [0, *_one_hot_sizes(module)]
        starts = ["", *_methods_that_begin(module)]
        flags = [(), self._flags] if self._flags else [()]
        places = [(0, False), (1, False)] if self.takes_state else [(0, False)]
        places += [(0, True)] if self._takes_any and not self._names else []
        for cut, width, start, given, (at, spread) in product(Cut, widths, starts, flags, places):
            form = replace(self.form, cut=cut, width=width, start=start, flags=given, state_at=at, spread=spread)
            yield Forward(module, form)

    def begin(self, module: torch.nn.Module, ids: torch.Tensor) -> Any:
        """Return the state at the beginning of a text, and let the module make the one that it holds itself."""
        if not self.form.start:
            return None
        method = getattr(module, self.form.start)
        rows: dict[str, Any] = {}
        for each in inspect.signature(method).parameters.values():
            if each.name == "device":
                rows[each.name] = ids.device
            elif len(rows) == 0 and each.kind is each.POSITIONAL_OR_KEYWORD:
                rows[each.name] = len(ids)
        state = method(**rows)
        several = isinstance(state, tuple | list) and 1 < len(self._names) == len(state)
        return States(**dict(zip(self._names, state, strict=True))) if several else state

    def __call__(self, module: torch.nn.Module, ids: torch.Tensor, state: Any) -> Any:
        """Return logits and the state after the ids; what the module returned, if that is not known."""
        tokens, (rows, time) = ids, ids.shape
        if self.form.width:
            like = next((each for each in module.parameters() if each.is_floating_point()), torch.zeros(()))
            tokens = torch.nn.functional.one_hot(ids, self.form.width).to(like.dtype)
        if self.form.cut is Cut.SEGMENT and self.form.time_first:
            returned = self._read(module, tokens.transpose(0, 1), state, (time, rows))
            logits, *after = (returned,) if torch.is_tensor(returned) else returned
            return (logits.transpose(0, 1), *after) if after else logits.transpose(0, 1)
        if self.form.cut is Cut.SEGMENT:
            return self._read(module, tokens, state, (rows, time))
        logits, alone = [], False
        for piece in self._pieces(tokens):
            returned = self._read(module, piece, state, (rows, 1))
            alone = torch.is_tensor(returned)
            of_token, state = (returned, None) if alone else returned
            logits.append(of_token)
        joined = torch.cat(logits, dim=1)
        return joined if alone else (joined, state)

    def _pieces(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what each call of one token is given."""
        if self.form.cut is Cut.COLUMN:
            return tuple(torch.split(tokens, 1, dim=1))
        if self.form.cut is Cut.VECTOR:
            return tuple(tokens.unbind(1))
        (row,) = tokens
        return tuple(row.unbind(0))

    def _read(self, module: torch.nn.Module, tokens: torch.Tensor, state: Any, shape: tuple[int, int]) -> Any:
        """Make one call, for ids of a shape."""
        positional: list[Any] = [tokens]
        named: dict[str, Any] = dict.fromkeys(self.form.flags, True)
        named |= {name: torch.full((shape[0],), shape[1]) for name in self._lengths}
        if self.form.spread:
            positional += vars(state or States()).values()
        elif state is None and self._names:
            named |= dict.fromkeys(self._required)
        elif isinstance(state, States):
            named |= vars(state)
        elif self._by_name:
            named[self._names[0]] = state
        elif self.takes_state:
            positional.append(state)
        return self._parts(module(*positional, **named), shape)

    def _parts(self, returned: Any, shape: tuple[int, int]) -> Any:
        """Return logits and state of what a call for ids of a shape returned."""
        values = _values(returned)
        if "logits" in values:
            logits = values.pop("logits")
            others = [values[name] for name in self._names if name in values] or [*values.values()]
        elif isinstance(returned, tuple | list):
            logits, *others = returned
        else:
            return _in_rows(returned, shape)
        logits = _in_rows(logits, shape)
        if not self.takes_state:
            return logits
        if self.form.spread:
            return logits, States(**{f"_{at}": each for at, each in enumerate(others)})
        if len(others) == 1:
            return logits, others[0]
        states = [each for each in others if not (each is None or (torch.is_tensor(each) and each.dim() == 0))]
        if 1 < len(states) == len(self._names):
            return logits, States(**dict(zip(self._names, states, strict=True)))
        return (logits, states[self.form.state_at]) if len(states) > self.form.state_at else returned


def _in_rows(logits: Any, shape: tuple[int, int]) -> Any:
    """Return logits `(batch * time, V)`, or `(V,)` of one token, as `(batch, time, V)`, and all else as it is."""
    if torch.is_tensor(logits) and logits.dim() in {1, 2} and logits[..., 0].numel() == math.prod(shape):
        return logits.reshape(*shape, -1)
    return logits


def _parameters_of(module: torch.nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of a module's forward, which a file of TorchScript has in a schema alone."""
    schema = getattr(module.forward, "schema", None)
    if schema is None:
        return [*inspect.signature(module.forward).parameters.values()]
    kind, required = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    return [
        inspect.Parameter(each.name, kind, default=each.default_value if each.has_default_value() else required)
        for each in schema.arguments[1:]  # the first one is the module
    ]


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


def _methods_that_begin(module: torch.nn.Module) -> list[str]:
    """Return the names of methods of a module that make a state, as `init_hidden` and `initial_state` do."""
    names = [name for name in dir(type(module)) if not hasattr(torch.nn.Module, name)]
    return [name for name in names if _BEGINS.search(name) and _STATE.search(name) and callable(getattr(module, name))]


def _one_hot_sizes(module: torch.nn.Module) -> list[int]:
    """Return the sizes of one-hot vectors that a module may take: of its first input, and of its last output.

    A module with an embedding is given ids.
    """
    parts = [part for part in module.modules() if part is not module]
    if any(isinstance(part, torch.nn.Embedding) for part in parts):
        return []
    into = (getattr(part, "input_size", getattr(part, "in_features", 0)) for part in parts)
    out = (getattr(part, "out_features", 0) for part in reversed(parts))
    return [*dict.fromkeys(size for sizes in (into, out) if (size := next(filter(None, sizes), 0)))]
