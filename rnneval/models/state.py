"""States of any library as nests of arrays, and their packing into one vector per row and back.

A *nest* is an array, or a tuple, list, dict, named tuple or dataclass of nests; None is an empty nest. The library of
an array is never imported here: an array is made again by the module that its own type comes from.
"""

import copy
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError
from rnneval.models.protocol import Vectors

_NUMBERS = (bool, int, float, complex, np.generic)
_MAKERS = ("from_numpy", "convert_to_tensor", "asarray", "array")
"""Names of the function that makes an array of a NumPy array, in PyTorch, TensorFlow, the array standard and others."""
COUNTER_SCALE = 1e-30
"""Scale of counters in a vector: so small that two readings of a text agree although their positions differ.

Floating point keeps every whole number at any scale. The counters are those that were seen to change no prediction.
"""
_MOST = 2**53  # whole numbers up to here are exact in float64


class Leaf(NamedTuple):
    """A leaf of a nest, under its path, such as `state['cache'][0]`."""

    path: str
    value: Any


def leaves_of(nest: Any, path: str = "state") -> list[Leaf]:
    """Return the leaves of a nest in a fixed order.

    Example:
        >>> [leaf.path for leaf in leaves_of({"h": (1.0, 2.0), "c": None})]
        ["state['h'][0]", "state['h'][1]"]
    """
    inner = _children(nest)
    if inner is None:
        return [Leaf(path, nest)]
    return [leaf for step, child in inner for leaf in leaves_of(child, path + step)]


def form_of(nest: Any) -> str:
    """Return the containers of a nest as text, with `*` for each array.

    Example:
        >>> form_of({"h": (1.0, 2.0), "c": None})
        "dict(['c']: None, ['h']: tuple([0]: *, [1]: *))"
    """
    inner = _children(nest)
    if inner is None:
        return "*"
    if nest is None:
        return "None"
    return f"{type(nest).__name__}({', '.join(f'{step}: {form_of(child)}' for step, child in inner)})"


def filled(nest: Any, leaves: Iterator[Any]) -> Any:
    """Return a nest of the same form with other leaves, in the order of `leaves_of`."""
    inner = _children(nest)
    if inner is None:
        return next(leaves)
    children = [filled(child, leaves) for _, child in inner]
    if nest is None:
        return None
    if isinstance(nest, Mapping):
        content = dict(zip(_keys(nest), children, strict=True))
        if not isinstance(nest, MutableMapping):
            return type(nest)(content)  # type: ignore[call-arg]
        mapping = copy.copy(nest)  # keeps what a subclass has beside its keys, and their order
        mapping.update(content)
        return mapping
    if dataclasses.is_dataclass(nest):
        made = copy.copy(nest)
        for member, child in zip(dataclasses.fields(nest), children, strict=True):
            object.__setattr__(made, member.name, child)
        return made
    return type(nest)(*children) if hasattr(nest, "_fields") else type(nest)(children)


def _children(nest: Any) -> list[tuple[str, Any]] | None:
    """Return the steps to a nest's children and the children; None for a leaf."""
    if nest is None:
        return []
    if isinstance(nest, Mapping):
        return [(f"[{key!r}]", nest[key]) for key in _keys(nest)]
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return [(f".{name}", getattr(nest, name)) for name in nest._fields]
    if isinstance(nest, tuple | list):
        return [(f"[{index}]", child) for index, child in enumerate(nest)]
    if dataclasses.is_dataclass(nest) and not isinstance(nest, type):
        return [(f".{field.name}", getattr(nest, field.name)) for field in dataclasses.fields(nest)]
    return None


def _keys(mapping: Mapping[Any, Any]) -> list[Any]:
    return sorted(mapping, key=repr)  # the order of insertion may differ from call to call


def as_array(value: Any, path: str) -> NDArray[Any]:
    """Read a leaf or logits of any library as a NumPy array of numbers, without a copy where there need be none.

    A tensor of PyTorch is detached from its graph. Types that NumPy lacks, such as bfloat16, become float32. Arrays on
    other devices, and values that are no numbers, are refused.
    """
    if hasattr(value, "detach"):
        value = value.detach()
    try:
        is_plain = hasattr(value, "__array__") or isinstance(value, _NUMBERS)
        array: NDArray[Any] = np.asarray(value) if is_plain else np.from_dlpack(value)
    except (TypeError, RuntimeError, BufferError, ValueError) as error:
        if "bfloat16" not in str(getattr(value, "dtype", "")):
            raise CheckpointError(
                f"{path} is a {_kind(value)} that NumPy cannot read ({' '.join(str(error).split())[:200]}): arrays of "
                "numbers on the CPU are allowed"
            ) from error
        array = np.asarray(value.float())
    if array.dtype.kind in "biufc":
        return array
    try:
        return array.astype(np.float32)  # bfloat16 and others of ml_dtypes
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is a {_kind(value)} of type {array.dtype}: numbers are needed") from error


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def made_like(array: NDArray[Any], like: Any) -> Any:
    """Return an array as the library and type of another leaf: a tensor of PyTorch for a tensor of PyTorch."""
    kind = type(like)
    if isinstance(like, np.ndarray):
        return array.astype(like.dtype, copy=False)
    if isinstance(like, _NUMBERS):
        return kind(array.item())
    if hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().asarray(array, dtype=like.dtype)
    library = sys.modules[kind.__module__.partition(".")[0]]
    maker = next((getattr(library, name) for name in _MAKERS if hasattr(library, name)), None)
    if maker is None:
        raise CheckpointError(
            f"{library.__name__} has no function that makes a {_kind(like)} of a NumPy array "
            f"({', '.join(_MAKERS)}): let the state be arrays of NumPy, PyTorch, JAX or TensorFlow"
        )
    made = maker(np.ascontiguousarray(array))
    if hasattr(made, "to"):
        return made.to(device=like.device, dtype=like.dtype)
    return made


def not_arrays(leaves: Sequence[Leaf]) -> list[str]:
    """Return the paths of leaves that NumPy cannot read."""
    return [
        path
        for path, value in leaves
        if not (isinstance(value, _NUMBERS) or hasattr(value, "__array__") or hasattr(value, "__dlpack__"))
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class StateLeaf:
    """One array of the state."""

    path: str
    like: Any = field(repr=False)  # the array as the user's function returned it; its library and type are used again
    dtype: np.dtype[Any]
    axis: int | None  # the batch axis; None for a value that all rows of a call share
    shape: tuple[int, ...]  # shape of one row, without the batch axis; the whole shape where there is none
    counts: bool = False  # whether it counts tokens or calls, and changes no prediction
    constant: bool = False  # whether it has no batch axis and never changes, so that it need not be packed

    @property
    def size(self) -> int:
        """Count of numbers in one row of a vector."""
        return 0 if self.constant else int(np.prod(self.shape, dtype=np.int64)) * (2 if self.dtype.kind == "c" else 1)

    def rows_of(self, array: NDArray[Any], rows: int) -> NDArray[Any]:
        """Return an array as real numbers, `(rows, size)`."""
        rows_first = np.moveaxis(array, self.axis, 0) if self.axis is not None else array[None]
        flat = np.ascontiguousarray(rows_first).reshape(len(rows_first), -1)
        if flat.dtype.kind == "c":
            flat = flat.view(flat.real.dtype)
        elif flat.dtype.kind in "iu" and np.abs(flat.astype(np.float64)).max(initial=0) > _MOST:
            raise CheckpointError(f"{self.path} holds whole numbers beyond ±2⁵³, which cannot be carried: use int32")
        return np.broadcast_to(flat * COUNTER_SCALE if self.counts else flat, (rows, self.size))

    def array_of(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return columns `(rows, size)` as an array of the leaf's shape and type; it shares no memory with them."""
        if self.dtype.kind == "c":
            numbers: NDArray[Any] = np.array(columns, self.dtype.type().real.dtype, order="C").view(self.dtype)
        elif self.counts:
            counted = columns / COUNTER_SCALE
            # The engine adds 1e-6 to a state to see whether that grows. No counter is so large: 1 stands for it.
            numbers = np.rint(np.where(np.abs(counted) < _MOST, counted, 1)).astype(self.dtype)
        else:
            numbers = (np.rint(columns) if self.dtype.kind in "iub" else np.array(columns)).astype(self.dtype)
        if self.axis is None:
            return np.ascontiguousarray(numbers[0]).reshape(self.shape)
        return np.ascontiguousarray(np.moveaxis(numbers.reshape(-1, *self.shape), 0, self.axis))


@dataclass(frozen=True, kw_only=True, eq=False)
class StatePacking:
    """Conversion of states, nests of arrays, into vectors `(rows, D)`, and back."""

    example: Any = field(repr=False)  # a state that the user's function returned
    leaves: tuple[StateLeaf, ...]
    initial: Callable[[int], Any] | None = field(repr=False)
    """Makes the initial state, where it is unlike every state that is returned; it has no vector of its own then."""
    separate: bool = False  # whether the function reads one row at a time

    @property
    def size(self) -> int:
        """D, the count of numbers in one row."""
        return sum(leaf.size for leaf in self.leaves) + (self.initial is not None)

    @property
    def dtype(self) -> Any:
        """The type of the vectors: float64 where a leaf is not exact in float32."""
        exact = ("float16", "float32", "complex64", "bool")
        return np.float32 if all(leaf.dtype.name in exact for leaf in self.leaves) else np.float64

    def pack(self, state: Any, rows: int) -> Vectors:
        """Put a state into vectors `(rows, D)`; refuse another form than in the first calls, or other shapes."""
        if form_of(state) != form_of(self.example):
            raise CheckpointError(
                f"step returned a state of the form {form_of(self.example)} at first, and now {form_of(state)}: every "
                "call must return the same form"
            )
        vectors = np.empty((rows, self.size), self.dtype)
        vectors[:, -1:] = 1  # this is no initial state; else a leaf's
        for leaf, (_, value) in zip(self.leaves, leaves_of(state), strict=True):
            array = as_array(value, leaf.path)
            wanted = leaf.shape if leaf.axis is None else (*leaf.shape[: leaf.axis], rows, *leaf.shape[leaf.axis :])
            if array.shape != wanted:
                raise CheckpointError(
                    f"step returned {leaf.path} of shape {array.shape} for {rows} rows: {wanted} is needed, as in the "
                    "calls before"
                )
            if leaf.constant and not np.array_equal(array, as_array(leaf.like, leaf.path)):
                raise CheckpointError(
                    f"{leaf.path} has no batch axis, and changes after several calls: give it one, so that rows may "
                    "differ"
                )
            if leaf.size:
                vectors[:, self.columns(leaf)] = leaf.rows_of(array, rows)
        return vectors

    def unpack(self, vectors: Vectors) -> Any:
        """Put vectors `(rows, D)` of rows that may go into one call back into a state."""
        if self.initial is not None and vectors[0, -1] < 0.5:
            return self.initial(len(vectors))
        arrays = (
            leaf.like if leaf.constant else made_like(leaf.array_of(vectors[:, self.columns(leaf)]), leaf.like)
            for leaf in self.leaves
        )
        return filled(self.example, arrays)

    def groups(self, vectors: Vectors) -> list[NDArray[np.intp]]:
        """Return the rows of each call: all of them, unless values that rows share in a call differ."""
        rows = np.arange(len(vectors))
        if self.separate:
            return list(rows[:, None])
        if not self._shared.any():
            return [rows]
        kinds, of_row = np.unique(vectors[:, self._shared], axis=0, return_inverse=True)
        return [np.flatnonzero(of_row.reshape(-1) == kind) for kind in range(len(kinds))]

    @cached_property
    def _shared(self) -> NDArray[np.bool_]:
        """The columns `(D,)` of values that all rows of a call share: whether it begins, and arrays without rows."""
        of_leaves = [np.full(leaf.size, leaf.axis is None) for leaf in self.leaves]
        return np.concatenate([*of_leaves, np.full(int(self.initial is not None), True)])

    def columns(self, leaf: StateLeaf) -> slice:
        """Return the columns of a leaf in the vectors."""
        return self._columns[leaf]

    @cached_property
    def _columns(self) -> dict[StateLeaf, slice]:
        ends = np.cumsum([leaf.size for leaf in self.leaves]).tolist()
        return {leaf: slice(end - leaf.size, end) for leaf, end in zip(self.leaves, ends, strict=True)}
