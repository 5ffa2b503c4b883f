"""The configuration of a full model: measured, then parsed as JSON, then checked against the rules.

It may name the classes and functions of Keras that `classes.toml` lists.
"""

import json
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rnneval.checkpoints.rules import Faults, refused, require_none
from rnneval.paths import unique_keys

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]|,', re.DOTALL)
_MAX_BYTES, _MAX_DEPTH, _MAX_VALUES = 1 << 24, 100, 1_000_000  # of the JSON text; counting ends above one of them
_RUNS_CODE = {"Lambda", "LambdaLayer", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_PATH = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\)[^\s]|://|(^|[/\\])\.\.([/\\]|$)")
_FILES = {"vocabulary", "idf_weights", "filepath", "file_path", "filename", "fname", "origin", "url", "path"}
_NO_SIZES = {"seed", "shared_object_id", "max_tokens", "max_value", "mask_value", "input_length", "vocabulary"}
_LISTS = {"layers", "config", "cells"}  # of layers
_LARGEST, _MAX_LAYERS = 1 << 20, 350  # numbers, and layers of all models; Keras limits the sum of the weights itself
_DTYPES = {
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16", "string",
}  # fmt: skip
_LISTED = tomllib.loads(Path(__file__).with_name("classes.toml").read_text("utf-8"))
_GRAPHS = frozenset(("Functional", "Model", "Sequential"))
ACTIVATIONS = frozenset(_LISTED.pop("activations").split())
_CLASSES = _GRAPHS.union(*(names.split() for names in _LISTED.values()))
_HOMES = re.compile(r"(builtins|keras(\.\w+)*)?")  # modules in which the names of the lists are Keras' own


class ClassReference(NamedTuple):
    """Class or function that a configuration asks for."""

    module: str
    name: str
    registered: str
    is_function: bool = False

    def is_listed(self) -> bool:
        """Return whether it is on the list of Keras' own, and not another class under its registered name."""
        own = self.registered in {"", self.name} or {self.registered, self.name} <= _GRAPHS
        names = ACTIVATIONS if self.is_function else _CLASSES
        return own and self.name in names and _HOMES.fullmatch(self.module) is not None


def checked_config(
    path: Path, text: bytes, *, version: str, shapes: Collection[tuple[int, ...]], custom: Collection[str] | None
) -> dict[str, Any]:
    """Parse the configuration of a full model and check it against the rules; `shapes` are those of the weights.

    A configuration of Keras 2 is returned as it is: each layer is rewritten before Keras makes anything of it.
    """
    require_none(path, _size_faults(text))
    try:
        config = _parsed(text)
    except (ValueError, TypeError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise refused("config-json", path, f"its configuration is not JSON ({why})") from error
    items = list(_items(config))
    references = [each for _, item in items if isinstance(item, dict) for each in _references(item)]
    require_none(path, _code_faults(references, custom))
    if custom is not None and not is_keras2(version):
        require_none(path, _name_faults(references, items, custom))
    require_none(path, _allocation_faults(items, shapes))
    return config


def _size_faults(text: bytes) -> Faults:
    """Count what parsing would have to build, without building it."""
    if len(text) > _MAX_BYTES:
        yield "config-size", f"its configuration has {len(text):,} bytes; up to {_MAX_BYTES:,} are read"
    depth = 0
    for values, token in enumerate(_TOKEN.finditer(text), 1):
        first = text[token.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth > _MAX_DEPTH:
            yield "config-size", f"its configuration is nested more than {_MAX_DEPTH} deep"
        if values > _MAX_VALUES:
            yield "config-size", f"its configuration has more than {_MAX_VALUES:,} values"


def is_keras2(version: str) -> bool:
    """Return whether a version is one of Keras 2 or 1; very old files have none."""
    return version.startswith(("0.", "1.", "2.")) or not version


def _parsed(text: bytes) -> dict[str, Any]:
    """Parse a configuration, without losses, metrics and optimizers, which evaluation does not need."""

    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = unique_keys(pairs)
        if "class_name" in made:
            made.pop("compile_config", None)
        return made

    found = json.loads(text, object_pairs_hook=read_object)
    if not isinstance(found, dict):
        raise TypeError(f"it is a {type(found).__name__}")
    return found


def _items(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield every value with its key, or that of the list around it, without recursion."""
    stack: list[tuple[str, Any]] = [("", config)]
    while stack:
        key, item = stack.pop()
        yield key, item
        if isinstance(item, dict):
            stack.extend(item.items())
        elif isinstance(item, list) and key != "vocabulary":
            stack.extend((key, part) for part in item)


def _references(item: dict[str, Any]) -> Iterator[ClassReference]:
    name, inner = item.get("class_name"), item.get("config")
    module, registered = _word(item.get("module")), _word(item.get("registered_name"))
    if name == "function":
        yield ClassReference(module, str(inner)[:200], registered, is_function=True)
    elif isinstance(name, str):
        kind = str(inner.get("dtype"))[:40] if isinstance(inner, dict) else ""
        if name in {"__numpy__", "__tensor__"} and kind not in _DTYPES:
            name = f"{name} of {kind}"  # a type with a length would be allocated
        yield ClassReference(module, name, registered)


def _word(value: Any) -> str:
    """Return a name; for a value of another type, a name that no list has."""
    return "" if value is None else value if isinstance(value, str) else f"a {type(value).__name__}"


def _code_faults(items: list[ClassReference], custom: Collection[str] | None) -> Faults:
    """Yield layers that run code: the name of the class decides, whatever module it claims to be from."""
    for each in items:
        if each.name.rpartition(">")[2] in _RUNS_CODE and each.name not in (custom or ()):
            yield "config-code", f"holds a {each.name} layer, which runs code out of the file"


def _name_faults(requests: list[ClassReference], items: list[tuple[str, Any]], custom: Collection[str]) -> Faults:
    """Yield classes and functions that are neither listed nor the user's own; `custom` has the names of those."""
    for each in requests:
        if {each.name, each.registered} & {*custom} or each.is_listed():
            continue
        if each.is_function:
            yield "config-function", f"asks for the function {each.module or 'builtins'}.{each.name}"
        where = f"{each.module}.{each.name}" if each.module else each.name
        alias = f" registered as {each.registered}" if each.registered not in {"", each.name} else ""
        yield "config-class", f"asks for {where}{alias}, which is not on the list of Keras' own classes"
    for key, word in items:  # a function may also be a plain word, where an activation is expected
        if isinstance(word, str) and key.endswith("activation") and word not in {*custom, *ACTIVATIONS}:
            yield "config-function", f"asks for the function {word} as {key}"


def _allocation_faults(items: list[tuple[str, Any]], shapes: Collection[tuple[int, ...]]) -> Faults:
    """Yield paths that Keras would open, and sizes that no weight accounts for."""
    for key, item in items:
        if isinstance(item, str) and (key in _FILES or _PATH.search(item)):
            yield "config-path", f"its setting {key} is {item[:60]!r}: a file or an address"
    stored = max((size for shape in shapes for size in shape), default=0)
    numbers = ((item, key) for key, item in items if isinstance(item, int) and key not in _NO_SIZES)
    size, key = max(numbers, default=(0, ""))
    if size > max(_LARGEST, stored):
        seen = f"its configuration asks for {key}={size:,}, but its largest weight has {stored:,} rows"
        yield "config-allocation", seen
    layers = sum(len(item) for key, item in items if key in _LISTS and isinstance(item, list))
    if layers > _MAX_LAYERS:
        yield "config-allocation", f"it has {layers:,} layers; up to {_MAX_LAYERS} are built"
