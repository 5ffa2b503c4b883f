"""The values that a variable may hold, as far as states are concerned.

All values are frozen and compared by content. `Data` is everything else: a tensor of which only the *provenance*, or
*descent*, is known: the independent *origins* (inputs, parameters, names) and the layer calls that it came from.

An *event* is one call of a recurrent layer (`rnneval.linter.flow.facts`), given by its number. A *slot* is one part of
a layer's state: h or c.
"""

from collections.abc import Iterable, Iterator
from typing import Union

import msgspec

Key = tuple[object, ...]
"""Identity of a layer: the place of its constructor and the loop passes and calls that led there."""
Path = tuple[object, ...]
"""A place in a structure of states: indices, keys, attribute names."""

MOST_OPTIONS = 6
MOST_ORIGINS = 40
MOST_ITEMS = 64
MOST_WEIGHT = 1000
"""Values within a value: a structure of more is not followed."""
OVERFLOW = ("more origins than are followed",)


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a recurrent layer, as its constructor gives them."""

    framework: str
    """`keras` or `torch`."""
    kind: str | None
    """`gru`, `lstm`, `simple`; None where the constructor does not tell."""
    cell: bool = False
    bidirectional: bool = False
    returns_state: bool | None = False
    returns_sequences: bool | None = False
    stateful: bool | None = False
    backwards: bool = False

    @property
    def slots(self) -> int | None:
        """Number of parts of the state, as the layer takes and gives it; None if unknown."""
        one = {"gru": 1, "simple": 1, "lstm": 2}.get(self.kind or "")
        if one is None:
            return None
        return 2 * one if self.bidirectional and self.framework == "keras" else one


class Data(msgspec.Struct, frozen=True):
    """A tensor or anything else: the independent origins that it descends from, and the events that it went through."""

    origins: frozenset[object] = frozenset()
    passed: frozenset[int] = frozenset()
    last_of: int | None = None
    """The event whose last output this is (`x[:, -1]`): for one-slot layers the same numbers as the state."""
    whole_of: int | None = None
    """The event whose outputs these are, with no other layer in between but dropout and the like."""
    grown: bool = False
    """Joined from pieces: a sequence that gets longer, so that nothing needs to be carried."""


class Const(msgspec.Struct, frozen=True):
    """A literal: None, a number, a string, True, False."""

    value: object


class Step(msgspec.Struct, frozen=True):
    """The running number of a loop pass, known only relative to the loop: pass `turn` of the passes that are run."""

    loop: int
    turn: int
    offset: int = 0
    """The number of the first pass."""


class Emitted(msgspec.Struct, frozen=True):
    """The state that a layer gave back: one part of it (`slot`), or all of it (None)."""

    event: int
    slot: int | None = None
    touched: bool = False
    """Whether it went through dropout, normalisation or a mask: it is still that layer's state."""


class Incoming(msgspec.Struct, frozen=True):
    """The value of a parameter or an attribute when the function began, or a part of it."""

    carrier: str
    """The parameter, or `self.` and the attribute."""
    path: Path = ()
    start: int = 0
    """Beginning of a slice of it: index k of the slice is `path + (start + k,)`."""
    stop: int | None = None
    """End of the slice, counted from the end if it is negative."""
    sliced: bool = False


class Initial(msgspec.Struct, frozen=True):
    """A layer's initial state, or zeros."""

    layer: Key | None = None
    slot: int | None = None


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A value that holds others, and their number: held values may be shared, so that a recount could take forever."""

    weight: int = 1

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "weight", 1 + sum(getattr(value, "weight", 1) for value in held(self)))


class Many(Holder, frozen=True):
    """A list or tuple; open if a loop may have put in more of the same."""

    items: tuple["Value", ...] = ()
    open: bool = False
    same: bool = False
    """Whether it holds one object several times: `[cell] * n`."""


class Table(Holder, frozen=True):
    """A dict, a record, or something indexed that was partly overwritten.

    A record has its fields under their names, written `.name`, and under their numbers.
    """

    items: tuple[tuple[object, "Value"], ...] = ()
    base: Union["Value", None] = None

    def get(self, key: object) -> Union["Value", None]:
        """Return what was last stored under the key."""
        return next((value for name, value in reversed(self.items) if name == key), None)


class Mixed(Holder, frozen=True):
    """States concatenated, as for a decoder of twice the width."""

    parts: tuple["Value", ...] = ()


class Choice(Holder, frozen=True):
    """One of several values: made where branches meet."""

    options: frozenset["Value"]


class Layer(msgspec.Struct, frozen=True):
    """A recurrent layer or cell."""

    key: Key
    spec: Spec


class Graph(msgspec.Struct, frozen=True):
    """A functional model: inputs and outputs."""

    inputs: tuple["Value", ...]
    outputs: tuple["Value", ...]


class Known(msgspec.Struct, frozen=True):
    """A name that was imported: its full dotted path."""

    name: str


class Local(msgspec.Struct, frozen=True):
    """A class or function of the file."""

    name: str
    kind: str
    """`class` or `function`."""


class Record(msgspec.Struct, frozen=True):
    """A class that only holds fields: a namedtuple or a dataclass of the file."""

    fields: tuple[str, ...]


class Object(msgspec.Struct, frozen=True):
    """An object of a class of the file."""

    of: str
    key: Key


class Method(msgspec.Struct, frozen=True):
    """An attribute of something that is not followed further: a call of it is judged by the name."""

    owner: "Value"
    name: str


Value = (
    Data | Const | Step | Emitted | Incoming | Initial | Many | Table | Mixed | Choice
    | Layer | Graph | Known | Local | Record | Object | Method
)  # fmt: skip

NOTHING = Data()
NONE = Const(None)


def held(value: Holder) -> Iterable[Value]:
    """Return the values that a value holds."""
    match value:
        case Many():
            return value.items
        case Choice():
            return value.options
        case Mixed():
            return value.parts
        case Table():
            return (*(item for _, item in value.items), *(() if value.base is None else (value.base,)))
    return ()


def alternatives(value: Value) -> tuple[Value, ...]:
    """Return every value that this may be."""
    return tuple(value.options) if isinstance(value, Choice) else (value,)


def join(left: Value, right: Value) -> Value:
    """Return what a variable may hold where two branches meet."""
    if left is right or left == right:
        return left
    if isinstance(left, Many) and isinstance(right, Many) and len(left.items) == len(right.items):
        items = tuple(map(join, left.items, right.items))
        return Many(items, left.open or right.open, left.same or right.same)
    if type(left) is Data and type(right) is Data:
        return blend((left, right))
    return choice((*alternatives(left), *alternatives(right)))


def choice(found: Iterable[Value]) -> Value:
    """Return one of several values, kept apart while they are few."""
    kept = frozenset(found)
    if len(kept) == 1:
        return next(iter(kept))
    return Choice(kept) if 0 < len(kept) <= MOST_OPTIONS else Data(frozenset({OVERFLOW}))


def traced(origins: frozenset[object], another: object) -> frozenset[object]:
    """Add an origin to a descent; a descent of too many origins is given up."""
    return origins | {another} if len(origins) < MOST_ORIGINS else frozenset({OVERFLOW})


def blend(found: Iterable[Data]) -> Data:
    """Return data that descends from everything that the pieces descend from."""
    pieces = tuple(found)
    if len(pieces) == 1:
        return pieces[0]
    origins = frozenset().union(*(piece.origins for piece in pieces))
    passed = frozenset().union(*(piece.passed for piece in pieces))
    if len(origins) > MOST_ORIGINS or len(passed) > MOST_ORIGINS:
        return Data(frozenset({OVERFLOW}))
    whole = {piece.whole_of for piece in pieces}
    return Data(
        origins,
        passed,
        whole_of=whole.pop() if len(whole) == 1 else None,
        grown=any(piece.grown for piece in pieces),
    )


def cut(data: Data, place: object) -> Data:
    """Return what is no longer the sequence that a layer gave: one step of it, or one step repeated."""
    return Data(traced(data.origins, ("cut", place)), data.passed, grown=data.grown)


def through(data: Data) -> Data:
    """Return the descent after an operation that mixes the features."""
    return Data(data.origins, data.passed, grown=data.grown)


def leaves(value: Value, depth: int = 5) -> Iterator[Value]:
    """Walk through containers and choices to what they hold."""
    if depth == 0:
        return
    if isinstance(value, Holder):
        for item in held(value):
            yield from leaves(item, depth - 1)
    else:
        yield value


def emissions(value: Value) -> set[int]:
    """Return the events whose states are somewhere in the value."""
    return {leaf.event for leaf in leaves(value) if isinstance(leaf, Emitted)}


def is_state(value: Value) -> bool:
    """Return whether the value is, or may be, a state that a layer gave, and nothing else but a state."""
    found = alternatives(value)
    return all(isinstance(option, Emitted | Incoming | Initial) for option in found) and any(
        isinstance(option, Emitted) for option in found
    )


def is_none(value: Value) -> bool | None:
    """Return whether the value is None; None if that is not known."""
    found = {
        True if option == NONE else None if isinstance(option, Data | Incoming) else False
        for option in alternatives(value)
    }
    return found.pop() if len(found) == 1 else None


def index_of(key: object) -> object:
    """Return the number that a key stands for on its pass of a loop; other keys as they are."""
    return key.turn + key.offset if isinstance(key, Step) else key


def left_at(value: Value, path: Path) -> Value | None:
    """Return what was left at a place of a structure; None if that is not known."""
    for key in path:
        step = _left_under(value, key)
        if step is None:
            return None
        value = step
    while isinstance(value, Many) and len(value.items) == 1 and not value.open:
        value = value.items[0]
    return value


def _left_under(value: Value, key: object) -> Value | None:
    """Return `value[key]` if it is certain: unlike a read by the code itself, nothing is guessed."""
    found: Value | None = None
    match value:
        case Choice():
            known = [step for option in value.options if (step := _left_under(option, key)) is not None]
            found = choice(known) if known else None
        case Many():
            index = index_of(key)
            if isinstance(index, int) and -len(value.items) <= index < len(value.items):
                found = value.items[index]
        case Incoming(sliced=False):
            found = Incoming(value.carrier, (*value.path, key))
        case Table():
            found = value.get(key)
            if found is None and value.base is not None:
                unknown = any(isinstance(name, Step) or name is None for name, _ in value.items)
                found = None if unknown else _left_under(value.base, key)
        case Emitted(slot=None) if isinstance(key, int):
            found = Emitted(value.event, key, value.touched)
        case Emitted() if key == 0:
            found = value
    return found
