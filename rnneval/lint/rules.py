"""The rules: each is a function that looks at the facts of a file and yields matches.

A rule's page is `rnneval/pages/NAME.md`. Words of the rules: a *giver* is the call of a layer from which a state comes.
An *arrival* is one part of a layer's incoming state, with the value that the function leaves in its place for the next
call.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from rnneval.errors import UsageError
from rnneval.lint import values as v
from rnneval.lint.facts import FileFacts, FunctionFacts, GivenState, LayerCall, defaults_of

LintSeverity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Match:
    """A fault at a node of the tree."""

    node: ast.AST
    message: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the linter."""

    code: str
    name: str
    severity: LintSeverity
    find: "Finder"


Finder = Callable[[FileFacts], Iterator[Match]]
RULES: list[Rule] = []  # every rule, in the order of the codes


def _rule(code: str, severity: LintSeverity = "error") -> Callable[[Finder], Finder]:
    """Make a rule of a function; the rule has its name."""

    def decorator(find: Finder) -> Finder:
        RULES.append(Rule(code, find.__name__.replace("_", "-"), severity, find))
        return find

    return decorator


@_rule("RNN001")
def shared_state(facts: FileFacts) -> Iterator[Match]:
    """Find states that one layer gave back and another layer above it received in the same call."""
    for event in facts.events:
        if giver := _giver(facts, event):
            fault = f"`{event.name}` starts from the state that {giver.at} gave back in the same call"
            own = f"give each layer a state of its own, `{event.name}`'s from the call before"
            yield Match(event.node, f"{fault}: {own}")


def _giver(facts: FileFacts, event: LayerCall) -> LayerCall | None:
    """Return the layer of the same call from whose state or last output this one starts; None if not certain."""
    values = [value for _, value in event.sources]
    if any(isinstance(value, v.Data) and value.last_of is None for value in values):
        return None  # something that is not followed may be in the state: a state mapped by a layer, say
    # The first of several ways, whatever the order of a set: a message is the same on every run.
    givers = sorted(facts.givers(event), key=lambda giver: giver.number)
    outputs = [value.last_of for value in values if isinstance(value, v.Data) and value.last_of is not None]
    for giver in [*givers, *(facts.events[number] for number in outputs[:1])]:
        # Layers that say what they are: an encoder's or a backward reader's state is meant for the decoder.
        handed = giver.spec.backwards and not event.spec.backwards
        handed = handed or ("enc" in giver.name.lower() and "dec" in event.name.lower())
        if giver.layer != event.layer and giver.feeds(event) and not giver.earlier_pass(event) and not handed:
            return giver
    return None


@_rule("RNN002")
def crossed_state(facts: FileFacts) -> Iterator[Match]:
    """Find layers that start from another layer's state, of an earlier pass or call, or from one for several layers."""
    crossing = [(event, giver) for event in facts.events for giver in facts.givers(event)]
    crossing = [(event, giver) for event, giver in crossing if _crosses(facts, giver, event)]
    mixed_now = {event.function for event, giver in crossing if not giver.earlier_pass(event)}
    for event, giver in crossing:
        if event.function not in mixed_now:
            yield _crossed(event, giver, "at the pass before")
    shared = list(facts.shared_arrivals())
    mixed_later = mixed_now | {event.function for event, _ in shared}
    for arrival in facts.arrivals():
        if arrival.event.function not in mixed_later and (other := _other_giver(facts, arrival)):
            yield _crossed(arrival.event, other, "at the call before")
    for event, first in shared:
        if event.function not in mixed_now:
            fault = f"`{event.name}` gets the same incoming state as {first.at}"
            yield Match(event.node, f"{fault}: one state comes in for all layers; take in and give back one for each")


def _crosses(facts: FileFacts, giver: LayerCall, event: LayerCall) -> bool:
    return giver.layer != event.layer and facts.stacked(giver, event)


def _other_giver(facts: FileFacts, arrival: GivenState) -> LayerCall | None:
    """Return the other layer whose state is there at the next call; None if it may be the layer's own."""
    options = v.alternatives(arrival.outgoing)
    givers = [facts.events[option.event] for option in options if isinstance(option, v.Emitted)]
    if any(giver.layer == arrival.event.layer for giver in givers):
        return None
    return next((giver for giver in givers if _crosses(facts, giver, arrival.event)), None)


def _crossed(event: LayerCall, giver: LayerCall, when: str) -> Match:
    fault = f"`{event.name}` starts from the state that {giver.at} gave back {when}"
    return Match(event.node, f"{fault}: return and take in the states in one order, each layer its own")


@_rule("RNN003")
def swapped_slots(facts: FileFacts) -> Iterator[Match]:
    """Compare the place of every part of a state with the place it came from."""
    handed = (
        (event, part, facts.events[value.event], value.part)
        for event in facts.events
        for part, value in event.sources
        if isinstance(value, v.Emitted) and value.part is not None
    )
    for event, part, giver, given in handed:
        if event.spec.parts in (2, 4) and giver.spec.parts == event.spec.parts and given != part:
            fault = f"{_part(event, part)} of `{event.name}` starts from {_part(giver, given)} that {giver.at}"
            yield Match(event.node, f"{fault} gave back: hand over each part in its own place")
    for arrival in facts.arrivals():
        wrong = _part_in_its_place(facts, arrival)
        if wrong is not None:
            event = arrival.event
            fault = f"{_part(event, arrival.part)} of `{event.name}` starts from what was {_part(event, wrong)}"
            yield Match(event.node, f"{fault} at the call before: take in and give back the parts in one order")


def _part_in_its_place(facts: FileFacts, arrival: GivenState) -> int | None:
    """Return which part comes back in this part's place, if it is certainly another one of the same layer."""
    wrong: set[int] = set()
    for option in v.alternatives(arrival.outgoing):
        if isinstance(option, v.Emitted) and option.part is not None:
            if facts.events[option.event].layer != arrival.event.layer or option.part == arrival.part:
                return None
            wrong.add(option.part)
    return wrong.pop() if len(wrong) == 1 else None


def _part(event: LayerCall, part: int) -> str:
    """Return the usual name of a part of a state."""
    if event.spec.parts == 4:
        return ("forward h", "forward c", "backward h", "backward c")[part]
    if event.spec.bidirectional and event.spec.kind != "lstm":
        return ("the forward state", "the backward state")[part]
    return ("h", "c")[part] if part < 2 else f"part {part}"


@_rule("RNN004")
def stale_state(facts: FileFacts) -> Iterator[Match]:
    """Find incoming states among what is returned, and attributes that keep a state which never moves on."""
    yield from _standing(facts)
    for function in facts.functions:
        for node, value in function.returns:
            for event, place in _stale(facts, function, value):
                # The place as the source writes it, as far as its keys are literals.
                keys = takewhile(lambda key: isinstance(key, int | str), place.path)
                written = "".join(str(key) if str(key).startswith(".") else f"[{key!r}]" for key in keys)
                fault = f"the state that came in (`{place.carrier}{written}`) is returned"
                why = f"and the new state of {event.at} is thrown away"
                yield Match(node, f"{fault}, {why}: return what the layer gave back")


def _standing(facts: FileFacts) -> Iterator[Match]:
    """Find layers that start from an attribute which no call writes, in a stack with one that is carried in one."""
    standing: dict[int, str] = {}  # the attributes, by the numbers of the events
    for function in facts.functions:
        written = {carried.carrier for carried in function.carried}
        for event in function.events:
            kept = {place.carrier for _, place in event.sources if isinstance(place, v.Incoming) and not place.path}
            for carrier in kept - written:
                if carrier.startswith("self."):
                    standing[event.number] = carrier
    for event, arrival in _beside_carried(facts, (facts.events[number] for number in standing)):
        if not arrival.carried.returned and not _is_used(facts, event.function, event):
            fault = f"`{event.name}` starts from `{standing[event.number]}`, which stays as it is, and its new state"
            yield Match(event.node, f"{fault} is thrown away, while that of {arrival.event.at} is kept: keep both")


def _beside_carried(facts: FileFacts, events: Iterable[LayerCall]) -> Iterator[tuple[LayerCall, GivenState]]:
    """Yield those of these events that are directly above or below a layer whose own state is carried, and that."""
    carrying: dict[FunctionFacts, list[GivenState]] = {}
    for arrival in facts.arrivals():
        if arrival.is_own(facts):
            carrying.setdefault(arrival.event.function, []).append(arrival)
    for event in events:
        for arrival in carrying.get(event.function, ()):
            if event.neighbour([arrival.event]):
                yield event, arrival


def _stale(facts: FileFacts, function: FunctionFacts, value: v.Abstract) -> Iterator[tuple[LayerCall, v.Incoming]]:
    """Yield the layers whose incoming state is returned in place of their new one, and that state."""
    returned = [option for option in v.alternatives(value) if isinstance(option, v.Many) and len(option.items) > 1]
    for event in function.events:
        for place in (source for _, source in event.sources if isinstance(source, v.Incoming)):
            back = any(_comes_back(facts, option, place) for option in returned)
            if back and not _is_used(facts, function, event):
                yield event, place


def _comes_back(facts: FileFacts, returned: v.Many, place: v.Incoming) -> bool:
    """Return whether the very place that the layer read is returned as it came, alone or in its structure."""
    for item in returned.items[1:]:
        for option in v.alternatives(item):
            if isinstance(option, v.DictValue) and facts.at_path(option, place.path) == place and v.emissions(option):
                return True
            if any(isinstance(leaf, v.Incoming) and _covers(leaf, place) for leaf in v.leaves(option)):
                return not place.carrier.startswith("self.")
    return False


def _covers(leaf: v.Incoming, place: v.Incoming) -> bool:
    depth = len(leaf.path)
    if leaf.carrier != place.carrier or place.path[:depth] != leaf.path:
        return False
    at = place.path[depth] if len(place.path) > depth else None
    return not leaf.sliced or (isinstance(at, int) and leaf.start <= at and (leaf.stop is None or at < leaf.stop))


def _is_used(facts: FileFacts, function: FunctionFacts, event: LayerCall) -> bool:
    same = facts.by_layer[function, event.layer]
    numbers = {other.number for other in same}
    outgoing = (*(value for _, value in function.returns), *(carried.outgoing for carried in function.carried))
    return any(other.read for other in same) or any(numbers & v.emissions(value) for value in outgoing)


@_rule("RNN005")
def ignored_state(facts: FileFacts) -> Iterator[Match]:
    """Find parameters that are only written, and states that come back unasked."""
    for function in facts.functions:
        for name, values in function.overwritten.items():
            if name not in function.reads and (event := _ignoring(function, values)):
                fault = f"`{name}` comes in and is never given to `{event.name}`, which starts anew at every call"
                yield Match(event.node, f"{fault}: pass it as the layer's initial state")
    yield from _never_given(facts)


def _never_given(facts: FileFacts) -> Iterator[Match]:
    """Find layers of a stack whose states come back in one structure, one of which never gets its own."""
    fed = {(event.function, event.layer) for event in facts.events if not _starts_anew(event)}
    unfed = (event for event in facts.events if event.one_way and (event.function, event.layer) not in fed)
    for event, arrival in _beside_carried(facts, unfed):
        if event.number in v.emissions(arrival.carried.outgoing):
            fault = f"`{event.name}` starts anew at every call although its state comes back beside that of"
            yield Match(event.node, f"{fault} {arrival.event.at}: pass it as the layer's initial state")


def _ignoring(function: FunctionFacts, values: Sequence[v.Abstract]) -> LayerCall | None:
    """Return the layer that began with nothing, or a new state, and whose new state takes the parameter's name."""
    given = {number for value in values for number in v.emissions(value)}
    returned = {number for _, value in function.returns for number in v.emissions(value)}
    for event in function.events:
        replaced = event.number in given or any(value == event.state for value in values)
        if replaced and event.number in returned and not event.spec.stateful and _starts_anew(event):
            return event
    return None


def _starts_anew(event: LayerCall) -> bool:
    return event.state is None or all(isinstance(leaf, v.Initial) for leaf in v.leaves(event.state))


@_rule("RNN006")
def dropped_state(facts: FileFacts) -> Iterator[Match]:
    """Find passes of loops that forget, and stacks that are carried in part."""
    for event in facts.events:
        if _repeats(facts, event):
            fault = f"`{event.name}` reads its own output at every pass and starts from the same state each time"
            yield Match(event.node, f"{fault}: give it the state that it gave back at the pass before")
    fed = {(event.function, event.layer) for event in facts.events if event.state is not None}
    forgotten = [event for event in facts.events if event.one_way and not event.read]
    unfed = (event for event in forgotten if (event.function, event.layer) not in fed)
    for event, arrival in _beside_carried(facts, unfed):
        fault = f"`{event.name}` starts anew at every call while the state of {arrival.event.at} is carried"
        yield Match(event.node, f"{fault}: take in and give back a state for each layer")
    keeping: dict[FunctionFacts, list[LayerCall]] = {}
    for event in facts.events:
        if event.spec.stateful is True:
            keeping.setdefault(event.function, []).append(event)
    for event in forgotten:
        alone = event.state is None and event.spec.returns_sequences
        if alone and (stateful := event.neighbour(keeping.get(event.function, ()))):
            fault = f"`{event.name}` starts anew at every batch while {stateful.at} is stateful"
            yield Match(event.node, f"{fault}: make both stateful, or neither")


def _repeats(facts: FileFacts, event: LayerCall) -> bool:
    """Return whether the output of an earlier pass goes in, begun from the very same state and forgotten since."""
    if not event.turns or event.enters.grown or event.spec.stateful or not event.spec.returns_state:
        return False
    if event.state is None and event.spec.framework != "graph":
        return False
    for other in (facts.events[number] for number in event.enters.passed):
        same_call = other.node is event.node and other.layer == event.layer and other.function == event.function
        over_time = other.turns[:-1] == event.turns[:-1] and not event.turns[-1].over_layers
        if same_call and other.state == event.state and not other.read and other.turns and over_time:
            return True
    return False


@_rule("RNN007")
def shared_layer(facts: FileFacts) -> Iterator[Match]:
    """Find layers that read what they gave, and lists in which one cell stands several times."""
    for event in facts.events:
        # Cells run once per token; only one that stands several times in a list that is run as a stack is a fault.
        in_stack = event.spec.framework in ("keras", "torch") and (event.layer in facts.repeated or not event.spec.cell)
        if in_stack and (first := _first(facts, event)):
            fault = f"`{event.name}` runs on its own outputs (line {first.node.lineno})"
            why = "one layer object, its weights and its state, stands twice in the stack"
            yield Match(event.node, f"{fault}: {why}; make one for each place")
    for node, cells in facts.stacks:
        if not isinstance(cells, v.Many) or all(isinstance(cell, v.Const) for cell in cells.items):
            continue
        kinds = v.LayerValue | v.Object
        known = [cell for cell in cells.items if all(isinstance(option, kinds) for option in v.alternatives(cell))]
        if cells.same or any(one == other for at, one in enumerate(known) for other in known[:at]):
            fault = "one cell object stands several times in the stack"
            why = "all of its layers share their weights, or building it fails"
            yield Match(node, f"{fault}: {why}; make a cell for each: `[make_cell() for _ in range(n)]`")


def _first(facts: FileFacts, event: LayerCall) -> LayerCall | None:
    """Return the earlier call of the same layer, on whose outputs this one runs as another place of a stack."""
    chained = any(True for _ in facts.givers(event))
    for number in sorted(event.enters.passed):
        other = facts.events[number]
        if other.layer == event.layer and other.function == event.function and other.feeds(event):
            whole = event.enters.whole_of == number
            if other.node is not event.node:
                if not chained or whole:
                    return other
            elif (not chained and event.state is None and whole) or (event.turns and event.turns[-1].over_layers):
                return other
    return None


@_rule("RNN008")
def mutable_default(facts: FileFacts) -> Iterator[Match]:
    """Find states that are put into a default."""
    for function in facts.functions:
        for name, default in defaults_of(function.node):
            parts = (default.left, default.right) if isinstance(default, ast.BinOp) else ()
            mutable = isinstance(default, ast.List | ast.Dict | ast.ListComp)
            mutable = mutable or any(isinstance(part, ast.List) for part in parts)
            put = (leaf for value in function.changed.get(name, ()) for leaf in v.leaves(value))
            if mutable and any(isinstance(leaf, v.Emitted | v.Initial) for leaf in put):
                fault = f"the default of `{name}` is made once and states are put into it"
                why = "the next call starts from this call's states"
                yield Match(default, f"{fault}: {why}; take None and make a new list in the call")


@_rule("RNN010", "warning")
def stateful_shuffle(facts: FileFacts) -> Iterator[Match]:
    """Find stateful models that are trained on shuffled batches."""
    for node, (name, shuffled) in facts.fits.items():
        named = {item.arg: item.value for item in node.keywords}
        switch = named.get("shuffle")
        by_default = None not in named and (len(node.args) >= 2 or "y" in named or shuffled)
        if by_default if switch is None else isinstance(switch, ast.Constant) and switch.value:
            fault = f"`{name}` has stateful layers and is trained on shuffled batches"
            why = "the state of one batch goes to rows that do not follow on it"
            yield Match(node, f"{fault}: {why}; pass shuffle=False, or leave the dataset in its order")


UNREADABLE = Rule("RNN000", "invalid-source", "warning", lambda _: iter(()))
"""The finding that a file cannot be read, which no rule makes."""
CODES = {key: rule.code for rule in (UNREADABLE, *RULES) for key in (rule.name, rule.code)}
"""Code of every rule, by its name and by the code itself."""


def wanted(select: Iterable[str], ignore: Iterable[str]) -> frozenset[str]:
    """Return the codes of the rules that are asked for: those of `select`, all if it is empty, without `ignore`."""
    return (_chosen(select, "--select") or frozenset(CODES.values())) - _chosen(ignore, "--ignore")


def _chosen(rules: Iterable[str], where: str) -> frozenset[str]:
    """Return the codes of rules given as codes, beginnings of codes, or names, separated by commas."""
    codes: set[str] = set()
    for word in filter(None, (word.strip() for item in rules for word in item.split(","))):
        start = word.upper() if word.upper().startswith("RNN") else None
        matching = {code for name, code in CODES.items() if name == word or (start and code.startswith(start))}
        if not matching:
            names = ", ".join(sorted(name for name in CODES if not name.startswith("RNN")))
            known = f"RNN000 to {max(CODES.values())}, or {names}"
            raise UsageError(f"{where}: no rule is called {word!r}: there are {known}")
        codes |= matching
    return frozenset(codes)
