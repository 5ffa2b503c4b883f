"""`tokenizer.json` of Hugging Face, run by the library `tokenizers`, which reads a cleaned copy from memory."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from rnneval.errors import VocabularyError
from rnneval.text.subword.base import Offsets, Subword, digits, library, plainly
from rnneval.text.subword.patterns import MOST_WAYS, OddPatternError, ways

_LARGEST = 1 << 21
"""Tokens; the largest vocabularies in use have a quarter of a million."""
_DEEPEST = 20
_MOST_STEPS, _MOST_GROWTH = 100, 16
"""Steps that prepare a text, and how many characters they may make of one, the work of Unicode (NFKC) not counted."""
_MOST_OF_UNICODE = 18
"""Characters that NFKC makes of U+FDFA, the most of all; a table of SentencePiece does the same."""
_SET_ASIDE = ("truncation", "padding", "post_processor", "version")
"""Nothing is cut off, filled up or put around a text."""
_READING = ("normalizer", "pre_tokenizer")


def is_huggingface(plain: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value is a tokenizer of Hugging Face."""
    return isinstance(plain, dict) and isinstance(plain.get("model"), dict)  # what a list of tokens has not


class HuggingFace(Subword):
    """A tokenizer of the library `tokenizers`."""

    def __init__(self, plain: Mapping[str, Any], name: str) -> None:
        _refuse_odd(plain, name)
        model = {**plain["model"], "dropout": None} if "dropout" in plain["model"] else plain["model"]
        kept = {key: value for key, value in plain.items() if key not in _SET_ASIDE} | {"model": model}
        self.name = name
        self.sha256 = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
        tokenizers = library("tokenizers", name)
        with plainly(name, "the library tokenizers cannot load it"):
            whole = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None, **kept}
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(whole))
            self.tokens = dict(self._tokenizer.get_vocab(with_added_tokens=True))
            self._added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        self._model = model
        reading = [part for key in _READING for part in _walk(plain.get(key))]
        self._of_bytes = any(part.get("type") == "ByteLevel" for part in reading)
        self._space = _space(reading)
        self.adds_space = any(map(_adds_space, reading))
        self.unknown_id = self._unknown()
        self.drops = self._drops()

    def encode(self, text: str) -> tuple[NDArray[np.int32], Callable[[], Offsets]]:
        """Return the ids and offsets of a text, special tokens only where the text itself has them."""
        with plainly(self.name, "the library tokenizers cannot encode the text"):
            found = self._tokenizer.encode(text, add_special_tokens=False)
            ids = np.array(found.ids, np.int32)

        def offsets() -> Offsets:
            pairs = np.array(found.offsets, np.int64).reshape(-1, 2)
            return pairs[:, 0], pairs[:, 1]

        return ids, offsets

    def normalized(self, text: str) -> str:
        """Return the text as the pieces see it."""
        normalizer = self._tokenizer.normalizer
        with plainly(self.name, "the library tokenizers cannot normalize the text"):
            return text if normalizer is None else str(normalizer.normalize_str(text))

    def spelling(self, piece: str) -> bytes:
        """Return the bytes of text that a piece stands for."""
        if piece in self._added:
            return piece.encode()
        if self._of_bytes:
            alphabet = _byte_of()
            spelt = [alphabet.get(character, -1) for character in piece]
            return piece.encode() if -1 in spelt else bytes(spelt)
        byte = digits(piece) if self._model.get("byte_fallback") else None
        if byte is not None:
            return byte
        plain = piece.removeprefix(self._model.get("continuing_subword_prefix") or "")
        plain = plain.removesuffix(self._model.get("end_of_word_suffix") or "")
        return (plain.replace(self._space, " ") if self._space else plain).encode()

    def _unknown(self) -> int | None:
        if isinstance(self._model.get("unk_id"), int):
            return int(self._model["unk_id"])
        return self.tokens.get(self._model.get("unk_token") or "")

    def _drops(self) -> frozenset[str] | None:
        """Return the known characters if others are dropped: BPE without an unknown token drops them in silence."""
        if self._model.get("type", "BPE") != "BPE" or self.unknown_id is not None or self._of_bytes:
            return None
        return frozenset("".join(self.tokens))


def _refuse_odd(plain: Mapping[str, Any], name: str) -> None:
    """Refuse sizes and depths that the library would not check."""
    vocab, added = plain["model"].get("vocab"), plain.get("added_tokens") or []
    if not isinstance(vocab, dict | list) or not vocab or not isinstance(added, list):
        raise VocabularyError(f"{name}: is a tokenizer of Hugging Face without a vocabulary: save it again")
    if len(vocab) + len(added) > _LARGEST:
        raise VocabularyError(f"{name}: has {len(vocab) + len(added):,} tokens, at most {_LARGEST:,} are read")
    for key in (*_READING, "decoder"):
        if _depth(plain.get(key)) > _DEEPEST:
            raise VocabularyError(f"{name}: its {key} is more than {_DEEPEST} levels deep: no library writes that")
    steps = [part for key in _READING for part in _walk(plain.get(key))]
    _refuse_growth(steps, name)
    _refuse_patterns(steps, name)


def _refuse_growth(steps: list[dict[str, Any]], name: str) -> None:
    """Refuse steps that multiply the text: ten times in each of six steps are a million times."""
    growth, uncounted = 1.0, _MOST_OF_UNICODE
    for step in steps:
        if step.get("type") == "Replace":
            growth *= max(1.0, len(str(step.get("content"))) / _shortest_match(step.get("pattern")))
        elif step.get("type") == "ByteLevel":
            growth *= 2  # a character beyond ASCII becomes several, which are beyond ASCII themselves
        elif step.get("type") == "Precompiled":
            growth *= max(1.0, _longest_entry(step.get("precompiled_charsmap")) / uncounted)
            uncounted = 1
        elif step.get("type") == "Prepend" and len(str(step.get("prepend"))) > _MOST_GROWTH:
            raise VocabularyError(f"{name}: puts more than {_MOST_GROWTH} characters before a text: not trusted")
    if len(steps) > _MOST_STEPS or not growth <= _MOST_GROWTH:
        raise VocabularyError(
            f"{name}: prepares a text in {len(steps):,} steps that make up to {growth:.3g} characters of one; up to "
            f"{_MOST_STEPS} steps and {_MOST_GROWTH} characters are allowed: give another tokenizer"
        )


def _refuse_patterns(steps: list[dict[str, Any]], name: str) -> None:
    """Refuse regular expressions whose time is not known to be linear in the text."""
    patterns = [step["pattern"].get("Regex") for step in steps if isinstance(step.get("pattern"), dict)]
    tried = 0
    for pattern in filter(None, patterns):
        try:
            tried += ways(str(pattern))
        except OddPatternError as error:
            raise VocabularyError(
                f"{name}: the pattern {str(pattern)[:80]!r} is not run: {error}: write it as a known tokenizer does, "
                "or give another tokenizer"
            ) from error
    if tried > MOST_WAYS:
        raise VocabularyError(
            f"{name}: its patterns can match in {tried:,} ways at one place; up to {MOST_WAYS} are allowed: give "
            "another tokenizer"
        )


def _longest_entry(charsmap: object) -> int:
    """Return how many characters a table of SentencePiece makes of one at most: texts with zero bytes in between."""
    try:
        held = base64.b64decode(charsmap if isinstance(charsmap, str) else "")
    except ValueError:
        return 0  # the library says that it cannot be read
    texts = held[4 + int.from_bytes(held[:4], "little") :].decode(errors="replace")
    return max(map(len, texts.split("\0")))


def _shortest_match(pattern: object) -> int:
    """Return the fewest characters that a pattern replaces, at least 1; a regular expression may replace one."""
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    return max(1, len(literal)) if isinstance(literal, str) else 1


def _depth(value: object) -> int:
    """Return how deep lists and objects are nested; json itself refuses what is too deep to be walked."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, children), default=0)


def _walk(part: object) -> Iterator[dict[str, Any]]:
    """Yield a component and all components within it."""
    if isinstance(part, dict):
        yield part
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for child in children:
        yield from _walk(child)


def _space(parts: list[dict[str, Any]]) -> str | None:
    """Return the character that stands for a space, such as ▁."""
    for part in parts:
        if part.get("type") == "Metaspace" and isinstance(part.get("replacement"), str):
            return str(part["replacement"])
        if part.get("type") == "Replace" and part.get("pattern") == {"String": " "}:
            return str(part.get("content")) or None
    return None


def _adds_space(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    if kind == "Metaspace" and "prepend_scheme" in part:
        return bool(part["prepend_scheme"] != "never")
    return kind == "Prepend" or (kind in {"Metaspace", "ByteLevel"} and part.get("add_prefix_space") is True)


@cache
def _byte_of() -> dict[str, int]:
    """Return the byte of each character of byte-level BPE: printable Latin-1 is itself, others follow U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
