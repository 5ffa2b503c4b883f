"""What a variable may hold, as far as states are concerned.

All values are frozen and compared by content. `Data` is everything else: a tensor of which only its descent is
known.
"""

from collections.abc import Iterable, Iterator
from typing import Union

import msgspec

Key = tuple[object, ...]
"""Identity of a layer: the place of its constructor and the loop passes and calls that led there."""
Path = tuple[object, ...]
"""Where in a structure of states: indices, keys, attribute names."""

MOST_OPTIONS = 6
MOST_ORIGINS = 40
MOST_ITEMS = 64
MOST_WEIGHT = 1000
"""Values within a value: a structure of more is not followed."""
OVERFLOW = ("more origins than are followed",)


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """What a constructor says of a recurrent layer."""

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
        """How many parts the state has, as the layer takes and gives it; None where unknown."""
        one = {"gru": 1, "simple": 1, "lstm": 2}.get(self.kind or "")
        if one is None:
            return None
        return 2 * one if self.bidirectional and self.framework == "keras" else one


class Data(msgspec.Struct, frozen=True):
    """A tensor or anything else: the independent origins that it descends from and the layer events it went through."""

    origins: frozenset[object] = frozenset()
    passed: frozenset[int] = frozenset()
    last_of: int | None = None
    """The event whose last output this is (`x[:, -1]`): for one-slot layers the same numbers as the state."""
    whole_of: int | None = None
    """The event whose outputs these are, no other layer in between but dropout and the like."""
    grown: bool = False
    """Joined from pieces: a sequence that gets longer, so that nothing needs to be carried."""


class Const(msgspec.Struct, frozen=True):
    """A literal: None, a number, a string, True, False."""

    value: object


class Step(msgspec.Struct, frozen=True):
    """The running number of a loop pass, known only relative to the loop."""

    loop: int
    turn: int
    offset: int = 0


class Emitted(msgspec.Struct, frozen=True):
    """The state that a layer gave back: one slot, or all of it (None)."""

    event: int
    slot: int | None = None
    touched: bool = False
    """Went through dropout, normalisation, a mask: still that layer's state."""


class Incoming(msgspec.Struct, frozen=True):
    """What a parameter or an attribute held when the function began, or a part of it."""

    carrier: str
    path: Path = ()
    start: int = 0
    """Where a slice of it begins: index k of the slice is `path + (start + k,)`."""
    stop: int | None = None
    sliced: bool = False


class Initial(msgspec.Struct, frozen=True):
    """A layer's initial state, or zeros."""

    layer: Key | None = None
    slot: int | None = None


class _Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A value that holds others, and knows how many: they may be shared, so that counting them again takes forever."""

    weight: int = 1

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "weight", 1 + sum(getattr(value, "weight", 1) for value in self._held()))

    def _held(self) -> Iterable["Value"]:
        raise NotImplementedError


class Many(_Holder, frozen=True):
    """A list or tuple; open where a loop may have put in more of the same."""

    items: tuple["Value", ...] = ()
    open: bool = False

    def _held(self) -> Iterable["Value"]:
        return self.items


class Table(_Holder, frozen=True):
    """A dict, or something indexed that was partly overwritten."""

    items: tuple[tuple[object, "Value"], ...] = ()
    base: Union["Value", None] = None

    def _held(self) -> Iterable["Value"]:
        return (*(value for _, value in self.items), *(() if self.base is None else (self.base,)))

    def get(self, key: object) -> Union["Value", None]:
        """Give what was last stored under the key."""
        return next((value for name, value in reversed(self.items) if name == key), None)


class Mixed(_Holder, frozen=True):
    """States concatenated, as for a decoder of twice the width."""

    parts: tuple["Value", ...] = ()

    def _held(self) -> Iterable["Value"]:
        return self.parts


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


class Object(msgspec.Struct, frozen=True):
    """An object of a class of the file."""

    of: str
    key: Key


class Method(msgspec.Struct, frozen=True):
    """An attribute of something that is not followed further: a call of it is judged by the name."""

    owner: "Value"
    name: str


class Choice(_Holder, frozen=True):
    """One of several: where branches meet."""

    options: frozenset["Value"]

    def _held(self) -> Iterable["Value"]:
        return self.options


Value = (
    Data
    | Const
    | Step
    | Emitted
    | Incoming
    | Initial
    | Many
    | Table
    | Mixed
    | Layer
    | Graph
    | Known
    | Local
    | Object
    | Method
    | Choice
)

NOTHING = Data()
NONE = Const(None)


def options(value: Value) -> tuple[Value, ...]:
    """Give every value that this may be."""
    return tuple(value.options) if isinstance(value, Choice) else (value,)


def join(left: Value, right: Value) -> Value:
    """Say what a variable may hold where two branches meet."""
    if left is right or left == right:
        return left
    if isinstance(left, Many) and isinstance(right, Many) and len(left.items) == len(right.items):
        return Many(tuple(map(join, left.items, right.items)), left.open or right.open)
    if type(left) is Data and type(right) is Data:
        return blend((left, right))
    return choice((*options(left), *options(right)))


def choice(found: Iterable[Value]) -> Value:
    """Keep the values apart while they are few; else forget them."""
    kept = frozenset(found)
    if len(kept) == 1:
        return next(iter(kept))
    return Choice(kept) if 0 < len(kept) <= MOST_OPTIONS else Data(frozenset({OVERFLOW}))


def traced(origins: frozenset[object], another: object) -> frozenset[object]:
    """Add an origin to a descent, or forget a descent of too many."""
    return origins | {another} if len(origins) < MOST_ORIGINS else frozenset({OVERFLOW})


def blend(found: Iterable[Data]) -> Data:
    """Unite descents."""
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


def leaves(value: Value, depth: int = 5) -> Iterator[Value]:
    """Walk through containers and choices to what they hold."""
    if depth == 0:
        return
    if isinstance(value, Choice):
        inner: Iterable[Value] = value.options
    elif isinstance(value, Many):
        inner = value.items
    elif isinstance(value, Table):
        inner = (*(item for _, item in value.items), *((value.base,) if value.base is not None else ()))
    elif isinstance(value, Mixed):
        inner = value.parts
    else:
        yield value
        return
    for item in inner:
        yield from leaves(item, depth - 1)


def emissions(value: Value) -> set[int]:
    """Give the events whose states are somewhere in the value."""
    return {leaf.event for leaf in leaves(value) if isinstance(leaf, Emitted)}
