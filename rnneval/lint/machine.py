"""The state of the interpreter: scopes, frames, layers met, and how values are looked at.

It runs a file once, abstractly. Every function is run by itself with unknown arguments; calls of a class's own methods
are followed one call deep. Loops are run twice, which shows what one pass hands to the next. The pass is a part of a
layer's identity: a layer made in a loop counts as a different one in each pass. Loops over known layers are unrolled.
"""

import ast
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from rnneval.lint import values as v
from rnneval.lint.facts import FileFacts, FunctionFacts, FunctionNode, LoopPass
from rnneval.lint.names import BUILTINS, conventional

MOST_NODES = 1_000_000  # nodes of a file that may be evaluated


class TooManyNodesError(Exception):
    """A file of which more is to be evaluated than may be."""


class Env(dict[str, v.Abstract]):
    """Variables at one place of the code; names that begin with `self.` are attributes of a method's object."""

    dead = False  # whether the code has left this branch, by `return` or `raise`

    def meet(self, branches: "list[Env]") -> None:
        """Take over what the branches that reach this place hold."""
        alive = [branch for branch in branches if not branch.dead]
        self.dead = not alive
        changed = {name: None for branch in alive for name, value in branch.items() if self.get(name) is not value}
        for name in changed:
            self[name] = reduce(v.join, (branch[name] for branch in alive if name in branch))


@dataclass(frozen=True, slots=True)
class Class:
    """A class of the file: its methods, and the layers among its attributes; those of its bases come last."""

    name: str
    methods: ChainMap[str, FunctionNode]
    attributes: ChainMap[str, v.Abstract]


@dataclass(slots=True)
class Frame:
    """One function being run, or a call of an own method that is followed inside of it."""

    function: FunctionFacts  # the function that is run by itself, also for a call inside of it: events count as its own
    self_name: str | None = None  # name of the method's first parameter, the object
    owner: Class | None = None  # the class that the method belongs to
    call: v.LayerKey = ()  # the place of the followed call, a part of the identity of what is made; empty without one
    returned: list[v.Abstract] = field(default_factory=list)
    exits: list[Env] = field(default_factory=list)  # the variables at each `return`


class Machine:
    """Everything that changes while a file is run; what evaluates expressions and statements is given to it."""

    def __init__(
        self,
        tree: ast.Module,
        expressions: Mapping[type[ast.expr], Callable[["Machine", Any], v.Abstract]],
        run_statement: Callable[["Machine", ast.stmt], None],
    ) -> None:
        self._expressions, self._run_statement = expressions, run_statement
        self.facts = FileFacts(tree)
        self.classes: dict[str, Class] = {}
        self.waiting: list[FunctionNode] = []
        """Functions of the module, which are run by themselves when the module has been read."""
        self.env = self.top = Env()
        self.frame = Frame(FunctionFacts("<module>", None, tree))
        self.facts.functions.append(self.frame.function)
        self.loops: tuple[LoopPass, ...] = ()  # the loops around, from the outermost
        self.loop_count = 0
        self.makers: set[str] = set()  # functions and classes of the file that make models with stateful layers
        self._nodes = 0

    # Running

    def run(self, body: Iterable[ast.stmt]) -> None:
        """Run statements until one of them leaves."""
        for statement in body:
            if self.env.dead:
                return
            self._run_statement(self, statement)

    def run_function(self, node: FunctionNode, frame: Frame, names: dict[str, v.Abstract]) -> Env:
        """Run a function in a frame of its own, given its parameters; return what it leaves where its ends meet."""
        outer = self.frame, self.env
        attributes = {name: value for name, value in self.env.items() if frame.call and name.startswith("self.")}
        self.frame, self.env = frame, Env(attributes | names)
        self.run(node.body)
        end = Env()
        end.meet([*frame.exits, self.env])
        self.frame, self.env = outer
        return end

    def branch(self, base: Env) -> Env:
        """Return variables for a branch to change, which begins with those of its base."""
        self._count(len(base) // 16)
        return Env(base)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise TooManyNodesError

    def value_of(self, node: ast.expr, quiet: bool = False) -> v.Abstract:
        """Evaluate an expression; quiet if looking at a state or a parameter does not count as a use of it."""
        self._count(1)
        handler = self._expressions.get(type(node))
        if handler is None:  # arithmetic and the like: the provenance of everything in it
            parts = (child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))
            return self.blend(map(self.value_of, parts))
        value = handler(self, node)
        if getattr(value, "weight", 1) > v.MOST_WEIGHT:
            value = v.Data(frozenset({v.OVERFLOW}))
        if not quiet and isinstance(node, ast.Name | ast.Attribute):
            self.mark_read(value)
            for option in v.alternatives(value):
                if isinstance(node, ast.Name) and isinstance(option, v.Incoming) and option.carrier == node.id:
                    self.note_read(option)
        return value

    def index_value(self, node: ast.expr) -> object:
        """Return the value of an index: a literal, or the running number of a loop; None if it is not known."""
        value = self.value_of(node)
        if isinstance(value, v.Const):
            return value.value
        return value if isinstance(value, v.LoopIndex) else None

    def place_key(self, node: ast.AST) -> v.LayerKey:
        """Return the identity of what is made at this place of the file, on this pass of the loops, by this call."""
        place = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        return (*place, *self.frame.call, *((loop, turn) for loop, turn, _ in self.loops))

    # Names

    def lookup(self, name: str) -> v.Abstract:
        """Return the meaning of a bare name here."""
        if value := self.env.get(name) or self.top.get(name):
            return value
        if name in self.classes:
            return v.GlobalName(name)
        if name in self.facts.imports:
            return v.GlobalName(self.facts.imports[name])
        if name not in self.facts.defined and (full := conventional(name, self.facts.whole)):
            return v.GlobalName(full)
        return v.GlobalName(f"builtins.{name}") if name in BUILTINS else v.Data(frozenset({("name", name)}))

    def attribute_name(self, node: ast.expr) -> str | None:
        """Return `self.name` for an attribute of the object that the method belongs to, else None."""
        match node:
            case ast.Attribute(value=ast.Name(id=self.frame.self_name), attr=name):
                return f"self.{name}"
        return None

    def attribute(self, name: str) -> v.Abstract:
        """Return what an attribute of the object holds, also when nothing was put there in this function."""
        key, owner = f"self.{name}", self.frame.owner
        return self.env.get(key) or (owner and owner.attributes.get(name)) or v.Incoming(key)

    # Values

    def blend(self, values: Iterable[v.Abstract]) -> v.Data:
        """Return the provenance of what is computed from several values; `NOTHING` for no values."""
        pieces = list(values)
        return v.through(v.blend(self.facts.data_of(value) for value in pieces)) if pieces else v.NOTHING

    def sources_of(self, value: v.Abstract | None, spec: v.Spec) -> tuple[tuple[int, v.Abstract], ...]:
        """Spread a given state over the parts of a layer's, once for every path that the code may have taken."""
        ways: dict[tuple[v.Abstract, ...], None] = {}
        count = spec.parts
        for option in v.alternatives(value) if value is not None else ():
            items = v.flat(option)
            whole = isinstance(option, v.Incoming | v.DictValue)
            whole = whole or (isinstance(option, v.Emitted) and option.part is None)
            if isinstance(option, v.Const | v.Initial) or (isinstance(option, v.Many) and option.open):
                continue
            if count is None or count == len(items):
                ways[items] = None
            elif whole:
                ways[tuple(self.facts.part(option, index) for index in range(count))] = None
        return tuple((part, option) for way in ways for part, item in enumerate(way) for option in v.alternatives(item))

    def note_read(self, value: v.Incoming) -> None:
        """Note that something looked at a parameter of the function."""
        if not self.frame.call and value.carrier in self.frame.function.parameters:
            self.frame.function.reads.add(value.carrier)

    def mark_read(self, value: v.Abstract) -> None:
        """Note that something looked at the states in the value."""
        if isinstance(value, v.Emitted):
            self.facts.events[value.event].read = True
        elif isinstance(value, v.Many | v.Choice):
            for item in v.contents(value):
                self.mark_read(item)
