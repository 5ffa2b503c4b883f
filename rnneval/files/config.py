"""The configuration of a full model: measured, then parsed as JSON, then checked against the rules."""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnneval.files.rules import require_allowed

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]|,', re.DOTALL)
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 1 << 24, 100, 1_000_000
"""The most that the rule config-size allows of the JSON text; counting ends above one of them."""
_SIZED = ("units", "filters")
_DTYPES = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16", "string",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measures of a configuration before it is parsed."""

    size: int
    depth: int = 0
    values: int = 0
    """Counting stops when depth or values are too many."""
    problem: str = ""
    """The reason why it is not a JSON object; known once the measures are allowed."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Class or function that a configuration asks for."""

    module: str
    name: str
    registered: str
    is_function: bool = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a configuration asks for."""

    classes: tuple[Asked, ...]
    words: tuple[tuple[str, str], ...]
    """Every text with its key, except the tokens of a vocabulary."""
    numbers: tuple[tuple[str, int], ...]
    """Every whole number with its key."""
    layers: tuple[tuple[str, int], ...]
    """The class of every model, also of models inside of others, and its number of layers."""
    sized_layers: int
    """Entries with units or filters, each of which has at least one weight."""
    custom: Collection[str] | None
    """Names of classes and functions that the user's own code brings; None if it is not imported yet."""
    keras2: bool
    largest_stored: int
    """The largest dimension of a stored weight."""
    stored_weights: int


def is_keras2(version: str) -> bool:
    """Return whether a version is one of Keras 2 or 1; very old files have none."""
    return version.startswith(("0.", "1.", "2.")) or not version


def measured(text: bytes) -> Measures:
    """Count what parsing would have to build, without building it.

    Example:
        >>> measured(b'{"a": [1, 2, {"b": "]]]"}]}').depth
        3
    """
    if len(text) > MAX_BYTES:
        return Measures(size=len(text))
    depth = deepest = values = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
        values += 1
        if values > MAX_VALUES or deepest > MAX_DEPTH:
            break
    return Measures(size=len(text), depth=deepest, values=values)


def parsed(text: bytes) -> tuple[dict[str, Any], str]:
    """Parse a configuration that is not too large; return the object, and what is wrong with it or "".

    Losses, metrics and optimizers are dropped: they have no part in evaluation, and may name classes of the author's
    own.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, TypeError, RecursionError) as error:
        return {}, " ".join(str(error).split())[:200]
    if not isinstance(found, dict):
        return {}, f"it is a {type(found).__name__}"
    return found, ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    if "class_name" in found:
        found.pop("compile_config", None)
    return found


def asked_for(
    config: dict[str, Any], *, custom: Collection[str] | None, keras2: bool, shapes: Collection[tuple[int, ...]]
) -> Config:
    """Gather everything that a configuration asks for, at any depth; `shapes` are those of the weights."""
    items = list(_items(config))
    return Config(
        classes=tuple(asked for _, item in items if isinstance(item, dict) for asked in _asked(item)),
        words=tuple((key, item) for key, item in items if isinstance(item, str)),
        numbers=tuple((key, item) for key, item in items if isinstance(item, int) and not isinstance(item, bool)),
        layers=tuple(counted for _, item in items if isinstance(item, dict) for counted in _layers(item)),
        sized_layers=sum(isinstance(item, dict) and any(key in item for key in _SIZED) for _, item in items),
        custom=custom,
        keras2=keras2,
        largest_stored=max((size for shape in shapes for size in shape), default=0),
        stored_weights=len(shapes),
    )


def _items(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value with its key, or that of the list around it, without recursion."""
    stack: list[tuple[str, Any]] = [("", config)]
    while stack:
        key, item = stack.pop()
        yield key, item
        if isinstance(item, dict):
            stack.extend(item.items())
        elif isinstance(item, list) and key in {"batch_shape", "batch_input_shape"} and item:
            stack.append(("batch size", item[0]))
            stack.extend((key, part) for part in item[1:])
        elif isinstance(item, list) and key != "vocabulary":
            stack.extend((key, part) for part in item)


def _asked(item: dict[str, Any]) -> Iterator[Asked]:
    name, inner = item.get("class_name"), item.get("config")
    if not isinstance(name, str):
        return
    module, registered = _word(item.get("module")), _word(item.get("registered_name"))
    if name == "function":
        yield Asked(module=module, name=str(inner)[:200], registered=registered, is_function=True)
        return
    if name in {"__numpy__", "__tensor__"} and isinstance(inner, dict) and str(inner.get("dtype")) not in _DTYPES:
        name = f"{name} of {str(inner.get('dtype'))[:40]}"  # a type with a length would be allocated
    yield Asked(module=module, name=name, registered=registered)


def _layers(item: dict[str, Any]) -> Iterator[tuple[str, int]]:
    inner = item.get("config")
    held = inner.get("layers") if isinstance(inner, dict) else inner
    if isinstance(held, list):
        yield _word(item.get("class_name")), len(held)


def _word(value: Any) -> str:
    """Return a name; for a value of another type, a name that no list has."""
    return "" if value is None else value if isinstance(value, str) else f"a {type(value).__name__}"


def checked_config(
    path: Path, text: bytes, *, version: str, shapes: Collection[tuple[int, ...]], custom: Collection[str] | None
) -> dict[str, Any]:
    """Parse the configuration of a full model and check it against the rules.

    A configuration of Keras 2 is returned as it is: each layer is rewritten before Keras makes anything of it.

    Args:
        path: The file, for messages.
        text: The configuration as it is stored.
        version: The version of Keras that wrote it.
        shapes: The shapes of the weights in the file.
        custom: Names of classes and functions that the user's own code brings; None if it is not imported yet.

    Raises:
        CheckpointError: it breaks a rule.
    """
    measures = measured(text)
    require_allowed("config-text", measures, path)
    config, problem = parsed(text)
    require_allowed("config-text", replace(measures, problem=problem), path)
    require_allowed("config", asked_for(config, custom=custom, keras2=is_keras2(version), shapes=shapes), path)
    return config


def as_bytes(value: Any) -> bytes:
    """Return the bytes of a configuration that is stored as bytes or text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", errors="surrogatepass")
