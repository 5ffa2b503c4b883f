"""The facts of a file that finders are given: what one walk over the tree sees, and what the interpreter adds.

An *event* is one call of a recurrent layer, or of a model that takes a state in and gives it back. A *carrier* is the
parameter or attribute by which a state comes into a function. A *slot* is one part of a layer's state: h or c.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from rnneval.linter.finding import within
from rnneval.linter.flow.names import RESETS, SWITCHES
from rnneval.linter.flow.values import Data, Key, Spec, Value
from rnneval.linter.scores import Fault

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_LEAVES = frozenset({"ctx", "op", "ops", "id", "attr", "n", "s", "kind", "type_comment"})


@dataclass(slots=True)
class Event:
    """One call of a recurrent layer."""

    number: int
    layer: Key
    name: str
    """The layer's name in the source."""
    spec: Spec
    node: ast.Call
    enters: Data
    """Descent of the sequence that goes in."""
    state: Value | None
    """The value given as the state; None if there is none."""
    slots: tuple[tuple[Value, ...], ...]
    """The given state by slots, once for every path that the code may have taken."""
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
    returned: bool
    """True if what is left is returned, False if it is left in an attribute."""


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
    """Values that were assigned to parameters."""
    changed: dict[str, list[Value]] = field(default_factory=dict)
    """Values that were put into parameters (`states[0] = …`, `states.append(…)`)."""
    resets: list[tuple[ast.Call, Key]] = field(default_factory=list)

    @property
    def unread(self) -> set[str]:
        """The parameters that nothing reads and that are None where nothing is given."""
        nothing = {name for name, value in self.defaults if isinstance(value, ast.Constant) and value.value is None}
        return nothing - self.reads - SWITCHES

    @property
    def defaults(self) -> list[tuple[str, ast.expr]]:
        """The arguments that have a default, with the default."""
        return defaults_of(self.node) if isinstance(self.node, FunctionNode) else []


def parameters_of(node: FunctionNode, is_method: bool) -> tuple[str | None, tuple[str, ...]]:
    """Return the name of the object that a method is called on, and the names of the other parameters."""
    arguments = node.args
    names = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
    static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in node.decorator_list)
    return (names[0], names[1:]) if is_method and names and not static else (None, names)


def defaults_of(node: FunctionNode) -> list[tuple[str, ast.expr]]:
    """Return the parameters of a function that have a default, with the default."""
    positional = [*node.args.posonlyargs, *node.args.args]
    pairs = [
        *zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return [(argument.arg, default) for argument, default in pairs if default is not None]


@dataclass(frozen=True, slots=True)
class Unpacking:
    """The unpacking of a layer's result into a number of names."""

    node: ast.AST
    targets: int
    starred: bool
    event: int
    nested: bool


@dataclass(slots=True)
class Facts:
    """All that is known of a file."""

    tree: ast.Module
    survey: "Survey"
    events: list[Event] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    unpackings: list[Unpacking] = field(default_factory=list)
    scores: tuple[Fault, ...] = ()
    """Faults of losses and perplexities."""
    repeated: set[Key] = field(default_factory=set)
    """Layers that stand several times in a list: `[layer] * n`."""
    stacks: list[tuple[ast.Call, Value]] = field(default_factory=list)
    """What is given to a constructor that runs cells as a stack, with its call."""
    specs: dict[Key, Spec] = field(default_factory=dict)
    places: dict[Key, ast.AST] = field(default_factory=dict)
    """The constructors of layers."""
    by_function: dict[int, list[Event]] = field(default_factory=dict)
    by_layer: dict[tuple[int, Key], list[Event]] = field(default_factory=dict)
    """Events of one layer, by the function's number and the layer's key."""
    followed_in_part: list[int] = field(default_factory=list)
    """Lines of entry points that took more steps than they may, one for each call or loop that was left out."""
    related: dict[tuple[int, Key, Key], bool] = field(default_factory=dict)
    """Which layers stand in one stack, as far as that was asked."""

    def add(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)
        self.by_function.setdefault(event.function, []).append(event)
        self.by_layer.setdefault((event.function, event.layer), []).append(event)

    def score_faults(self, kind: str) -> Iterator[Fault]:
        """Return the faults of losses and perplexities that have this name."""
        return (fault for fault in self.scores if fault.kind == kind)

    def of(self, function: Function) -> list[Event]:
        """Return the events of one function, in order."""
        return self.by_function.get(function.number, [])


@dataclass(slots=True)
class Survey:
    """The names that one walk over the tree has seen."""

    imports: dict[str, str] = field(default_factory=dict)
    """Full names of what is imported, anywhere in the file."""
    whole: list[str] = field(default_factory=list)
    """Modules imported whole (`*`)."""
    defined: set[str] = field(default_factory=set)
    """Names that the file itself gives to something: a usual alias is not believed for these."""
    resets: list[ast.Attribute] = field(default_factory=list)
    """Everything that names a reset, called or handed to a callback."""
    made: list[int] = field(default_factory=list)
    """Lines that name a recurrent layer's class."""
    stepped: list[int] = field(default_factory=list)
    """Lines with a keyword that only recurrent layers and their models take."""

    def makes(self, node: ast.AST) -> bool:
        """Return whether a recurrent layer's class is named within a function or class."""
        return within(self.made, node)

    def steps(self, node: ast.AST) -> bool:
        """Return whether something is called within a class as a recurrent model is."""
        return within(self.stepped, node)


def survey(tree: ast.Module) -> Survey:
    """Walk the tree once."""
    found = Survey()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if node.__class__ in _SEEN:
            _see(found, node)
        for name in node._fields:
            if name in _LEAVES:
                continue
            value = getattr(node, name, None)
            if isinstance(value, list):
                todo += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST):
                todo.append(value)
    found.made.sort()
    found.stepped.sort()
    return found


_SEEN = frozenset({
    ast.Name, ast.Attribute, ast.arg, ast.keyword, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import,
    ast.ImportFrom,
})  # fmt: skip


def _see(found: Survey, node: ast.AST) -> None:
    """Note what one node of these types names."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            if "GRU" in name or "LSTM" in name or "RNN" in name:
                found.made.append(node.lineno)
            if isinstance(node, ast.Attribute):
                found.resets += [node] if name in RESETS else []
            elif isinstance(node.ctx, ast.Store):
                found.defined.add(name)
        case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            found.defined.add(name)
        case ast.keyword(arg="return_state" | "initial_state"):
            found.stepped.append(node.lineno)
        case ast.Import(names=aliases):
            for alias in aliases:
                first = alias.name.split(".")[0]
                found.imports[alias.asname or first] = alias.name if alias.asname else first
        case ast.ImportFrom(names=aliases):
            module = "." * node.level + (node.module or "")
            for alias in aliases:
                if alias.name == "*":
                    found.whole.append(module)
                else:
                    found.imports[alias.asname or alias.name] = f"{module}.{alias.name}"
