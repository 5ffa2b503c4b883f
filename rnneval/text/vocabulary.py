"""The map from tokens to ids: made from tokens, a file or a text, found beside a checkpoint, and fitted to a model.

A *subword* is a token of a tokenizer that splits words (Hugging Face, SentencePiece). Files are told by their content:
JSON, one token a line, `.npy`, or a tokenizer. Pickles are never opened: they run code.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnneval.errors import UsageError, VocabularyError, is_plainly_text, named_in_message, type_and_message
from rnneval.options import Paths
from rnneval.paths import read_regular, reason_of, unique_keys
from rnneval.text.documents import TextOptions, decoded, final_text
from rnneval.text.subword import HuggingFace, SentencePiece, Subword, is_huggingface, is_sentencepiece

UNKNOWN = ("<unk>", "<UNK>", "[UNK]")  # usual names of the token for what a vocabulary lacks
_SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Za-z_ ]+\]|")
"""Tokens that no text holds, such as `<pad>`, `[UNK]` and the empty mask token of StringLookup."""
_NAMES = re.compile(
    r"vocab|sentencepiece|spiece|spm|token(izer|s\b|_to_|2)|(char|chr|word|ch)s?_?(2|to)_?(idx|ix|int|id|index|indices|n)\b"
    r"|(idx|ix|int|id|index|n)_?(2|to)_?(char|chr|word|ch|token)|(char|word)_(index|indices)|(index|indices)_(char|word)",
    re.IGNORECASE,
)
_READABLE = (".json", ".txt", ".npy", ".model")
_MOST_CANDIDATES = 50  # most candidates that are read; a folder with more is no folder of a model
_PICKLES = (".pkl", ".pickle", ".p")
_LARGEST_FILE = 1 << 26  # bytes; no vocabulary is larger
_MOST_TOKENS = 1 << 20
_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t"}
_Content = tuple[object, str | None, Subword | None]
"""Of a file: tokens (a list in the order of ids, or a map), the kind if it says so, the tokenizer if it is one."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens in the order of their ids, which run from `first_id` without a gap."""

    kind: str  # how a text is split into tokens by default: as `char`, `byte`, `word` or `subword`
    tokens: tuple[str, ...] = field(repr=False)  # one-to-one; bytes are written as the 256 characters of Latin-1
    first_id: int = 0  # 0, or 1 where id 0 is padding or the unknown token (keras Tokenizer, StringLookup)
    source: str = "given"  # origin of the vocabulary, in words
    fixed_ids: bool = False  # the ids were given, not only the order, so that `fit` may not move them
    unknown_first: bool = False  # id 0 is taken for [UNK], which is not among the tokens
    subword: Subword | None = field(default=None, repr=False, compare=False)
    """The tokenizer that splits a text into subwords, which are the tokens."""
    texts: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    """Path and hash of each file of the training text that it was taken from, if it was taken from one."""

    @classmethod
    def from_tokens(cls, tokens: object, source: str = "given", kind: str | None = None) -> "Vocabulary":
        """Make a vocabulary of a list or a map.

        Args:
            tokens: A list in the order of ids, a map token → id, or a map id → token (`idx2char`).
            source: Its origin, in words.
            kind: `char`, `byte` or `word`; None: `char` if every token but special ones (`[UNK]`, `<pad>`) is one
                character, `byte` if the tokens are numbers from 0 to 255, else `word`.

        Raises:
            VocabularyError: the ids are not exactly 0…V−1 or 1…V, a token or an id occurs twice, a token is no string
                (nor, for bytes, a number from 0 to 255), or there is no token.

        >>> Vocabulary.from_tokens({"b": 2, "a": 1}).ids["a"]
        1
        """
        first_id, ordered = _ordered(tokens, source)
        kind = kind or _kind(ordered)
        names = tuple(_as_string(token, kind, source) for token in ordered)
        ids: dict[str, int] = {}
        for id_, name in enumerate(names, start=first_id or 0):
            if ids.setdefault(name, id_) != id_:
                said = f"the token {name!r} has the ids {ids[name]} and {id_}: tokens and ids must be one-to-one"
                raise VocabularyError(f"the vocabulary ({source}): {said}")
        return cls(kind=kind, tokens=names, first_id=first_id or 0, source=source, fixed_ids=first_id is not None)

    @classmethod
    def from_bytes(cls) -> "Vocabulary":
        """Return the 256 byte values, each with itself as id."""
        return cls(kind="byte", tokens=tuple(map(chr, range(256))), source="the 256 byte values", fixed_ids=True)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], kind: str | None = None) -> "Vocabulary":
        """Read a vocabulary file: JSON (map, list, keras Tokenizer), one token a line, or .npy of strings.

        Or a subword tokenizer: tokenizer.json of Hugging Face, or a .model file of SentencePiece.

        Raises:
            VocabularyError: no such file, none of these, a pickle, or not one-to-one (see `from_tokens`).
            UsageError: the library of a subword tokenizer is not installed.
        """
        tokens, kind_said, subword = _read(path)
        return replace(cls.from_tokens(tokens, os.fspath(path), kind or kind_said), subword=subword)

    @classmethod
    def from_tokenizer(cls, text: str, source: str = "the tokenizer") -> "Vocabulary":
        """Make a vocabulary of a tokenizer of Hugging Face, given as the JSON text of a `tokenizer.json`."""
        tokens, kind, subword = _of_json(text, source)
        if subword is None:
            raise VocabularyError(f"{source}: is no tokenizer of Hugging Face")
        return replace(cls.from_tokens(tokens, source, kind), subword=subword)

    @classmethod
    def from_text(cls, paths: Paths, options: TextOptions | None = None) -> "Vocabulary":
        """Return the sorted tokens of a training text: `sorted(set(text))`, as in the tutorials.

        Args:
            paths: One path or several, as for `rnneval.text.encode`.
            options: `TextOptions`: newlines, normalize and (if given) part apply; `tokens="word"` takes words.

        Raises:
            TextError: as `rnneval.text.encode`.
        """
        options = replace(options or TextOptions(), documents="one")
        kind, read = options.tokens or "char", final_text(paths, options)
        (text,) = read.documents
        units: Iterable[str] = text.split() if kind == "word" else map(chr, text.encode()) if kind == "byte" else text
        tokens = sorted(set(units))
        texts = tuple((file.path, file.sha256) for file in read.files)
        return cls(kind=kind, tokens=tuple(tokens), source=f"the text {read.name}", texts=texts)

    @property
    def size(self) -> int:
        """The number of tokens."""
        return len(self.tokens)

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """The id of each token."""
        return MappingProxyType({token: id_ for id_, token in enumerate(self.tokens, start=self.first_id)})

    @property
    def unknown(self) -> str | None:
        """The token for what the vocabulary lacks, by its name; None if there is none."""
        return "[UNK]" if self.unknown_first else next((token for token in UNKNOWN if token in self.ids), None)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, of `[UNK]` too if `fit` moved the ids; None if the vocabulary lacks it."""
        return 0 if self.unknown_first and token == self.unknown else self.ids.get(token)

    @property
    def has_capitals(self) -> bool:
        """True if a token that a text may hold has capital letters: the model was not trained on lower case."""
        return any(token != token.lower() and not _SPECIAL.fullmatch(token) for token in self.tokens)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the tokens in the order of their ids, as a JSON list in ASCII; of subwords, the tokenizer's."""
        if self.subword is not None:
            return self.subword.sha256
        return hashlib.sha256(json.dumps(self.tokens).encode()).hexdigest()

    def fit(self, width: int, *, spare: bool = False) -> "Vocabulary":
        """Return the vocabulary for a model with `width` outputs.

        It is this vocabulary if its ids fill the outputs exactly, or with `spare` leave some at the end, whose number
        is often rounded up. If one output is left over and the ids may move, it is this vocabulary with ids from 1
        (said so in `source`), as in the TensorFlow tutorial, whose `ids_from_chars` has [UNK] at 0. The ids may move
        where only an order was given, and the first token is no special one.

        Raises:
            VocabularyError: the sizes do not agree; the message says the likely cause.

        >>> Vocabulary.from_tokens(["a", "b"]).fit(3).ids["a"]
        1
        """
        ends = self.first_id + self.size
        if ends == width:
            return self
        if spare and ends < width:
            assumed = f"{width - ends:,} of the model's {width:,} outputs have no token"
            return replace(self, source=f"{self.source}; {assumed}")
        if ends + 1 == width and not self.fixed_ids and self.size > 0 and not _SPECIAL.fullmatch(self.tokens[0]):
            assumed = f"{self.source}; ids from 1, as the model has one output more: id 0 is taken for [UNK] or padding"
            return replace(self, first_id=1, source=assumed, fixed_ids=True, unknown_first=True)
        cause = "too large: made from more or other text (case, newlines), or cut in training (num_words, max_tokens)"
        if ends < width:
            cause = "too small: made from less text than in training, or without special tokens ([UNK], padding)"
        elif self.size == width:
            cause = "its ids begin at 1 and the last has no output: count from 0, or give a list of the tokens"
        raise VocabularyError(
            f"the vocabulary ({self.source}) has {self.size:,} tokens with ids {self.first_id} to {ends - 1:,}, "
            f"the model has {width:,} outputs (ids 0 to {width - 1:,})",
            cause=cause,
            advice="give the one it was trained with, --vocab FILE or --vocab-from TRAINING_TEXT",
        )


def given_vocabulary(vocabulary: Any, texts: Paths | None = None) -> Vocabulary | None:
    """Return the vocabulary that options give; None if they give none.

    `vocabulary` is a Vocabulary, a vocabulary file, the tokens in the order of their ids, a map from token to id, or a
    lookup layer of Keras; `texts` are training texts whose sorted distinct characters are the vocabulary.
    """
    if vocabulary is not None and texts is not None:
        raise UsageError("both a vocabulary and a text to take it from are given (--vocab, --vocab-from): give one")
    if texts is not None:
        return Vocabulary.from_text(texts, TextOptions())
    if vocabulary is None or isinstance(vocabulary, Vocabulary):
        return vocabulary
    if isinstance(vocabulary, str) and is_plainly_text(vocabulary):
        raise VocabularyError(f"{named_in_message(vocabulary)} is a text and no vocabulary: give sorted(set(text))")
    if hasattr(vocabulary, "get_vocabulary"):
        return vocabulary_of_lookup(vocabulary)
    if isinstance(vocabulary, str | os.PathLike):
        return Vocabulary.from_file(vocabulary)
    return Vocabulary.from_tokens(vocabulary)


def vocabulary_of_tokenizer(tokenizer: Any) -> Vocabulary | None:
    """Return the vocabulary of a fast tokenizer of transformers, or of what `given_vocabulary` takes."""
    fast = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return Vocabulary.from_tokenizer(fast.to_str()) if hasattr(fast, "to_str") else given_vocabulary(tokenizer)


def vocabulary_of_lookup(lookup: Any) -> Vocabulary:
    """Return the vocabulary of a StringLookup or TextVectorization layer, whose ids are fixed by the layer."""
    tokens = [str(token) for token in lookup.get_vocabulary()]
    source = f"{type(lookup).__name__} layer {lookup.name}"
    return replace(Vocabulary.from_tokens(tokens, source=source), fixed_ids=True)


def siblings(checkpoint: str | os.PathLike[str]) -> list[Path]:
    """Return the files in or beside a checkpoint whose names are those of vocabularies, sorted; no links out of it."""
    named = _named(Path(checkpoint))
    return [path for path in named if path.suffix.lower() in _READABLE and not _leads_out(path)][:_MOST_CANDIDATES]


def only_vocabulary_beside(checkpoint: str | os.PathLike[str]) -> Vocabulary | None:
    """Return the vocabulary that all readable ones beside a file are equal to; None if there are none, or several."""
    found = []
    for candidate in siblings(checkpoint):
        with suppress(VocabularyError):
            found.append(Vocabulary.from_file(candidate))
    return found[-1] if len({vocabulary.sha256 for vocabulary in found}) == 1 else None


def find_vocabulary(checkpoint: str | os.PathLike[str], width: int) -> Vocabulary:
    """Find the one vocabulary beside a checkpoint that fits a model with so many outputs."""
    path, fitting, refused = Path(checkpoint), [], []
    for candidate in siblings(path):
        try:
            fitting.append(Vocabulary.from_file(candidate).fit(width))
        except VocabularyError as error:
            refused.append(str(error))
    # A list of tokens that a tokenizer beside it has with the same ids is dropped, as vocab.json of tokenizer.json.
    known = [found.ids.items() for found in fitting if found.subword]
    kept = [found for found in fitting if found.subword or not any(found.ids.items() <= ids for ids in known)]
    distinct = {(found.sha256, found.first_id): found for found in reversed(kept)}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if distinct:
        names = " and ".join(sorted({found.source for found in kept}))
        said = f"two vocabularies beside it fit {width:,} outputs and differ: {names}"
        raise VocabularyError(f"{path}: {said}: say which by --vocab FILE")
    link = "is a link out of its folder and is not followed: give it by --vocab, if you trust it"
    for other in _named(path):
        if _leads_out(other):
            refused.append(f"{other} {link}")
        elif other.suffix.lower() in _PICKLES:
            refused.append(str(_about_pickle(str(other))))
    tried = "; ".join(refused) or "no file named like a vocabulary (vocab.json, char2idx.json …)"
    said = f"no vocabulary for its {width:,} outputs beside it (tried: {tried})"
    advice = "give --vocab FILE (JSON map or list, or one token a line) or --vocab-from TRAINING_TEXT"
    raise VocabularyError(f"{path}: {said}: {advice}")


def _named(checkpoint: Path) -> Iterator[Path]:
    """Yield the files beside a checkpoint that are named like a vocabulary."""
    for folder in [checkpoint, checkpoint.parent] if checkpoint.is_dir() else [checkpoint.parent]:
        with suppress(OSError):  # what cannot be listed has no candidates: the error then says what to give
            for entry in sorted(folder.iterdir()):
                named = entry.suffix.lower() in (*_READABLE, *_PICKLES) and _NAMES.search(entry.stem)
                if named and entry != checkpoint and entry.is_file():
                    yield entry


def _leads_out(path: Path) -> bool:
    """Return whether a file is a link out of its folder: a checkpoint must not choose which files are read."""
    return not path.resolve().is_relative_to(path.parent.resolve())


def _ordered(listing: object, source: str) -> tuple[int | None, list[Any]]:
    """Return the tokens of a list or a map in the order of their ids, and the first id, None if no ids were given."""
    if isinstance(listing, str | bytes | bytearray | AbstractSet) or not isinstance(listing, Iterable):
        raise VocabularyError(
            f"the vocabulary ({source}) is of type {type(listing).__name__}: give a list of tokens in the order of "
            "their ids, such as sorted(set(text)), or a map from token to id; for bytes, Vocabulary.from_bytes()"
        )
    if not (tokens := list(listing)):
        raise VocabularyError(f"the vocabulary ({source}) is empty: at least one token is needed")
    if not isinstance(listing, Mapping):
        return None, tokens
    pairs = sorted(_pairs(listing, source), key=lambda pair: pair[0])
    first, wrong = pairs[0][0], ""
    if first not in {0, 1}:
        wrong = f"ids begin at {first}"
    elif odd := next(((at, id_) for at, (id_, _) in enumerate(pairs, first) if id_ != at), None):
        wrong = f"id {odd[0]} is missing" if odd[1] > odd[0] else f"id {odd[1]} is given to two tokens"
    if wrong:
        said = f"{wrong}, of {len(pairs):,} ids up to {pairs[-1][0]:,}"
        allowed = "ids must run from 0 or 1 without a gap, one for each token"
        raise VocabularyError(f"the vocabulary ({source}): {said}: {allowed}")
    return first, [token for _, token in pairs]


def _pairs(token_map: Mapping[Any, Any], source: str) -> list[tuple[int, Any]]:
    """Return (id, token) of a map in either direction: the side with the whole numbers has the ids."""
    if all(map(_is_id, token_map.values())):
        return [(int(id_), token) for token, id_ in token_map.items()]
    if all(_is_id(key) or re.fullmatch("[0-9]{1,9}", str(key)) for key in token_map):  # all keys of JSON are strings
        return [(int(id_), token) for id_, token in token_map.items()]
    token, odd = next((key, value) for key, value in token_map.items() if not _is_id(value))
    said = f"maps {token!r} to {odd!r}: give token → id or id → token, with ids that are whole numbers"
    raise VocabularyError(f"the vocabulary ({source}) {said}")


def _is_id(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _kind(tokens: Sequence[Any]) -> str:
    """Guess `byte`, `char` or `word` from the tokens."""
    if all(_is_id(token) and 0 <= token < 256 for token in tokens):
        return "byte"
    lengths = {len(token) for token in tokens if isinstance(token, str) and not _SPECIAL.fullmatch(token)}
    return "char" if lengths == {1} else "word"


def _as_string(token: Any, kind: str, source: str) -> str:
    """Return a token as a string; a byte as its character of Latin-1."""
    if isinstance(token, str):
        return str(token)
    if kind == "byte" and _is_id(token) and 0 <= int(token) < 256:
        return chr(token)
    said = "tokens are strings, or the numbers from 0 to 255 for bytes (Vocabulary.from_bytes())"
    raise VocabularyError(f"the vocabulary ({source}) has the token {token!r} of type {type(token).__name__}: {said}")


def _read(path: str | os.PathLike[str]) -> _Content:
    name = os.fspath(path)
    try:
        raw = read_regular(name, _LARGEST_FILE)
    except (OSError, ValueError) as error:
        said = f"cannot be read: {reason_of(error)}: give a vocabulary file or --vocab-from TEXT"
        raise VocabularyError(f"{named_in_message(name)}: {said}") from error
    if raw.startswith(b"version https://git-lfs"):
        raise VocabularyError(f"{name}: is a Git LFS pointer, not the vocabulary itself: fetch it with git lfs pull")
    if raw.startswith(b"\x93NUMPY"):
        return _array(name), None, None
    if is_sentencepiece(raw):
        model = SentencePiece(raw, name)
        return model.tokens, "subword", model
    # A pickle of protocol 2 and later has a mark, an older one only its ending.
    if (raw[:1] == b"\x80" and len(raw) > 2 and raw[1] <= 5 and raw.endswith(b".")) or Path(name).suffix in _PICKLES:
        raise _about_pickle(name)
    text = decoded(raw, name, VocabularyError).removeprefix("\ufeff")
    if Path(name).suffix == ".json":
        return _of_json(text, name)
    if text.lstrip().startswith(("{", "[", '"')):  # JSON, or tokens such as [UNK]
        with suppress(_NotJsonError):
            return _of_json(text, name)
    return _lines(text, name), None, None


def _about_pickle(name: str) -> VocabularyError:
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
        why = type_and_message(error)
        if "Python objects" in why:
            raise _about_pickle(name) from error
        said = "refused by rule vocabulary-array: damaged, or declares more than it holds"
        raise VocabularyError(f"{name}: {said} ({why}): save it again", rule="vocabulary-array") from error
    if found.dtype.kind != "U" or found.ndim != 1:
        said = f"holds an array of {found.dtype} of shape {found.shape}: a vocabulary is one row of strings"
        raise VocabularyError(f"{name}: {said}")
    _require_few("tokens", len(found), _MOST_TOKENS, name)
    return list(map(str, found))


def _require_few(what: str, count: int, allowed: int, name: str) -> None:
    if count > allowed:
        said = f"{count:,} {what}, a vocabulary has at most {allowed:,}: give the one of the model"
        raise VocabularyError(f"{name}: {said}")


class _NotJsonError(VocabularyError):
    """A file that should be JSON is not."""


def _of_json(text: str, name: str) -> _Content:
    """Return the tokens of a JSON file: a map, a list, a keras Tokenizer, or a tokenizer of Hugging Face."""
    _require_few("lists and objects", text.count("[") + text.count("{"), 1 << 21, name)
    _require_few("quotation marks", text.count('"'), 1 << 23, name)
    plain = _parsed(text, name)
    if isinstance(plain, str):  # json.dump(tokenizer.to_json()): JSON within JSON
        plain = _parsed(plain, name)
    if not isinstance(plain, dict | list):
        raise _NotJsonError(f"{name}: holds a JSON {type(plain).__name__}: a vocabulary is a map or a list")
    if is_huggingface(plain):
        tokenizer = HuggingFace(plain, name)
        return tokenizer.tokens, "subword", tokenizer
    if isinstance(plain, dict) and plain.get("class_name") == "Tokenizer":
        config = plain.get("config")
        if not isinstance(config, dict) or not isinstance(config.get("word_index"), str):
            raise VocabularyError(f"{name}: is a keras Tokenizer without word_index: give token → id as a JSON map")
        return _parsed(config["word_index"], name), "char" if config.get("char_level") else "word", None
    return plain, None, None


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise _NotJsonError(f"{name}: not whole JSON ({error}): a vocabulary is a JSON map or list") from error


def _lines(text: str, name: str) -> list[str]:
    r"""Split one token a line; a line feed stands there as itself (two empty lines) or as \n."""
    _require_few("lines", text.count("\n"), _MOST_TOKENS, name)
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
