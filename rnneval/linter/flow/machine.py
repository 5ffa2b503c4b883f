"""The state of the interpreter: scopes, frames, layers met, and the entry points that run a file once.

Every function is run by itself with unknown arguments; calls of the file's own functions and methods are followed a
few levels deep. Loops are run twice with the pass as part of a layer's identity (a list of layers gives one layer a
pass), which shows what one pass hands to the next; loops over a known tuple of layers are unrolled.
"""

import ast
from dataclasses import dataclass, field

from rnneval.linter.flow import naming
from rnneval.linter.flow.env import Env
from rnneval.linter.flow.facts import Facts, Function
from rnneval.linter.flow.survey import survey
from rnneval.linter.flow.values import Data, Graph, Incoming, Key, Known, Local, Value

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
MOST_CALLS_DEEP = 3
MOST_STEPS = 40_000
"""Nodes that one entry point may evaluate; beyond, calls are no longer followed and loops run once."""
MOST_STEPS_OF_FILE = 200_000
"""The same for all entry points of a file together."""


@dataclass(slots=True)
class Class:
    """A class of the file: its methods, and the layers among its attributes."""

    name: str
    node: ast.ClassDef
    bases: tuple[str, ...]
    methods: dict[str, FunctionNode]
    attributes: dict[str, Value] = field(default_factory=dict)
    ready: bool = False
    steps: dict[str, "Summary"] = field(default_factory=dict)
    """Methods that take a state in and give it back."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How a method carries: the parameter that takes the state, and where in the returned tuple it comes back."""

    parameter: str
    position: int
    index: int
    length: int
    parameters: tuple[str, ...]


@dataclass(slots=True)
class Frame:
    """One function being run."""

    function: Function
    base: Env
    self_name: str | None = None
    owner: str | None = None
    context: Key = ()
    depth: int = 0
    returned: list[Value] = field(default_factory=list)
    exits: list[Env] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Result:
    """What a layer call gave: held, so that the object can be told from others."""

    value: Value
    event: int


class Machine:
    """Everything that changes while a file is run."""

    def __init__(self, tree: ast.Module) -> None:
        self.facts = Facts(tree)
        self.survey = self.facts.survey = survey(tree)
        self.classes: dict[str, Class] = {}
        self.functions: dict[str, FunctionNode] = {}
        self.waiting: list[FunctionNode] = []
        self.env = Env()
        self.top = self.env
        self.frame = Frame(Function(0, "<module>", None, tree), self.top)
        self.facts.functions.append(self.frame.function)
        self.loops: tuple[tuple[int, int, bool], ...] = ()
        self.loop_envs: list[Env] = []
        self.loop_exits: list[list[Env]] = []
        self.loop_count = 0
        self.results: dict[int, Result] = {}
        self.latest: dict[Key, int] = {}
        self.graphs: list[tuple[int, Graph]] = []
        self.steps = 0
        self.started = 0
        """`steps` at the beginning of the entry point."""
        self.targets: tuple[str, ...] = ()
        self.running: list[ast.AST] = []

    def gives_up(self) -> bool:
        """Tell whether this entry point has used up its share of work, and note that something is left out for it."""
        tired = self.steps - self.started > MOST_STEPS or self.steps > MOST_STEPS_OF_FILE
        if tired:
            self.facts.followed_in_part.append(getattr(self.frame.function.node, "lineno", 1))
        return tired

    def key(self, node: ast.AST) -> Key:
        """Identify what is made at this place, on this pass, by this call."""
        place = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        return (*place, *self.frame.context, *((loop, turn) for loop, turn, _ in self.loops))

    def begin(self, node: ast.AST, name: str, owner: str | None, self_name: str | None) -> Function:
        """Start a new entry point."""
        function = Function(len(self.facts.functions), name, owner, node)
        self.facts.functions.append(function)
        self.frame = Frame(function, self.top, self_name, owner)
        self.started = self.steps
        self.loops = ()
        return function

    def lookup(self, name: str) -> Value:
        """Say what a bare name means here."""
        value = self.env.get(name)
        if value is None and self.env is not self.top:
            value = self.top.names.get(name)
        if value is not None:
            return value
        if name in self.classes:
            return Local(name, "class")
        if name in self.functions:
            return Local(name, "function")
        if name in self.survey.imports:
            return Known(self.survey.imports[name])
        if name not in self.survey.defined and (full := naming.conventional(name, self.survey.whole)):
            return Known(full)
        return Known(f"builtins.{name}") if name in _BUILTINS else Data(frozenset({("name", name)}))

    def attribute(self, name: str) -> Value:
        """Say what an attribute of the object holds when nothing was put there in this function."""
        key = f"self.{name}"
        value = self.env.get(key)
        if value is not None:
            return value
        if self.frame.owner and (held := self.inherited(self.frame.owner, name)) is not None:
            return held
        return Incoming(key)

    def inherited(self, owner: str, name: str, depth: int = 6) -> Value | None:
        """Look up a layer among the attributes of a class and its bases in the file."""
        known = self.classes.get(owner)
        if known is None or depth == 0:
            return None
        if name in known.attributes:
            return known.attributes[name]
        found = (self.inherited(base, name, depth - 1) for base in known.bases if base != owner)
        return next((value for value in found if value is not None), None)

    def method(self, owner: str, name: str, depth: int = 6) -> FunctionNode | None:
        """Find a method in a class or its bases in the file."""
        known = self.classes.get(owner)
        if known is None or depth == 0:
            return None
        if name in known.methods:
            return known.methods[name]
        found = (self.method(base, name, depth - 1) for base in known.bases if base != owner)
        return next((node for node in found if node is not None), None)

    def summary(self, owner: str, name: str, depth: int = 6) -> Summary | None:
        """Find how a method carries its state, in a class or its bases in the file."""
        known = self.classes.get(owner)
        if known is None or depth == 0:
            return None
        if name in known.steps or name in known.methods:
            return known.steps.get(name)
        found = (self.summary(base, name, depth - 1) for base in known.bases if base != owner)
        return next((step for step in found if step is not None), None)


_BUILTINS = frozenset(
    [
        "len",
        "range",
        "enumerate",
        "zip",
        "reversed",
        "list",
        "tuple",
        "dict",
        "set",
        "sorted",
        "isinstance",
        "print",
        "super",
        "getattr",
        "setattr",
        "hasattr",
        "int",
        "float",
        "str",
        "bool",
        "any",
        "all",
        "sum",
        "min",
        "max",
        "map",
        "filter",
        "iter",
        "next",
        "type",
        "abs",
    ]
)
