"""States of any library as nests of arrays, and what carries them from call to call: a vector for each row.

A *nest* is an array or a number, or holds nests: a tuple, list, deque, dict, named tuple, dataclass, or another object
with attributes that hold arrays. None holds nothing, and an attribute without arrays stays as it is. No library is
imported here: an array is made again by the module that its own type comes from.
"""

import copy
import dataclasses
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from types import ModuleType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError, in_one_line
from rnneval.models.protocol import Vectors

_NUMBERS = (bool, int, float, complex, np.generic)
_MAKERS = ("from_numpy", "convert_to_tensor", "asarray", "array")
"""Names of the function that makes an array of a NumPy array, in PyTorch, TensorFlow, the array standard and others."""
_SEQUENCES = (tuple, list, deque)  # containers whose items are known by their numbers
_LARGEST_EXACT = 2**53  # whole numbers up to here are exact in float64

# Nests


def is_array(value: Any) -> bool:
    """Return whether NumPy may read a value: an array of any library, or a number."""
    return isinstance(value, _NUMBERS) or hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def leaves_of(nest: Any) -> dict[str, Any]:
    """Return the leaves of a nest by path, in a fixed order; a nest with a leaf that is no array is not packed."""
    leaves: dict[str, Any] = {}
    _walk(nest, leaves.__setitem__, lambda *_: None)
    return leaves


def form_of(nest: Any) -> str:
    """Return the containers of a nest as text, with `*` for each leaf: `tuple([0]: *, [1]: None)`."""

    def joined(container: Any, children: Mapping[str, str]) -> str:
        inside = ", ".join(f"{step}: {form}" for step, form in children.items())
        return "None" if container is None else f"{type(container).__name__}({inside})"

    form: str = _walk(nest, lambda *_: "*", joined)
    return form


def filled(nest: Any, leaves: Iterator[Any]) -> Any:
    """Return a nest of the same form with other leaves, in the order of `leaves_of`."""
    return _walk(nest, lambda *_: next(leaves), _rebuilt)


def _walk(
    nest: Any,
    leaf: Callable[[str, Any], Any],
    join: Callable[[Any, dict[str, Any]], Any],
    path: str = "state",
    above: frozenset[int] = frozenset(),
) -> Any:
    """Make something of each leaf, given its path, and of each container, given what was made of its children."""
    children = _children(nest)
    if children is None:
        return leaf(path, nest)
    if id(nest) in above:
        raise CheckpointError(f"{path} is an object that holds itself: let the state be a tree of arrays")
    above |= {id(nest)}
    return join(nest, {step: _walk(child, leaf, join, path + step, above) for step, child in children.items()})


def _children(nest: Any) -> dict[str, Any] | None:
    """Return a nest's children by their steps of the path; None for a leaf, as is an object without arrays."""
    if nest is None:
        return {}
    if is_array(nest):
        return None
    if isinstance(nest, Mapping):
        return {f"[{key!r}]": nest[key] for key in _keys(nest)}
    if isinstance(nest, _SEQUENCES):
        names = [f".{name}" for name in getattr(nest, "_fields", ())] or [f"[{index}]" for index in range(len(nest))]
        return dict(zip(names, nest, strict=True))
    return {f".{name}": value for name, value in _attributes(nest).items() if _holds_arrays(value)} or None


def _rebuilt(container: Any, children: dict[str, Any]) -> Any:
    """Return a copy of a container with other children."""
    new = [*children.values()]
    if isinstance(container, tuple):
        return type(container)(*new) if hasattr(container, "_fields") else type(container)(new)
    if isinstance(container, Mapping) and not isinstance(container, MutableMapping):
        return type(container)(dict(zip(_keys(container), new, strict=True)))  # type: ignore[call-arg]
    twin = copy.copy(container)  # keeps what a subclass has beside its keys, and their order
    if isinstance(twin, (list, deque)):
        twin.clear()
        twin.extend(new)
        return twin
    if isinstance(twin, MutableMapping):
        twin.update(zip(_keys(container), new, strict=True))
        return twin
    for step, child in children.items():
        object.__setattr__(twin, step[1:], child)
    return twin


def _keys(mapping: Mapping[Any, Any]) -> list[Any]:
    return sorted(mapping, key=repr)  # the order of insertion may differ from call to call


def _attributes(value: Any) -> Mapping[str, Any]:
    """Return the attributes of an object that may be part of a state: of no class, function, module or layer."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {member.name: getattr(value, member.name) for member in dataclasses.fields(value)}
    return {} if callable(value) or isinstance(value, ModuleType) else getattr(value, "__dict__", {})


def _holds_arrays(value: Any, above: frozenset[int] = frozenset()) -> bool:
    """Return whether a value is an array or holds one; objects without arrays may refer to those above them."""
    if is_array(value):
        return True
    if id(value) in above:
        return False
    members = value if isinstance(value, (*_SEQUENCES, Mapping)) else _attributes(value)
    inside = members.values() if isinstance(members, Mapping) else members
    return any(_holds_arrays(child, above | {id(value)}) for child in inside)


# Arrays of other libraries


def as_array(value: Any, path: str) -> NDArray[Any]:
    """Read a leaf or logits of any library as a NumPy array; types that NumPy lacks, as bfloat16, become float32."""
    try:
        if hasattr(value, "detach"):  # a tensor of PyTorch, whose bfloat16 and conjugate views NumPy cannot read
            value = value.detach().resolve_conj().resolve_neg()
            value = value.float() if "bfloat16" in str(value.dtype) else value
        is_plain = hasattr(value, "__array__") or isinstance(value, _NUMBERS)
        array: NDArray[Any] = np.asarray(value) if is_plain else np.from_dlpack(value)
        # The types of ml_dtypes become float32.
        return array if array.dtype.kind in "biufc" else array.astype(np.float32)
    except (AttributeError, TypeError, RuntimeError, BufferError, ValueError) as error:
        why, kind = in_one_line(error), f"{type(value).__module__}.{type(value).__qualname__}"
        raise CheckpointError(f"{path} is a {kind}: arrays of numbers on the CPU are needed ({why})") from error


def made_like(array: NDArray[Any], like: Any) -> Any:
    """Return an array as the library and type of another leaf: a tensor of PyTorch for a tensor of PyTorch."""
    if isinstance(like, np.ndarray):
        return array.astype(like.dtype, copy=False)
    if isinstance(like, _NUMBERS):
        return type(like)(array.item())
    if hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().asarray(array, dtype=like.dtype)
    library = sys.modules[type(like).__module__.partition(".")[0]]
    makers = [getattr(library, name) for name in _MAKERS if hasattr(library, name)]
    if not makers:
        seen = f"{library.__name__} has no function that makes a {type(like).__name__} of a NumPy array"
        raise CheckpointError(f"{seen}: let the state be arrays of NumPy, PyTorch, JAX or TensorFlow")
    new = makers[0](np.asarray(array, order="C"))  # `ascontiguousarray` would give a counter without axes one
    return new.to(device=like.device, dtype=like.dtype) if hasattr(new, "to") else new


# Carrying


@dataclass(frozen=True, kw_only=True, eq=False)
class StateLeaf:
    """One array or number of a state."""

    path: str
    like: Any = field(repr=False)  # as the model returned it; its library and type are used again
    dtype: np.dtype[Any]
    axis: int | None  # the batch axis; None for a value that all rows of a call share
    shape: tuple[int, ...]  # of one row; of a memory its last entry; without a batch axis the whole array
    # A counter counts tokens or calls, and changes no prediction. A constant never changes, and is not packed. A memory
    # grows with the text, as an attention cache does: a state that has one is not packed.
    kind: Literal["state", "counter", "constant", "memory"] = "state"
    growth: int = 0  # bytes by which a memory grows for each token of a row
    along: int | None = None  # the axis along which it grows, if it is one

    @property
    def itemsize(self) -> int:
        """Bytes of one of its numbers in the model's own type, which NumPy may lack."""
        return int(getattr(self.like, "itemsize", self.dtype.itemsize))

    @property
    def size(self) -> int:
        """Count of real numbers in one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * (2 if self.dtype.kind == "c" else 1)

    def packed(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array as real numbers, `(rows, size)`; `(1, size)` where rows share it."""
        rows_first = array[None] if self.axis is None else np.moveaxis(array, self.axis, 0)
        flat = np.asarray(rows_first, order="C").reshape(len(rows_first), -1)
        if flat.dtype.kind in "iu" and np.abs(flat.astype(np.float64)).max(initial=0) > _LARGEST_EXACT:
            raise CheckpointError(f"{self.path} holds whole numbers beyond ±2⁵³, which cannot be carried: use int32")
        return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat

    def unpacked(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return columns `(rows, size)` as an array of the leaf's shape and type; it shares no memory with them."""
        if self.dtype.kind == "c":
            numbers: NDArray[Any] = np.array(columns, self.dtype.type().real.dtype, order="C").view(self.dtype)
        else:
            numbers = (np.rint(columns) if self.dtype.kind in "iub" else columns).astype(self.dtype)
        if self.axis is None:
            shared: NDArray[Any] = numbers[0].reshape(self.shape)
            return shared
        return np.asarray(np.moveaxis(numbers.reshape(len(numbers), *self.shape), 0, self.axis), order="C")


class StartMark(IntEnum):
    """The last number of a vector that cannot show the initial state otherwise."""

    INITIAL = 0  # vectors of zeros stand for the initial state
    READ = 1  # the row has read a token


class StateCarrier(ABC):
    """Conversion of the states between calls into vectors, `(rows, D)`, and back; each type of state has one."""

    leaves: tuple[StateLeaf, ...]
    """Arrays of the state, as far as they are known."""
    is_nest: bool
    """Whether the state is a nest whose arrays are all seen by `leaves_of`: the check alters each of them."""

    @property
    def mixable(self) -> bool:
        """True if rows of one call may start at different times."""
        return False

    @property
    def observed_types(self) -> Mapping[StateLeaf, np.dtype[Any]]:
        """Return the type in which each array of the state is observed: its own, or for complex numbers that of |s|."""
        return {leaf: np.zeros(0, leaf.dtype).real.dtype for leaf in self.leaves}

    @abstractmethod
    def start(self) -> Vectors:
        """Return the vector of the initial state, `(D,)`."""

    @abstractmethod
    def pack(self, state: Any, rows: int) -> Vectors:
        """Return the vectors of a state that a call returned."""

    @abstractmethod
    def unpack(self, vectors: Vectors) -> Any:
        """Return the state of vectors that may go into one call."""

    def groups(self, vectors: Vectors) -> list[NDArray[np.intp]]:
        """Return the rows of each call: all of them in one."""
        return [np.arange(len(vectors))]

    def fresh(self) -> Self:
        """Return a carrier for another reading, which shares no state with this one."""
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class Packing(StateCarrier):
    """States whose numbers are the vectors.

    With counters they are records `(rows,)` with the fields `numbers`, `(D,)`, and `counters`, which are carried and
    not compared: two readings of a text agree although they count differently.
    """

    begin: Callable[[int], Any] = field(repr=False)  # makes the initial state of some rows
    example: Any = field(repr=False)  # a state that the model returned
    leaves: tuple[StateLeaf, ...]
    separate: bool = False  # whether the model reads one row at a time
    marks_start: bool = False  # whether the last number is a StartMark, as no vector has the form of the initial state
    is_nest: bool = field(default=True, init=False)

    @property
    def mixable(self) -> bool:
        """True if rows of one call may start at different times."""
        return not self.separate

    @cached_property
    def columns(self) -> Mapping[StateLeaf, slice]:
        """The columns of each leaf among the numbers, or among the counters."""
        ends, columns = {"state": 0, "counter": 0}, {}
        for leaf in self.leaves:
            if leaf.kind != "constant":
                columns[leaf] = slice(ends[leaf.kind], ends[leaf.kind] + leaf.size)
                ends[leaf.kind] += leaf.size
        return columns

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The type of a packed row: its numbers are float64 where a leaf is not exact in float32."""
        sizes = {kind: sum(leaf.size for leaf in self.leaves if leaf.kind == kind) for kind in ("state", "counter")}
        exact = ("float16", "float32", "complex64", "bool")
        wide = any(leaf.dtype.name not in exact for leaf in self.leaves if leaf.kind == "state")
        numbers = ("numbers", np.float64 if wide else np.float32, (sizes["state"] + self.marks_start,))
        return np.dtype([numbers, ("counters", np.int64, (sizes["counter"],))])

    @property
    def observed_types(self) -> Mapping[StateLeaf, np.dtype[Any]]:
        """Return the type of all packed numbers, for each array."""
        return dict.fromkeys(self.leaves, self.dtype["numbers"].base)

    def start(self) -> Vectors:
        """Return the vector of the initial state; zeros, the last of them its mark, where it has no other."""
        if not self.marks_start:
            packed: Vectors = self.pack(self.begin(1), 1)[0]
            return packed
        row: Vectors = _as_vectors(np.zeros(1, self.dtype))[0]  # the last number is StartMark.INITIAL
        return row

    def pack(self, state: Any, rows: int) -> Vectors:
        """Pack a state; refuse another form than in the first calls, or other shapes."""
        first, form = form_of(self.example), form_of(state)
        if form != first:
            raise CheckpointError(f"step returned a state of the form {first}, and now {form}: always give one form")
        packed = np.empty(rows, self.dtype)
        if self.marks_start:
            packed["numbers"][:, -1] = StartMark.READ
        for leaf, value in zip(self.leaves, leaves_of(state).values(), strict=True):
            array = as_array(value, leaf.path)
            wanted = leaf.shape if leaf.axis is None else (*leaf.shape[: leaf.axis], rows, *leaf.shape[leaf.axis :])
            if array.shape != wanted:
                seen = f"step returned {leaf.path} of shape {array.shape}"
                raise CheckpointError(f"{seen}: {wanted} is needed, as before")
            if leaf.kind != "constant":
                _by_kind(packed)[leaf.kind][:, self.columns[leaf]] = leaf.packed(array)
            elif not np.array_equal(array, as_array(leaf.like, leaf.path)):
                raise CheckpointError(f"{leaf.path} has no batch axis, and changes after several calls: give it one")
        return _as_vectors(packed)

    def unpack(self, vectors: Vectors) -> Any:
        """Make a state of packed rows that may go into one call."""
        fields = _by_kind(vectors)
        if self.marks_start and fields["state"][0, -1] == StartMark.INITIAL:
            return self.begin(len(vectors))
        packed = ((leaf, fields[leaf.kind][:, columns]) for leaf, columns in self.columns.items())
        arrays = {leaf: made_like(leaf.unpacked(numbers), leaf.like) for leaf, numbers in packed}
        return filled(self.example, (arrays.get(leaf, leaf.like) for leaf in self.leaves))

    def groups(self, vectors: Vectors) -> list[NDArray[np.intp]]:
        """Return the rows of each call: all of them, unless values that rows share in a call differ."""
        rows, fields = np.arange(len(vectors)), _by_kind(vectors)
        if self.separate:
            return list(rows[:, None])
        shared = [fields[leaf.kind][:, columns] for leaf, columns in self.columns.items() if leaf.axis is None]
        if self.marks_start:
            shared.append(fields["state"][:, -1:])
        if not shared:
            return [rows]
        kinds, of_row = np.unique(np.concatenate(shared, axis=1), axis=0, return_inverse=True)
        return [np.flatnonzero(of_row.reshape(-1) == kind) for kind in range(len(kinds))]


class OpaqueState(StateCarrier):
    """A state that is carried as the model returned it: the last one of a single document.

    A vector holds nothing but the mark, `(1,)`: rows begin together, and one state is kept.
    """

    def __init__(self, begin: Callable[[int], Any], leaves: tuple[StateLeaf, ...] = ()) -> None:
        """Take the function that makes the initial state, and the arrays of a nest."""
        self._begin, self._last = begin, None
        self.is_nest, self.leaves = bool(leaves), leaves

    def start(self) -> Vectors:
        """Return the vector of the initial state."""
        return np.full(1, StartMark.INITIAL, np.float32)

    def pack(self, state: Any, rows: int) -> Vectors:
        """Keep a state, and return the vectors that stand for it."""
        self._last = state
        return np.full((rows, 1), StartMark.READ, np.float32)

    def unpack(self, vectors: Vectors) -> Any:
        """Return the state that was kept, or the initial one."""
        return self._last if (vectors == StartMark.READ).any() else self._begin(len(vectors))

    def fresh(self) -> Self:
        """Return a carrier that keeps no state yet."""
        return type(self)(self._begin, self.leaves)


def _as_vectors(records: Any) -> Vectors:
    """Return packed rows as records where they have counters, else their numbers alone."""
    vectors: Vectors = records if records["counters"].size else records["numbers"]
    return vectors


def numbers_of(packed: Any) -> NDArray[np.floating[Any]]:
    """Return the numbers of packed states, `(…, D)`, which are compared; their counters are left out."""
    numbers: NDArray[np.floating[Any]] = packed["numbers"] if packed.dtype.names else packed
    return numbers


def _by_kind(packed: Any) -> dict[str, NDArray[Any]]:
    """Return the parts of packed rows, by the kind of leaf that they hold."""
    return {"state": numbers_of(packed)} | ({"counter": packed["counters"]} if packed.dtype.names else {})
