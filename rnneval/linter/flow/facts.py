"""Facts of a file, and the queries by which the finders of the rules use them.

One walk over the tree sees the first facts (`survey`), and the interpreter adds the others (`Facts`). Finders ask: how
do two events stand to each other (above one another in a stack, in the same pass of a loop, one layer again)? What
arrives at each layer at the next call? Which variables hold stateful models, and how are these trained?

An *event* is one call of a recurrent layer, or of a model that takes a state in and gives it back. A *carrier* is the
parameter or attribute by which a state comes into a function. A *slot* is one part of a layer's state: h or c.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rnneval.linter.flow.names import RESETS, SWITCHES
from rnneval.linter.flow.values import Data, Emitted, Incoming, Key, Many, Spec, Table, Value, alternatives, left_at
from rnneval.linter.scores import Fault

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
MOST_COMPARED = 24
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
    returned: bool = True
    """False if what is left is left in an attribute."""


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
        defaults = defaults_of(self.node)
        nothing = {name for name, value in defaults if isinstance(value, ast.Constant) and value.value is None}
        return nothing - self.reads - SWITCHES


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


@dataclass(frozen=True, slots=True)
class Unpacking:
    """The unpacking of a layer's result into a number of names."""

    node: ast.Tuple | ast.List
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
    by_function: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    by_layer: dict[tuple[int, Key], list[Event]] = field(default_factory=lambda: defaultdict(list))
    """Events of one layer, by the function's number and the layer's key."""
    followed_in_part: list[int] = field(default_factory=list)
    """Lines of entry points that took more steps than they may, one for each call or loop that was left out."""
    related: dict[tuple[int, Key, Key], bool] = field(default_factory=dict)
    """Which layers stand in one stack, as far as that was asked."""

    def add(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)
        self.by_function[event.function].append(event)
        self.by_layer[event.function, event.layer].append(event)

    def of(self, function: Function) -> list[Event]:
        """Return the events of one function, in order."""
        return self.by_function[function.number]


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


_SEEN = frozenset({
    ast.Name, ast.Attribute, ast.arg, ast.keyword, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import,
    ast.ImportFrom,
})  # fmt: skip
_LEAVES = frozenset({"ctx", "op", "ops", "id", "attr", "n", "s", "kind", "type_comment"})


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


# Events, and how they stand to each other


def judged(event: Event) -> bool:
    """Return whether the event is a call of something that is known to be recurrent."""
    return event.spec.framework in ("keras", "torch", "file")


def feeds(giver: Event, receiver: Event) -> bool:
    """Return whether the receiver reads the giver's outputs and nothing that the giver has not read: one stack.

    A decoder that reads its own sequence, attention over an encoder's outputs, one step repeated: none is a stack.
    """
    return giver.number in receiver.enters.passed and receiver.enters.origins <= giver.enters.origins


def stacked(facts: Facts, one: Event, other: Event) -> bool:
    """Return whether two layers stand in one stack, anywhere in the function."""
    key = (one.function, one.layer, other.layer)
    if one.function != other.function:
        return False
    if key not in facts.related:
        ones = facts.by_layer[one.function, one.layer][:MOST_COMPARED]
        others = facts.by_layer[other.function, other.layer][:MOST_COMPARED]
        facts.related[key] = any(feeds(a, b) or feeds(b, a) for a in ones for b in others)
    return facts.related[key]


def neighbour(event: Event, others: Iterable[Event]) -> Event | None:
    """Return one of the other events that stands directly above or below in one stack; None without one."""
    return next((other for other in others if feeds(other, event) or feeds(event, other)), None)


def one_way(event: Event) -> bool:
    """Return whether the layer reads forwards and keeps no state by itself, so that a state can be carried for it."""
    spec = event.spec
    forwards = not spec.bidirectional and not spec.backwards and not spec.cell
    return forwards and spec.stateful is False and spec.framework in ("keras", "torch")


def sources(event: Event) -> Iterator[tuple[int, Value]]:
    """Yield every part of the state with everything that may have gone into it."""
    for way in event.slots:
        for slot, value in enumerate(way):
            for option in alternatives(value):
                yield slot, option


def given_by(facts: Facts, event: Event) -> Iterator[tuple[int, Emitted, Event]]:
    """Yield the states that other events gave and this one received: part, state, giver."""
    for slot, value in sources(event):
        if isinstance(value, Emitted):
            yield slot, value, facts.events[value.event]
    if not event.slots and event.state is not None:
        for option in alternatives(event.state):
            if isinstance(option, Emitted):
                yield 0, option, facts.events[option.event]


def earlier_pass(giver: Event, receiver: Event) -> bool:
    """Return whether the giver ran in an earlier pass of a loop over time that both are in.

    A loop whose one call runs another layer at every pass is a loop over layers, however it counts.
    """
    if giver.node is receiver.node and giver.layer != receiver.layer:
        return False
    theirs = {loop: turn for loop, turn, layers in giver.turns if not layers}
    return any(not layers and theirs.get(loop, turn) < turn for loop, turn, layers in receiver.turns)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One part of one layer's state: where it comes in, and what will be there at the next call."""

    event: Event
    slot: int
    left: Value
    carried: Carried
    """All that is left where this part came in."""

    def is_own(self, facts: Facts) -> bool:
        """Return whether it is certainly the layer's own new state."""
        return all(
            isinstance(option, Emitted) and facts.events[option.event].layer == self.event.layer
            for option in alternatives(self.left)
        )


def arrivals(facts: Facts) -> Iterator[Arrival]:
    """Pair every part of an incoming state with what the function left in its place."""
    for function in facts.functions:
        events = [event for event in facts.of(function) if judged(event)]
        for carried in function.carried:
            if carried.returned and _is_encoder(function):
                continue
            for event in events:
                for slot, value in sources(event):
                    if isinstance(value, Incoming) and value.carrier == carried.carrier and not value.sliced:
                        left = left_at(carried.left, value.path)
                        if left is not None:
                            yield Arrival(event, slot, left, carried)


def shared_arrivals(facts: Facts) -> Iterator[tuple[Event, Event]]:
    """Yield layers that take in, whole, what another layer of the stack has taken in, while one state comes back."""
    for function in facts.functions:
        if _is_encoder(function):
            continue
        single = {carried.carrier for carried in function.carried if _is_one_state(carried.left)}
        seen: dict[Incoming, Event] = {}
        for event in facts.of(function):
            if not judged(event) or event.state is None:
                continue
            for place in alternatives(event.state):
                if isinstance(place, Incoming) and not place.path:
                    first = seen.setdefault(place, event)
                    if place.carrier in single and first.layer != event.layer and stacked(facts, first, event):
                        yield event, first


def _is_encoder(function: Function) -> bool:
    """Believe a name: an encoder is called once a text, and what it gives back goes to a decoder, not to itself."""
    return "encoder" in f"{function.owner or ''} {function.name}".lower()


def _is_one_state(value: Value) -> bool:
    """Return whether what comes back is one layer's state and not a structure of several."""
    found = alternatives(value)
    events = {option.event for option in found if isinstance(option, Emitted)}
    for many in found:
        if isinstance(many, Many) and not many.open:
            events |= {item.event for item in many.items if isinstance(item, Emitted)}
            if any(isinstance(item, Many | Table) for item in many.items):
                return False
    return len(events) == 1


@dataclass(slots=True)
class Stateful:
    """One variable that holds a model with stateful layers."""

    name: str
    layers: list[ast.AST] = field(default_factory=list)
    fits: list[ast.Call] = field(default_factory=list)
    fit_in_loop: bool = False


def models(facts: Facts) -> list[Stateful]:
    """Find the variables that hold models with stateful layers, each with its `fit` calls."""
    stateful: dict[int, set[bool | None]] = {}
    for key, spec in facts.specs.items():
        stateful.setdefault(id(facts.places[key]), set()).add(spec.stateful)
    every = {id(node) for node in facts.places.values()}
    layers = {node for node in every if stateful.get(node) == {True}}  # constructors that always make stateful layers
    if not layers:
        return []
    makers = {node.name for node in facts.tree.body if isinstance(node, _SCOPES) and _inside(node, layers)}
    found: list[Stateful] = []
    for scope in (facts.tree, *(node for node in ast.walk(facts.tree) if isinstance(node, _SCOPES[:2]))):
        own = list(_own(scope))
        # A functional model is known to be stateful only where no layer of the scope is not.
        made_here = {id(node) for node, _ in own} & every
        held: dict[str, Stateful] = {}
        for name, node in _holders(own, layers, makers, functional=bool(made_here) and made_here <= layers):
            held.setdefault(name, Stateful(name)).layers += _inside(node, layers)
        for node, looped in own:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fit":
                model = held.get(_plain(node.func.value))
                if model is not None:
                    model.fits.append(node)
                    model.fit_in_loop = model.fit_in_loop or looped
        found += held.values()
    return found


def _own(scope: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Walk a scope without the scopes inside it; yield each node and whether a loop is around it."""
    todo = [(child, False) for child in ast.iter_child_nodes(scope)]
    while todo:
        node, looped = todo.pop()
        yield node, looped
        if not isinstance(node, _SCOPES):
            inside = looped or isinstance(node, ast.For | ast.While)
            todo += [(child, inside) for child in ast.iter_child_nodes(node)]


def _inside(node: ast.AST, layers: set[int]) -> list[ast.AST]:
    return [inner for inner in ast.walk(node) if id(inner) in layers]


def _holders(
    own: list[tuple[ast.AST, bool]], layers: set[int], makers: set[str], *, functional: bool
) -> Iterator[tuple[str, ast.AST]]:
    """Yield the variables of a scope that hold stateful models, with the nodes that make or extend these."""
    for node, _ in own:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Call):
            name, func = _plain(node.targets[0]), node.value.func
            called = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
            sequential = called == "Sequential" and _inside(node.value, layers)
            if name and (sequential or (functional and called == "Model") or called in makers):
                yield name, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add":
            name = _plain(node.func.value)
            if name and _inside(node, layers):
                yield name, node


def _plain(node: ast.expr) -> str:
    """Return the name of a variable, such as `model` or `self.model`; "" for other expressions."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    """Return the value of a keyword argument."""
    return next((item.value for item in node.keywords if item.arg == name), None)


def shuffles(tree: ast.Module, fit: ast.Call) -> bool:
    """Return whether a `fit` takes the batches in another order than they follow on each other."""
    switch = keyword(fit, "shuffle")
    if switch is not None:
        return isinstance(switch, ast.Constant) and bool(switch.value)
    if any(item.arg is None for item in fit.keywords):
        return False
    if len(fit.args) >= 2 or keyword(fit, "y") is not None:
        return True
    data = fit.args[0] if fit.args else keyword(fit, "x")
    return isinstance(data, ast.Name) and any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == data.id for target in node.targets)
        and any(isinstance(inner, ast.Attribute) and inner.attr == "shuffle" for inner in ast.walk(node.value))
        for node in ast.walk(tree)
    )
