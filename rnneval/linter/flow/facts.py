"""What rules are given: events, functions, and what was seen of stateful models. Plain, read only."""

import ast
from dataclasses import dataclass, field

from rnneval.linter.flow.survey import Survey
from rnneval.linter.flow.values import Data, Key, Path, Spec, Value


@dataclass(slots=True)
class Event:
    """One passage through a recurrent layer."""

    number: int
    layer: Key
    name: str
    """What the source calls the layer."""
    spec: Spec
    node: ast.Call
    enters: Data
    """Descent of the sequence that goes in."""
    state: Value | None
    """What was given as the state; None where nothing was."""
    slots: tuple[tuple[Value, ...], ...]
    """The same, slot by slot, once for every way the code may have taken."""
    turns: tuple[tuple[int, int, bool], ...]
    """The loops around it: number of the loop, pass, and whether it runs over layers."""
    function: int
    read: bool = False
    """Whether anything looked at the state that it gave back."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A place where a state comes in, and what the function leaves there for the next call."""

    carrier: str
    left: Value
    how: str
    """`returned`, `renamed` or `attribute`."""


@dataclass(slots=True)
class Function:
    """One function or method, run once with unknown arguments."""

    number: int
    name: str
    owner: str | None
    node: ast.AST
    parameters: tuple[str, ...] = ()
    returns: list[tuple[ast.Return, Value]] = field(default_factory=list)
    carried: tuple[Carried, ...] = ()
    reads: set[str] = field(default_factory=set)
    """Parameters that were looked at for more than `is None`."""
    overwritten: dict[str, list[Value]] = field(default_factory=dict)
    """What was assigned to parameters."""
    changed: dict[str, list[tuple[ast.AST, Value]]] = field(default_factory=dict)
    """What was put into parameters (`states[0] = …`, `states.append(…)`)."""
    resets: list[tuple[ast.Call, Key]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unpacking:
    """A layer's result, spread over a number of names."""

    node: ast.AST
    targets: int
    starred: bool
    event: int
    nested: bool


@dataclass(frozen=True, slots=True)
class Repeated:
    """`[layer] * n`: n times the same object."""

    node: ast.AST
    layer: Key
    spec: Spec


@dataclass(slots=True)
class Facts:
    """All that is known of a file."""

    tree: ast.Module
    events: list[Event] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    unpackings: list[Unpacking] = field(default_factory=list)
    repeated: list[Repeated] = field(default_factory=list)
    names: dict[Key, str] = field(default_factory=dict)
    specs: dict[Key, Spec] = field(default_factory=dict)
    places: dict[Key, ast.AST] = field(default_factory=dict)
    survey: Survey = field(default_factory=Survey)
    by_function: dict[int, list[Event]] = field(default_factory=dict)
    by_layer: dict[tuple[int, Key], list[Event]] = field(default_factory=dict)
    """The same of one layer, by the function's number and the layer's key."""
    followed_in_part: list[int] = field(default_factory=list)
    """Lines of entry points that took more steps than they may, one for each call or loop that was left out."""
    related: dict[tuple[int, Key, Key], bool] = field(default_factory=dict)
    """Which layers stand in one stack, as far as that was asked."""

    def add(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)
        self.by_function.setdefault(event.function, []).append(event)
        self.by_layer.setdefault((event.function, event.layer), []).append(event)

    def of(self, function: Function) -> list[Event]:
        """Give the events of one function, in order."""
        return self.by_function.get(function.number, [])


def slot_path(base: Path, slot: int) -> Path:
    """Give the place of a slot below a place."""
    return (*base, slot)
