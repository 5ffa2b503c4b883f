"""The values that a variable may hold, as far as states are concerned.

All values are frozen and compared by content. `Data` is everything else: a tensor of which only the *descent* is
known: the independent *origins* (inputs, parameters, names) and the events that it came from. An *event* is one call of
a recurrent layer, given by its number. A *part* of a layer's state is h or c, given by its place.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias, Union

LayerKey = tuple[object, ...]
"""Identity of a layer: the place of its constructor, and the loop passes and the call that led there."""
Path = tuple[object, ...]  # a place in a structure of states: indices, keys, attribute names

MOST_OPTIONS = 6
MOST_ORIGINS = 40
MOST_ITEMS = 64
MOST_WEIGHT = 1000  # values within a value: a structure of more is not followed
OVERFLOW = ("more origins than are followed",)


@dataclass(frozen=True, slots=True)
class Spec:
    """The properties of a recurrent layer, as its constructor gives them."""

    framework: str  # `keras`, `torch`, or `graph` for a functional model of the file
    kind: str | None  # `gru`, `lstm`, `simple`; None where the constructor does not tell
    cell: bool = False
    bidirectional: bool = False  # here and for `backwards`: also where the constructor does not tell
    returns_state: bool | None = False
    returns_sequences: bool | None = False
    stateful: bool | None = False
    backwards: bool = False

    @property
    def parts(self) -> int | None:
        """Number of parts of the state, as the layer takes and gives it; None if unknown."""
        one = {"gru": 1, "simple": 1, "lstm": 2}.get(self.kind or "")
        if one is None:
            return None
        return 2 * one if self.bidirectional and self.framework == "keras" else one


@dataclass(frozen=True, slots=True)
class Data:
    """A tensor or anything else: the independent origins that it descends from, and the events that it went through."""

    origins: frozenset[object] = frozenset()
    passed: frozenset[int] = frozenset()
    last_of: int | None = None
    """The event whose last output this is (`x[:, -1]`): for a GRU the same numbers as the state."""
    whole_of: int | None = None
    """The event whose outputs these are, with no other layer in between but dropout and the like."""
    grown: bool = False  # joined from pieces: a sequence that gets longer, so that nothing needs to be carried


@dataclass(frozen=True, slots=True)
class Const:
    """A literal: None, a number, a string, True, False."""

    value: object


@dataclass(frozen=True, slots=True)
class LoopIndex:
    """The running number of a loop pass, known only relative to the loop: pass `turn` of the passes that are run."""

    loop: int
    turn: int
    offset: int = 0  # the number of the first pass


@dataclass(frozen=True, slots=True)
class Emitted:
    """The state that a layer gave back: one part of it, or all of it (None)."""

    event: int
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """The value of a parameter or an attribute when the function began, or a part of it."""

    carrier: str  # the parameter, or `self.` and the attribute
    path: Path = ()
    start: int = 0  # beginning of a slice of it: index k of the slice is `path + (start + k,)`
    stop: int | None = None  # end of the slice, counted from the end if it is negative
    sliced: bool = False


@dataclass(frozen=True, slots=True)
class Initial:
    """A part of a layer's initial state, or zeros."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A value that holds others, and their number: held values may be shared, so that a recount could take forever."""

    weight: int = field(default=1, init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", 1 + sum(getattr(value, "weight", 1) for value in contents(self)))


@dataclass(frozen=True, slots=True)
class Many(Holder):
    """A list or tuple; open if a loop may have put in more of the same."""

    items: tuple["Abstract", ...] = ()
    open: bool = False
    same: bool = False  # whether it holds one object several times: `[cell] * n`


@dataclass(frozen=True, slots=True)
class DictValue(Holder):
    """A dict, or something indexed that was partly overwritten."""

    items: tuple[tuple[object, "Abstract"], ...] = ()
    base: Union["Abstract", None] = None

    def get(self, key: object) -> Union["Abstract", None]:
        """Return what was last stored under the key."""
        return next((value for name, value in reversed(self.items) if name == key), None)


@dataclass(frozen=True, slots=True)
class Choice(Holder):
    """One of several values: made where branches meet."""

    options: frozenset["Abstract"] = frozenset()


@dataclass(frozen=True, slots=True)
class LayerValue:
    """A recurrent layer or cell."""

    key: LayerKey
    spec: Spec


@dataclass(frozen=True, slots=True)
class Graph:
    """A functional model: inputs and outputs."""

    inputs: tuple["Abstract", ...]
    outputs: tuple["Abstract", ...]


@dataclass(frozen=True, slots=True)
class GlobalName:
    """A name with a meaning elsewhere: the full dotted path of an import, or the name of a class of the file."""

    name: str


@dataclass(frozen=True, slots=True)
class Object:
    """An object of a class, made at one place."""

    of: str
    key: LayerKey


@dataclass(frozen=True, slots=True)
class Method:
    """An attribute of something that is not followed further: a call of it is judged by the name."""

    owner: "Abstract"
    name: str


Abstract: TypeAlias = (
    Data | Const | LoopIndex | Emitted | Incoming | Initial | Many | DictValue | Choice
    | LayerValue | Graph | GlobalName | Object | Method
)  # fmt: skip

NOTHING = Data()
NONE = Const(None)
OWN = GlobalName("self")  # the object that the running method belongs to, as the owner of a method


def contents(value: Holder) -> Iterable[Abstract]:
    """Return the values that a value holds."""
    match value:
        case Many():
            return value.items
        case Choice():
            return value.options
        case DictValue():
            return (*(item for _, item in value.items), *(() if value.base is None else (value.base,)))
    return ()


def alternatives(value: Abstract) -> tuple[Abstract, ...]:
    """Return every value that this may be."""
    return tuple(value.options) if isinstance(value, Choice) else (value,)


def flat(value: Abstract) -> tuple[Abstract, ...]:
    """Return the items of a list and of the lists inside of it; another value alone."""
    return tuple(inner for item in value.items for inner in flat(item)) if isinstance(value, Many) else (value,)


def join(one: Abstract, other: Abstract) -> Abstract:
    """Return what a variable may hold where two branches meet."""
    if one is other or one == other:
        return one
    if isinstance(one, Many) and isinstance(other, Many) and len(one.items) == len(other.items):
        items = tuple(map(join, one.items, other.items))
        return Many(items, one.open or other.open, one.same or other.same)
    if isinstance(one, Data) and isinstance(other, Data):
        return blend((one, other))
    return choice((one, other))


def choice(values: Iterable[Abstract]) -> Abstract:
    """Return one of several values, kept apart while they are few."""
    kept = frozenset(option for value in values for option in alternatives(value))
    if len(kept) == 1:
        return next(iter(kept))
    return Choice(kept) if 0 < len(kept) <= MOST_OPTIONS else Data(frozenset({OVERFLOW}))


def traced(origins: frozenset[object], another: object) -> frozenset[object]:
    """Add an origin to a descent; a descent of too many origins is given up."""
    return origins | {another} if len(origins) < MOST_ORIGINS else frozenset({OVERFLOW})


def blend(several: Iterable[Data]) -> Data:
    """Return data that descends from everything that the pieces descend from."""
    pieces = tuple(several)
    if len(pieces) == 1:
        return pieces[0]
    origins = frozenset().union(*(piece.origins for piece in pieces))
    passed = frozenset().union(*(piece.passed for piece in pieces))
    if len(origins) > MOST_ORIGINS or len(passed) > MOST_ORIGINS:
        return Data(frozenset({OVERFLOW}))
    whole = {piece.whole_of for piece in pieces}
    grown = any(piece.grown for piece in pieces)
    return Data(origins, passed, whole_of=whole.pop() if len(whole) == 1 else None, grown=grown)


def cut(data: Data, place: object) -> Data:
    """Return what is no longer the sequence that a layer gave: one step of it, or one step repeated."""
    return Data(traced(data.origins, ("cut", place)), data.passed, grown=data.grown)


def through(data: Data) -> Data:
    """Return the descent after an operation that mixes the features."""
    return Data(data.origins, data.passed, grown=data.grown)


def leaves(value: Abstract, depth: int = 5) -> Iterator[Abstract]:
    """Walk through containers and choices to what they hold."""
    if not isinstance(value, Holder):
        yield value
    elif depth > 1:
        for item in contents(value):
            yield from leaves(item, depth - 1)


def emissions(value: Abstract) -> set[int]:
    """Return the events whose states are somewhere in the value."""
    return {leaf.event for leaf in leaves(value) if isinstance(leaf, Emitted)}


def index_of(key: object) -> object:
    """Return the number that a key stands for on its pass of a loop; other keys as they are."""
    return key.turn + key.offset if isinstance(key, LoopIndex) else key
