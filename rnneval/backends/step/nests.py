"""States of any library as nests of arrays: their leaves by path, read as NumPy arrays and made again.

A *nest* is an array, or a tuple, list, dict, named tuple or dataclass of nests; None is an empty nest. The library of
an array is never imported here: an array is made again by the module that its own type comes from.
"""

import copy
import dataclasses
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import CheckpointError

_NUMBERS = (bool, int, float, complex, np.generic)
_MAKERS = ("from_numpy", "convert_to_tensor", "asarray", "array")
"""Names of the function that makes an array of a NumPy array, in PyTorch, TensorFlow, the array standard and others."""


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
        return _mapping(nest, dict(zip(_keys(nest), children, strict=True)))
    if dataclasses.is_dataclass(nest):
        made = copy.copy(nest)
        for field, child in zip(dataclasses.fields(nest), children, strict=True):
            object.__setattr__(made, field.name, child)
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


def _mapping(like: Mapping[Any, Any], content: dict[Any, Any]) -> Any:
    if isinstance(like, MutableMapping):
        made = copy.copy(like)  # keeps what a subclass has beside its keys, and their order
        made.update(content)
        return made
    return type(like)(content)  # type: ignore[call-arg]


def is_array(value: Any) -> bool:
    """Return whether a leaf is a number or an array that NumPy can read."""
    return isinstance(value, _NUMBERS) or hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def as_array(value: Any, path: str) -> NDArray[Any]:
    """Read a leaf or logits of any library as a NumPy array of numbers, without a copy where there need be none.

    A tensor of PyTorch is detached from its graph. Types that NumPy lacks, such as bfloat16, become float32.

    Raises:
        CheckpointError: it is on another device, or holds no numbers.
    """
    if hasattr(value, "detach"):
        value = value.detach()
    try:
        array = np.asarray(value) if hasattr(value, "__array__") or isinstance(value, _NUMBERS) else _shared(value)
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


def _shared(value: Any) -> NDArray[Any]:
    found: NDArray[Any] = np.from_dlpack(value)
    return found


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def made_like(array: NDArray[Any], like: Any) -> Any:
    """Return an array as the library and type of another leaf: a tensor of PyTorch for a tensor of PyTorch.

    Raises:
        CheckpointError: its library has no known function that makes an array.
    """
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
    return [leaf.path for leaf in leaves if not is_array(leaf.value)]
