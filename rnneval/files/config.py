"""The configuration of a whole saved model: measured, then read as JSON, then held against what it may ask for."""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnneval.files.rules import require_allowed

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]|,', re.DOTALL)
_ENOUGH_VALUES, _ENOUGH_DEPTH = 1_000_001, 101
_SIZED = ("units", "filters")
_NUMBERS = frozenset(
    [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "bfloat16",
        "string",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """The measures of a configuration before it is parsed."""

    size: int
    depth: int = 0
    values: int = 0
    """Both are counted no further than where they are too many."""
    problem: str = ""
    """Why it is no JSON object; known once the measures are allowed."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One class or function that a configuration asks for."""

    module: str
    name: str
    registered: str
    is_function: bool = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a configuration asks for."""

    classes: tuple[Asked, ...]
    words: tuple[tuple[str, str], ...]
    """Every text with its key; the tokens of a vocabulary are none."""
    numbers: tuple[tuple[str, int], ...]
    """Every whole number with its key."""
    layers: tuple[tuple[str, int], ...]
    """The class of every model, those inside of others too, and how many layers it has."""
    sized_layers: int
    """Entries with units or filters, each of which has at least one weight."""
    custom: Collection[str] | None
    """Names of classes and functions that the user's own code brings; None where that has not been imported yet."""
    keras2: bool
    largest_stored: int
    """The largest dimension of a stored weight."""
    stored_weights: int


def is_keras2(version: str) -> bool:
    """Tell whether this version of Keras wrote it: the name alone says nothing, and very old files have none."""
    return version.startswith(("0.", "1.", "2.")) or not version


def measured(text: bytes) -> Text:
    """Count what parsing would have to build, without building it.

    Example:
        >>> measured(b'{"a": [1, 2, {"b": "]]]"}]}').depth
        3
    """
    if len(text) > 1 << 24:
        return Text(size=len(text))
    depth = deepest = values = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif first in b"]}":
            depth -= 1
        values += 1
        if values >= _ENOUGH_VALUES or deepest >= _ENOUGH_DEPTH:
            break
    return Text(size=len(text), depth=deepest, values=values)


def parsed(text: bytes) -> tuple[dict[str, Any], str]:
    """Parse what was measured; give the object and what is wrong with it, or "".

    What training left in it (losses, metrics, optimizers) is dropped: it has no part in evaluation, and may name
    classes of its author's own.
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
    """Gather what a configuration asks for, however deep, without recursion; `shapes` are those of the weights."""
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
    """Every value with the key that it, or the list around it, has."""
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
    if name in {"__numpy__", "__tensor__"} and isinstance(inner, dict) and inner.get("dtype") not in _NUMBERS:
        name = f"{name} of {str(inner.get('dtype'))[:40]}"  # a type with a length would be allocated
    yield Asked(module=module, name=name, registered=registered)


def _layers(item: dict[str, Any]) -> Iterator[tuple[str, int]]:
    inner = item.get("config")
    held = inner.get("layers") if isinstance(inner, dict) else inner
    if isinstance(held, list):
        yield _word(item.get("class_name")), len(held)


def _word(value: Any) -> str:
    """A name; what is none is one that no list has."""
    return "" if value is None else value if isinstance(value, str) else f"a {type(value).__name__}"


def checked_config(
    path: Path, text: bytes, *, version: str, shapes: Collection[tuple[int, ...]], custom: Collection[str] | None
) -> dict[str, Any]:
    """Read the configuration of a whole model and hold it against the rules.

    That of Keras 2 is given as it is: it is rewritten, layer by known layer, before anything is made of it.

    Args:
        path: The file, for messages.
        text: The configuration as it is stored.
        version: Of the Keras that wrote it.
        shapes: Those of the weights in the file.
        custom: Names of classes and functions that the user's own code brings; None where it is not imported yet.

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
    """Give a configuration as it is stored, in bytes."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", errors="surrogatepass")
