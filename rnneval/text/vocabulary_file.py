"""Vocabulary files, identified by their content. Pickles are never opened: they run code."""

import io
import json
import math
import os
import re
import shlex
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnneval.errors import VocabularyError, named_in_message
from rnneval.records.paths import open_regular
from rnneval.text.subword import HuggingFace, SentencePiece, Subword, is_huggingface, is_sentencepiece

PICKLES = (".pkl", ".pickle", ".p")
_LARGEST = 1 << 26
"""Bytes; no vocabulary is larger."""
MOST_TOKENS = 1 << 20
_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t"}


@dataclass(frozen=True, kw_only=True)
class Content:
    """Content of a vocabulary file."""

    tokens: object
    """A list in the order of ids, or a map."""
    kind: str | None = None
    """`char`, `word` or `subword` if the file says so."""
    subword: Subword | None = None
    """The tokenizer, if a text is split by more than a list of tokens."""


def read(path: str | os.PathLike[str]) -> Content:
    """Read a vocabulary file."""
    name = os.fspath(path)
    raw = _bytes(name)
    if raw.startswith(b"\x93NUMPY"):
        return Content(tokens=_array(raw, name))
    if is_sentencepiece(raw):
        model = SentencePiece(raw, name)
        return Content(tokens=model.tokens, kind="subword", subword=model)
    # A pickle of protocol 2 and later has a mark, an older one only its ending.
    if (raw[0] == 0x80 and len(raw) > 2 and raw[1] <= 5 and raw.endswith(b".")) or Path(name).suffix in PICKLES:
        raise VocabularyError(_about_pickle(name, "is a pickle", "pickle.load(open({path!r}, 'rb'))"), rule="pickle")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"{name}: not UTF-8: byte 0x{raw[error.start]:02X} at offset {error.start:,}: "
            "a vocabulary is JSON or one token a line, in UTF-8"
        ) from error
    plain = _json(text, name)
    return Content(tokens=_lines(text, name)) if plain is None else _content(plain, name)


def _bytes(name: str) -> bytes:
    try:
        with open_regular(name) as file:
            raw = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        place = named_in_message(name)
        raise VocabularyError(f"{place}: cannot be read: {why}: give a vocabulary file or --vocab-from TEXT") from error
    if not raw or len(raw) > _LARGEST:
        size = "is empty" if not raw else f"is larger than {_LARGEST:,} bytes"
        raise VocabularyError(f"{name}: {size}: a vocabulary is a JSON map or list, or one token a line")
    if raw.startswith(b"version https://git-lfs"):
        raise VocabularyError(f"{name}: is a Git LFS pointer, not the vocabulary itself: fetch it with git lfs pull")
    return raw


def _about_pickle(name: str, what: str, load: str) -> str:
    target = str(Path(name).with_suffix(".json"))
    code = (
        f"import json, numpy, pickle; v = {load.format(path=name)}; v = getattr(v, 'word_index', v); "
        f"v = v.tolist() if hasattr(v, 'tolist') else v; "
        f"json.dump(v if isinstance(v, dict) else list(v), open({target!r}, 'w'), default=int)"
    )
    advice = f"if you trust it, turn it into JSON: python -c {shlex.quote(code)}"
    return f"{name}: refused by rule pickle: {what}, which runs code when opened: {advice}"


def _array(raw: bytes, name: str) -> list[str]:
    try:
        with warnings.catch_warnings(action="error"):
            _require_held(raw, name)
            found = np.load(io.BytesIO(raw), allow_pickle=False)
    except VocabularyError:
        raise
    except Exception as error:  # a damaged header is read as Python's literals: many kinds of errors come of it
        if "pickle" in str(error).lower():
            said = _about_pickle(name, "is an array of objects, a pickle", "numpy.load({path!r}, allow_pickle=True)")
            raise VocabularyError(said, rule="pickle") from error
        why = " ".join(str(error).split()) or type(error).__name__
        raise VocabularyError(f"{name}: not a whole .npy file: {why}: save it again") from error
    if found.dtype.kind != "U" or found.ndim != 1:
        raise VocabularyError(
            f"{name}: holds an array of {found.dtype} of shape {found.shape}: a vocabulary is one row of strings in "
            "the order of their ids"
        )
    codes = np.frombuffer(found.tobytes(), np.dtype(np.uint32).newbyteorder(found.dtype.byteorder))
    if len(codes) and codes.max() > sys.maxunicode:
        raise VocabularyError(f"{name}: holds {codes.max():#x}, which is no character: a damaged file, save it again")
    tokens: list[str] = found.tolist()
    return tokens


def _require_held(raw: bytes, name: str) -> None:
    """Refuse an array that declares more than the file holds: NumPy would take the memory first."""
    file = io.BytesIO(raw)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read_header(file)
    declared = math.prod(shape) * kind.itemsize
    if not kind.hasobject and declared > len(raw):
        raise VocabularyError(
            f"{name}: refused by rule vocabulary-array: declares {declared:,} bytes and holds {len(raw):,}: "
            "save it again",
            rule="vocabulary-array",
        )
    _require_few("tokens", math.prod(shape), MOST_TOKENS, name)


def _require_few(what: str, seen: int, allowed: int, name: str) -> None:
    if seen > allowed:
        raise VocabularyError(
            f"{name}: {seen:,} {what}, a vocabulary has at most {allowed:,}: give the one of the model"
        )


def _json(text: str, name: str) -> Any:
    """Return a JSON map or list, or None if the file has one token a line."""
    if Path(name).suffix != ".json" and not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        _require_few("lists and objects", text.count("[") + text.count("{"), 1 << 21, name)
        _require_few("quotation marks", text.count('"'), 1 << 23, name)
        plain = _parsed(text, name)
        if isinstance(plain, str):  # json.dump(tokenizer.to_json()): JSON within JSON
            plain = _parsed(plain, name)
    except _NotJsonError:
        if Path(name).suffix != ".json":
            return None
        raise
    return plain if isinstance(plain, dict | list) or Path(name).suffix == ".json" else None


class _NotJsonError(VocabularyError):
    """A file that should be JSON is not."""


def _parsed(text: str, name: str) -> Any:
    def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Refuse a duplicate key, which JSON allows."""
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise VocabularyError(f"{name}: {key!r} comes twice: tokens and ids must be one-to-one")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=read_object)
    except (ValueError, RecursionError) as error:
        raise _NotJsonError(f"{name}: not whole JSON ({error}): a vocabulary is a JSON map or list") from error


def _content(plain: Any, name: str) -> Content:
    """Return the tokens of a JSON value: a keras Tokenizer has them in its config, as JSON in JSON."""
    if not isinstance(plain, dict | list):
        raise VocabularyError(f"{name}: holds a JSON {type(plain).__name__}: a vocabulary is a map or a list")
    if isinstance(plain, dict) and plain.get("class_name") == "Tokenizer":
        config = plain.get("config")
        index = config.get("word_index") if isinstance(config, dict) else None
        if not isinstance(config, dict) or not isinstance(index, str):
            raise VocabularyError(f"{name}: is a keras Tokenizer without word_index: give token → id as a JSON map")
        return Content(tokens=_parsed(index, name), kind="char" if config.get("char_level") else "word")
    if is_huggingface(plain):
        tokenizer = HuggingFace(plain, name)
        return Content(tokens=tokenizer.tokens, kind="subword", subword=tokenizer)
    return Content(tokens=plain)


def _lines(text: str, name: str) -> list[str]:
    r"""Split one token a line; a line feed stands there as itself (two empty lines) or as \n."""
    _require_few("lines", text.count("\n"), MOST_TOKENS, name)
    lines = re.split("\r?\n", text)
    if lines[-1] == "":
        lines.pop()
    tokens: list[str] = []
    numbered = iter(enumerate(lines, start=1))
    for number, line in numbered:
        if line == "" and next(numbered, (0, "no line"))[1] != "":
            raise VocabularyError(f"{name}: line {number} is empty: one token a line; a line feed is written \\n")
        tokens.append(line or "\n")
    # Only where all other tokens are single characters is \n an escape; a list of words may mean it as it is.
    if any(len(token) > 1 and token not in _ESCAPES and not token.startswith(("<", "[")) for token in tokens):
        return tokens
    return [_ESCAPES.get(token, token) for token in tokens]
