"""Tokenizers whose tokens are pieces of words, run by their own libraries, and where each token ends in bytes.

Neither library, `tokenizers` of Hugging Face or `sentencepiece`, is asked to read or fetch a file: they get bytes whose
sizes were checked before. They are trusted with the time and memory that they take, as their other users do: a regular
expression of a `tokenizer.json` may take time exponential in the length of a word.
"""

import hashlib
import importlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from rnneval.arrays import Ints
from rnneval.errors import RnnevalError, TextError, UsageError, VocabularyError, in_one_line
from rnneval.processes import without_current_folder
from rnneval.text.units import is_lead

Offsets = Callable[[], list[tuple[int, int]]]
"""Function for start and end of each token in the encoded text, in characters, as the library says."""
_MOST_TOKENS = 1 << 21  # the largest vocabularies in use have a quarter of a million
_SET_ASIDE = ("truncation", "padding", "post_processor", "version")
"""Nothing is cut off, filled up or put around a text."""
_SPACE = "▁"
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_OF = {chr(byte): byte for byte in _PRINTABLE}
_BYTE_OF |= {chr(256 + n): byte for n, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)}
"""Byte of each character of byte-level BPE: printable Latin-1 is itself, others follow U+0100."""
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")


class Subword(ABC):
    """A loaded tokenizer; it adds nothing to a text except a space at its start."""

    name: str  # the file it comes from
    sha256: str  # SHA-256 of all that decides over ids
    tokens: Mapping[str, int]  # every piece and its id
    unknown_id: int | None  # the id of text that no piece covers

    @abstractmethod
    def encode(self, text: str) -> tuple[NDArray[np.int32], Offsets]:
        """Return the ids of a text, `(n,)`, without special tokens around it; offsets where pieces do not spell it."""

    def dropped(self, text: str) -> list[str]:
        """Return the characters of a text that it would drop without a token for them."""
        return []

    @abstractmethod
    def spelling(self, piece: str) -> bytes:
        """Return the bytes of text that a piece stands for."""

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:
        """The bytes of every id."""
        spelt = {id_: self.spelling(piece) for piece, id_ in self.tokens.items()}
        return tuple(spelt.get(id_, b"") for id_ in range(max(spelt, default=-1) + 1))

    @cached_property
    def adds_space(self) -> bool:
        """Return whether a text is read as if a space stood before it, also one that begins with a space already."""
        with suppress(VocabularyError):  # of one that has no piece for x, nor for what is unknown
            return any(self.spellings[id_].startswith(b" ") for id_ in self.encode("x")[0][:1].tolist())
        return False


def locate(subword: Subword, text: str) -> tuple[NDArray[np.int32], Ints, list[bytes]]:
    """Encode a text that is not empty; return ids, ends in bytes, `(n,)` each, and the bytes that the tokens spell.

    Ends never decrease. Of two equal ones, both tokens share a character, which is counted at the latter.
    """
    (ids, offsets), utf8 = subword.encode(text), text.encode()
    spelt = list(map(subword.spellings.__getitem__, ids.tolist()))
    whole, ends = b"".join(spelt), np.cumsum(list(map(len, spelt)), dtype=np.int64)
    if whole == utf8:
        return ids, ends, spelt
    if whole == b" " + utf8:
        return ids, np.maximum(ends - 1, 0), spelt
    if lost := subword.dropped(text):  # its offsets are wrong after them, too
        some = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in lost[:5])
        raise TextError(
            f"the tokenizer ({subword.name}) has no piece for {some} and no unknown token, so it would leave out such "
            "characters in silence: give the tokenizer the model was trained with, or a text without them"
        )
    places = np.append(np.flatnonzero(is_lead(np.frombuffer(utf8, np.uint8))), len(utf8))
    with _plainly(subword.name, "its library cannot say where the tokens of the text lie"):
        starts, ends = places[np.array(offsets(), np.int64).reshape(-1, 2).T]
    # No token ends later than the next one begins, so that no text counts twice.
    ends[:-1] = np.minimum(ends[:-1], starts[1:])
    ends = np.maximum.accumulate(ends)
    # And none ends the text but the last: each belongs to the block of its first byte, and behind the end is none.
    ends[:-1][ends[:-1] == places[-1]] = places[-2]
    return ids, ends, spelt


def _library(module: str, name: str) -> Any:
    """Import an optional library, and never one that lies beside the tokenizer."""
    try:
        with without_current_folder():
            return importlib.import_module(module)
    except ImportError as error:
        needed = f"needs the package {module}: pip install 'rnneval[subword]'"
        raise UsageError(f"{name}: a tokenizer of word pieces {needed}") from error


@contextmanager
def _plainly(name: str, doing: str) -> Iterator[None]:
    """Turn any error of a library on hostile input into one line; a panic of Rust is a bare BaseException."""
    try:
        yield
    except (RnnevalError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        what = in_one_line(error) or type(error).__name__
        said = f"{doing} ({what}): is it damaged, or from a newer version of the library?"
        raise VocabularyError(f"{name}: {said}") from error


def is_huggingface(plain: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value is a tokenizer of Hugging Face."""
    return isinstance(plain, dict) and isinstance(plain.get("model"), dict)  # what a list of tokens has not


class HuggingFace(Subword):
    """A tokenizer of the library `tokenizers`."""

    def __init__(self, plain: Mapping[str, Any], name: str) -> None:
        vocab, added = plain["model"].get("vocab"), plain.get("added_tokens") or []
        if not isinstance(vocab, dict | list) or not vocab or not isinstance(added, list):
            raise VocabularyError(f"{name}: is a tokenizer of Hugging Face without a vocabulary: save it again")
        if len(vocab) + len(added) > _MOST_TOKENS:
            raise VocabularyError(f"{name}: has {len(vocab) + len(added):,} tokens, at most {_MOST_TOKENS:,} are read")
        self.name, self._model = name, {**plain["model"], **({"dropout": None} if "dropout" in plain["model"] else {})}
        kept = {key: value for key, value in plain.items() if key not in _SET_ASIDE} | {"model": self._model}
        self.sha256 = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
        tokenizers = _library("tokenizers", name)
        with _plainly(name, "the library tokenizers cannot load it"):
            whole = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None, **kept}
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(whole))
            self.tokens = dict(self._tokenizer.get_vocab(with_added_tokens=True))
            self._added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        reading = [part for key in ("normalizer", "pre_tokenizer") for part in _walk(plain.get(key))]
        self._of_bytes = any(part.get("type") == "ByteLevel" for part in reading)
        self._space = _space(reading)
        unknown = self._model.get("unk_id")
        known = self.tokens.get(self._model.get("unk_token") or "")
        self.unknown_id = unknown if isinstance(unknown, int) else known

    def encode(self, text: str) -> tuple[NDArray[np.int32], Offsets]:
        """Return the ids and offsets of a text, special tokens only where the text itself has them."""
        with _plainly(self.name, "the library tokenizers cannot encode the text"):
            found = self._tokenizer.encode(text, add_special_tokens=False)
            return np.array(found.ids, np.int32), lambda: found.offsets

    def dropped(self, text: str) -> list[str]:
        """Return unknown characters: BPE without an unknown token drops them in silence."""
        if self._model.get("type", "BPE") != "BPE" or self.unknown_id is not None or self._of_bytes:
            return []
        normalizer, known = self._tokenizer.normalizer, set("".join(self.tokens))
        with _plainly(self.name, "the library tokenizers cannot normalize the text"):
            seen = text if normalizer is None else str(normalizer.normalize_str(text))
        return [character for character in dict.fromkeys(seen) if character not in known and not character.isspace()]

    def spelling(self, piece: str) -> bytes:
        """Return the bytes of text that a piece stands for."""
        if piece in self._added:
            return piece.encode()
        if self._of_bytes:
            known = all(character in _BYTE_OF for character in piece)
            return bytes(map(_BYTE_OF.__getitem__, piece)) if known else piece.encode()
        if self._model.get("byte_fallback") and (found := _BYTE.fullmatch(piece)):
            return bytes.fromhex(found[1])
        plain = piece.removeprefix(self._model.get("continuing_subword_prefix") or "")
        plain = plain.removesuffix(self._model.get("end_of_word_suffix") or "")
        return plain.replace(self._space, " ").encode()


def _walk(part: object) -> Iterator[dict[str, Any]]:
    """Yield a component and all components within it."""
    if isinstance(part, dict):
        yield part
        part = [*part.values()]
    for child in part if isinstance(part, list) else ():
        yield from _walk(child)


def _space(parts: list[dict[str, Any]]) -> str:
    """Return the character that stands for a space, such as ▁, or a space."""
    for part in parts:
        if part.get("type") == "Metaspace" and isinstance(part.get("replacement"), str):
            return str(part["replacement"])
        if part.get("type") == "Replace" and part.get("pattern") == {"String": " "}:
            return str(part.get("content")) or " "
    return " "


def is_sentencepiece(raw: bytes) -> bool:
    r"""Return whether bytes begin as a model does: a message (field 1) whose field 1 is a string and field 2 a float.

    >>> is_sentencepiece(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02\n\x0c"), is_sentencepiece(b"\n\n \na\n")
    (True, False)
    """
    if len(raw) < 4 or raw[0] != 0x0A or raw[2] != 0x0A or not 2 <= raw[1] < 0x80 or raw[3] >= 0x80:
        return False
    return raw[4 + raw[3] : 5 + raw[3]] == b"\x15"


class SentencePiece(Subword):
    """A model of the library `sentencepiece`."""

    def __init__(self, raw: bytes, name: str) -> None:
        self.name = name
        self.sha256 = hashlib.sha256(raw).hexdigest()
        sentencepiece = _library("sentencepiece", name)
        with _plainly(name, "the library sentencepiece cannot load it"):
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=raw)
            size = int(self._processor.get_piece_size())
            if not 0 < size <= _MOST_TOKENS:
                raise VocabularyError(f"{name}: has {size:,} pieces, 1 to {_MOST_TOKENS:,} are read")
            pieces = [str(self._processor.id_to_piece(id_)) for id_ in range(size)]
            self._bytes = {piece for id_, piece in enumerate(pieces) if self._processor.is_byte(id_)}
            self.unknown_id = int(self._processor.unk_id())
        self.tokens = {piece: id_ for id_, piece in enumerate(pieces)}
        if len(self.tokens) != size:
            raise VocabularyError(f"{name}: a piece comes twice: pieces and ids must be one-to-one")

    def encode(self, text: str) -> tuple[NDArray[np.int32], Offsets]:
        """Return the ids and offsets of a text."""
        with _plainly(self.name, "the library sentencepiece cannot encode the text"):
            ids = np.asarray(self._processor.encode(text, return_type="numpy"), np.int32)
        return ids, lambda: self._processor.encode(text, return_type="offset_mapping")["offsets"]

    def spelling(self, piece: str) -> bytes:
        """Return the bytes of text that a piece stands for."""
        found = _BYTE.fullmatch(piece) if piece in self._bytes else None
        return bytes.fromhex(found[1]) if found else piece.replace(_SPACE, " ").encode()
