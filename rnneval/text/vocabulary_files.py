"""Vocabulary files: JSON, one token a line, `.npy`, or a tokenizer of word pieces, told by their content.

Pickles are never opened: they run code.
"""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rnneval.errors import VocabularyError, named_in_message
from rnneval.paths import open_regular, reason_of
from rnneval.text.subword import HuggingFace, SentencePiece, Subword, is_huggingface, is_sentencepiece

PICKLES = (".pkl", ".pickle", ".p")
_LARGEST_FILE = 1 << 26
"""Bytes; no vocabulary is larger."""
MOST_TOKENS = 1 << 20
_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t"}
_Content = tuple[object, str | None, Subword | None]
"""Of a file: tokens (a list in the order of ids, or a map), the kind if it says so, the tokenizer if it is one."""


def read(path: str | os.PathLike[str]) -> _Content:
    """Read a vocabulary file."""
    name = os.fspath(path)
    raw = _bytes(name)
    if raw.startswith(b"\x93NUMPY"):
        return _array(name), None, None
    if is_sentencepiece(raw):
        model = SentencePiece(raw, name)
        return model.tokens, "subword", model
    # A pickle of protocol 2 and later has a mark, an older one only its ending.
    if (raw[0] == 0x80 and len(raw) > 2 and raw[1] <= 5 and raw.endswith(b".")) or Path(name).suffix in PICKLES:
        raise about_pickle(name)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VocabularyError(
            f"{name}: not UTF-8: byte 0x{raw[error.start]:02X} at offset {error.start:,}: "
            "a vocabulary is JSON or one token a line, in UTF-8"
        ) from error
    if Path(name).suffix == ".json":
        return of_json(text, name)
    if text.lstrip().startswith(("{", "[", '"')):  # JSON, or tokens such as [UNK]
        with suppress(_NotJsonError):
            return of_json(text, name)
    return _lines(text, name), None, None


def _bytes(name: str) -> bytes:
    try:
        with open_regular(name) as file:
            raw = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        said = f"cannot be read: {reason_of(error)}: give a vocabulary file or --vocab-from TEXT"
        raise VocabularyError(f"{named_in_message(name)}: {said}") from error
    if not raw or len(raw) > _LARGEST_FILE:
        size = "is empty" if not raw else f"is larger than {_LARGEST_FILE:,} bytes"
        raise VocabularyError(f"{name}: {size}: a vocabulary is a JSON map or list, or one token a line")
    if raw.startswith(b"version https://git-lfs"):
        raise VocabularyError(f"{name}: is a Git LFS pointer, not the vocabulary itself: fetch it with git lfs pull")
    return raw


def about_pickle(name: str) -> VocabularyError:
    """Return the error of a pickle."""
    return VocabularyError(
        f"{name}: refused by rule pickle: is a pickle, which runs code when opened: if you trust it, open it where it "
        "was made, and save its list of tokens or its map from token to id with json.dump",
        rule="pickle",
    )


def _array(name: str) -> list[str]:
    """Return the strings of a `.npy` file. As a map of the file it cannot have more than the file holds."""
    try:
        found = np.load(name, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header is read as Python's literals: many kinds of errors come of it
        why = " ".join(str(error).split()) or type(error).__name__
        if "Python objects" in why:
            raise about_pickle(name) from error
        if "mmap length" in why:
            said = f"{name}: refused by rule vocabulary-array: declares more than it holds ({why}): save it again"
            raise VocabularyError(said, rule="vocabulary-array") from error
        raise VocabularyError(f"{name}: not a whole .npy file: {why}: save it again") from error
    if found.dtype.kind != "U" or found.ndim != 1:
        raise VocabularyError(
            f"{name}: holds an array of {found.dtype} of shape {found.shape}: a vocabulary is one row of strings in "
            "the order of their ids"
        )
    _require_few("tokens", len(found), MOST_TOKENS, name)
    tokens: list[str] = found.tolist()
    return tokens


def _require_few(what: str, seen: int, allowed: int, name: str) -> None:
    if seen > allowed:
        raise VocabularyError(
            f"{name}: {seen:,} {what}, a vocabulary has at most {allowed:,}: give the one of the model"
        )


class _NotJsonError(VocabularyError):
    """A file that should be JSON is not."""


def of_json(text: str, name: str) -> _Content:
    """Return the tokens of a JSON file: a map, a list, a keras Tokenizer, or a tokenizer of Hugging Face."""
    _require_few("lists and objects", text.count("[") + text.count("{"), 1 << 21, name)
    _require_few("quotation marks", text.count('"'), 1 << 23, name)
    plain = _parsed(text, name)
    if isinstance(plain, str):  # json.dump(tokenizer.to_json()): JSON within JSON
        plain = _parsed(plain, name)
    if not isinstance(plain, dict | list):
        raise _NotJsonError(f"{name}: holds a JSON {type(plain).__name__}: a vocabulary is a map or a list")
    if isinstance(plain, dict) and plain.get("class_name") == "Tokenizer":
        config = plain.get("config")
        if not isinstance(config, dict) or not isinstance(config.get("word_index"), str):
            raise VocabularyError(f"{name}: is a keras Tokenizer without word_index: give token → id as a JSON map")
        return _parsed(config["word_index"], name), "char" if config.get("char_level") else "word", None
    if is_huggingface(plain):
        tokenizer = HuggingFace(plain, name)
        return tokenizer.tokens, "subword", tokenizer
    return plain, None, None


def _parsed(text: str, name: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise VocabularyError(f"{name}: {key!r} comes twice: tokens and ids must be one-to-one")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _NotJsonError(f"{name}: not whole JSON ({error}): a vocabulary is a JSON map or list") from error


def _lines(text: str, name: str) -> list[str]:
    r"""Split one token a line; a line feed stands there as itself (two empty lines) or as \n."""
    _require_few("lines", text.count("\n"), MOST_TOKENS, name)
    lines = re.split("\r?\n", text.removesuffix("\n").removesuffix("\r"))
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
