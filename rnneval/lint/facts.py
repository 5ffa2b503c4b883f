"""Facts of a file, and the questions that the rules ask of them.

An *event* is one call of a recurrent layer, or of a functional model that takes a state in and gives it back. A
*carrier* is the parameter or attribute by which a state comes into a function.
"""

import ast
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from rnneval.lint import values as v

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_MOST_COMPARED = 24


class LoopPass(NamedTuple):
    """One pass of a loop."""

    loop: int  # number of the loop
    turn: int  # number of the pass, from 0
    over_layers: bool  # whether the loop runs over layers: its passes are places in a stack, not steps over time


@dataclass(slots=True, eq=False)
class LayerCall:
    """One call of a recurrent layer."""

    number: int
    layer: v.LayerKey
    name: str  # the layer's name in the source
    spec: v.Spec
    node: ast.Call
    enters: v.Data  # descent of the sequence that goes in
    state: v.Abstract | None  # the value given as the state; None if there is none
    sources: tuple[tuple[int, v.Abstract], ...]
    """Every part of the given state with each value that may be in it: one for each path that the code may take."""
    turns: tuple[LoopPass, ...]  # the loops around it, from the outermost
    function: "FunctionFacts"
    read: bool = False  # whether anything looked at the state that it gave back

    @property
    def at(self) -> str:
        """The layer in messages: its name and the line of the call."""
        return f"`{self.name}` (line {self.node.lineno})"

    def feeds(self, receiver: "LayerCall") -> bool:
        """Return whether the receiver reads its outputs and nothing that this one has not read: one stack.

        A decoder that reads its own sequence, attention over an encoder's outputs, one step repeated: none is a stack.
        """
        return self.number in receiver.enters.passed and receiver.enters.origins <= self.enters.origins

    def earlier_pass(self, receiver: "LayerCall") -> bool:
        """Return whether it ran in an earlier pass of a loop over time that the receiver is in, too.

        A loop whose one call runs another layer at every pass is a loop over layers, however it counts.
        """
        if self.node is receiver.node and self.layer != receiver.layer:
            return False
        theirs = {loop: turn for loop, turn, layers in self.turns if not layers}
        return any(not layers and theirs.get(loop, turn) < turn for loop, turn, layers in receiver.turns)

    @property
    def one_way(self) -> bool:
        """True if the layer reads forwards and keeps no state by itself, so that a state can be carried for it."""
        spec = self.spec
        forwards = not spec.bidirectional and not spec.backwards and not spec.cell
        return forwards and spec.stateful is False and spec.framework in ("keras", "torch")

    def neighbour(self, others: Iterable["LayerCall"]) -> "LayerCall | None":
        """Return one of the other events that stands directly above or below in one stack; None without one."""
        return next((other for other in others if other.feeds(self) or self.feeds(other)), None)


@dataclass(frozen=True, slots=True)
class Carried:
    """A place where a state comes in, and what the function leaves there for the next call."""

    carrier: str
    outgoing: v.Abstract
    returned: bool = True  # false if it stays in an attribute


@dataclass(slots=True, eq=False)
class FunctionFacts:
    """One function or method, or the file's top level, run once with unknown arguments."""

    name: str
    owner: str | None
    node: ast.AST
    parameters: tuple[str, ...] = ()
    events: list[LayerCall] = field(default_factory=list)
    graphs: list[v.Graph] = field(default_factory=list)  # functional models that it makes
    returns: list[tuple[ast.Return, v.Abstract]] = field(default_factory=list)
    carried: tuple[Carried, ...] = ()
    reads: set[str] = field(default_factory=set)  # parameters that were looked at for more than `is None`
    overwritten: dict[str, list[v.Abstract]] = field(default_factory=dict)  # values that were assigned to parameters
    changed: dict[str, list[v.Abstract]] = field(default_factory=dict)
    """Values that were put into parameters (`states[0] = …`, `states.append(…)`)."""


def parameters_of(node: FunctionNode, is_method: bool) -> tuple[str | None, tuple[str, ...]]:
    """Return the name of the object that a method is called on, and the names of the other parameters."""
    arguments = node.args
    names = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
    static = any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in node.decorator_list)
    return (names[0], names[1:]) if is_method and names and not static else (None, names)


def defaults_of(node: ast.AST) -> list[tuple[str, ast.expr]]:
    """Return the parameters of a function that have a default, with the default; nothing for a module."""
    if not isinstance(node, FunctionNode):
        return []
    positional = [*node.args.posonlyargs, *node.args.args]
    pairs = [
        *zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True),
        *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
    ]
    return [(argument.arg, default) for argument, default in pairs if default is not None]


@dataclass(slots=True)
class FileFacts:
    """All that is known of a file."""

    tree: ast.Module
    events: list[LayerCall] = field(default_factory=list)
    functions: list[FunctionFacts] = field(default_factory=list)
    repeated: set[v.LayerKey] = field(default_factory=set)  # layers that stand several times in a list: `[layer] * n`
    stacks: list[tuple[ast.Call, v.Abstract]] = field(default_factory=list)
    """What is given to a constructor that runs cells as a stack, with its call."""
    stateful_models: set[v.Abstract] = field(default_factory=set)  # models that have stateful layers
    fits: dict[ast.Call, tuple[str, bool]] = field(default_factory=dict)
    """Each `fit` of a model that certainly has stateful layers: the model's name, whether its dataset was shuffled."""
    by_layer: dict[tuple[FunctionFacts, v.LayerKey], list[LayerCall]] = field(default_factory=lambda: defaultdict(list))
    """Events of one layer in one function."""
    related: dict[tuple[FunctionFacts, v.LayerKey, v.LayerKey], bool] = field(default_factory=dict)
    """Which layers stand in one stack, as far as that was asked."""
    imports: dict[str, str] = field(default_factory=dict)  # full names of what is imported, anywhere in the file
    whole: list[str] = field(default_factory=list)  # modules imported whole (`*`)
    defined: set[str] = field(default_factory=set)
    """Names that the file itself gives to something: a usual alias is not believed for these."""
    layer_lines: list[int] = field(default_factory=list)  # lines that name a recurrent layer's class, in order
    stateful: list[int] = field(default_factory=list)  # lines that make a layer stateful, in order

    def __post_init__(self) -> None:
        """See what the tree names."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    if "GRU" in name or "LSTM" in name or "RNN" in name:
                        self.layer_lines.append(node.lineno)
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        self.defined.add(name)
                case (
                    ast.arg(arg=name)
                    | ast.FunctionDef(name=name)
                    | ast.AsyncFunctionDef(name=name)
                    | ast.ClassDef(name=name)
                ):
                    self.defined.add(name)
                case ast.keyword(arg="stateful", value=ast.Constant(value=True)):
                    self.stateful.append(node.lineno)
                case ast.Import(names=aliases):
                    for alias in aliases:
                        first = alias.name.split(".")[0]
                        self.imports[alias.asname or first] = alias.name if alias.asname else first
                case ast.ImportFrom(names=aliases):
                    module = "." * node.level + (node.module or "")
                    self.whole += [module for alias in aliases if alias.name == "*"]
                    self.imports |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in aliases}
        self.layer_lines.sort()
        self.stateful.sort()

    def data_of(self, value: v.Abstract, depth: int = 5) -> v.Data:
        """Return the provenance of a value as a tensor: the inputs and layer calls that it was computed from."""
        if isinstance(value, v.Data):
            return value
        if isinstance(value, v.Emitted):
            event = self.events[value.event]
            return v.Data(event.enters.origins, event.enters.passed | {value.event})
        if isinstance(value, v.Incoming):
            return v.Data(frozenset({("incoming", value.carrier, value.path[:1])}))
        if depth and isinstance(value, v.Holder):
            contents = tuple(v.contents(value))
            mixed = v.blend(self.data_of(item, depth - 1) for item in contents) if contents else v.NOTHING
            grows = isinstance(value, v.Many) and value.open
            return v.Data(mixed.origins, mixed.passed, grown=True) if grows else mixed
        return v.NOTHING

    def part(self, value: v.Abstract, key: object) -> v.Abstract:
        """Return `value[key]` for a literal or running key."""
        element: v.Abstract
        match value:
            case v.Choice():
                element = v.choice(self.part(option, key) for option in value.options)
            case v.Many():
                element = _item(value, v.index_of(key))
            case v.Incoming(sliced=False):
                element = v.Incoming(value.carrier, (*value.path, key))
            case v.Incoming() if isinstance(key, int) and key >= 0:
                element = v.Incoming(value.carrier, (*value.path, value.start + key))
            case v.Incoming() if isinstance(key, int) and (value.stop is None or value.stop < 0):
                element = v.Incoming(value.carrier, (*value.path, (value.stop or 0) + key))
            case v.Incoming():
                element = v.Incoming(value.carrier, (*value.path, ("slice", value.start, value.stop), key))
            case v.DictValue():
                element = value.get(key) or (self.part(value.base, key) if value.base else v.NOTHING)
            case v.Initial():
                element = value
            case v.Emitted() if not isinstance(key, str):
                element = value
            case _:
                element = v.through(self.data_of(value))
        return element

    def section(self, value: v.Abstract, low: int | None, high: int | None) -> v.Abstract:
        """Return `value[low:high]`."""
        match value:
            case v.Choice():
                return v.choice(self.section(option, low, high) for option in value.options)
            case v.Many(open=False):
                return v.Many(value.items[low:high])
            case v.Many() if low is not None and 0 < low < 8 and high is None:
                # layers[1:] of a list of unknown length: still distinct layers, counted from there.
                return v.Many((self.part(value, low), self.part(value, low + 1)), True)
            case v.Incoming() if low is None or low >= 0:
                stop = value.stop if high is None else value.start + high if high >= 0 else (value.stop or 0) + high
                return v.Incoming(value.carrier, value.path, value.start + (low or 0), stop, True)
            case v.Emitted():
                return value
        return v.through(self.data_of(value))

    def at_path(self, value: v.Abstract, path: v.Path) -> v.Abstract | None:
        """Return what stands at a place of a structure; None if that is not known."""
        for key in path:
            parts = (self.part(option, key) for option in v.alternatives(value))
            known = [each for each in parts if not isinstance(each, v.Data)]
            if not known:
                return None
            value = v.choice(known)
        while isinstance(value, v.Many) and len(value.items) == 1 and not value.open:
            value = value.items[0]
        return None if isinstance(value, v.Data) else value

    def givers(self, event: LayerCall) -> Iterator[LayerCall]:
        """Yield the events whose states this one received."""
        values = [value for _, value in event.sources]
        for value in values or (() if event.state is None else v.alternatives(event.state)):
            if isinstance(value, v.Emitted):
                yield self.events[value.event]

    def stacked(self, one: LayerCall, other: LayerCall) -> bool:
        """Return whether two layers stand in one stack, anywhere in the function."""
        key = (one.function, one.layer, other.layer)
        if key not in self.related:
            ones = self.by_layer[one.function, one.layer][:_MOST_COMPARED]
            others = self.by_layer[other.function, other.layer][:_MOST_COMPARED]
            self.related[key] = any(a.feeds(b) or b.feeds(a) for a in ones for b in others)
        return self.related[key]

    def arrivals(self) -> Iterator["GivenState"]:
        """Pair every part of an incoming state with what the function left in its place."""
        for function in self.functions:
            for carried in function.carried:
                if carried.returned and _is_encoder(function):
                    continue
                for event in function.events:
                    for part, value in event.sources:
                        if not isinstance(value, v.Incoming) or value.carrier != carried.carrier or value.sliced:
                            continue
                        if outgoing := self.at_path(carried.outgoing, value.path):
                            yield GivenState(event, part, outgoing, carried)

    def shared_arrivals(self) -> Iterator[tuple[LayerCall, LayerCall]]:
        """Yield layers that take in, whole, what another one of the stack has taken in, while one state comes back."""
        for function in self.functions:
            if _is_encoder(function):
                continue
            single = {carried.carrier for carried in function.carried if _is_one_state(carried.outgoing)}
            takers: dict[v.Incoming, LayerCall] = {}
            for event in function.events:
                for place in () if event.state is None else v.alternatives(event.state):
                    if isinstance(place, v.Incoming) and not place.path:
                        first = takers.setdefault(place, event)
                        if place.carrier in single and first.layer != event.layer and self.stacked(first, event):
                            yield event, first


@dataclass(frozen=True, slots=True)
class GivenState:
    """One part of one layer's state: where it comes in, and what will be there at the next call."""

    event: LayerCall
    part: int
    outgoing: v.Abstract
    carried: Carried  # all that is in the place where this part came in

    def is_own(self, facts: FileFacts) -> bool:
        """Return whether it is certainly the layer's own new state."""
        return all(
            isinstance(option, v.Emitted) and facts.events[option.event].layer == self.event.layer
            for option in v.alternatives(self.outgoing)
        )


def _item(value: v.Many, index: object) -> v.Abstract:
    count = len(value.items)
    if isinstance(index, int) and -count <= index < count and not (value.open and index < -1):
        return value.items[index]
    return v.NOTHING


def has_line(node: ast.AST, lines: list[int]) -> bool:
    """Return whether one of these lines, which are in order, is within the node."""
    at = bisect_left(lines, getattr(node, "lineno", 0))
    return at < len(lines) and lines[at] <= getattr(node, "end_lineno", 0)


def _is_encoder(function: FunctionFacts) -> bool:
    """Believe a name: an encoder is called once a text, and what it gives back goes to a decoder, not to itself."""
    return "encoder" in f"{function.owner or ''} {function.name}".lower()


def _is_one_state(value: v.Abstract) -> bool:
    """Return whether what comes back is one layer's state and not a structure of several."""
    options = v.alternatives(value)
    events = {option.event for option in options if isinstance(option, v.Emitted)}
    for many in options:
        if isinstance(many, v.Many) and not many.open:
            events |= {item.event for item in many.items if isinstance(item, v.Emitted)}
            if any(isinstance(item, v.Many | v.DictValue) for item in many.items):
                return False
    return len(events) == 1
