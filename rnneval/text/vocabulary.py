"""The map from tokens to ids: made from tokens, a file or a text, found beside a checkpoint, and fitted to a model.

A *subword* is a token of a tokenizer that splits words (Hugging Face, SentencePiece).
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rnneval.errors import UsageError, VocabularyError, is_plainly_text, named_in_message
from rnneval.options import Paths
from rnneval.records import run
from rnneval.text import vocabulary_files
from rnneval.text.documents import TextOptions, final_text
from rnneval.text.subword import Subword

UNKNOWN = ("<unk>", "<UNK>", "[UNK]")
"""Usual names of the token for what a vocabulary lacks."""
_SPECIAL = re.compile(r"<[^<>\s]+>|\[[A-Za-z_ ]+\]|")
"""Tokens that no text holds, such as `<pad>`, `[UNK]` and the empty mask token of StringLookup."""
_NAMES = re.compile(
    r"vocab|sentencepiece|spiece|spm|token(izer|s\b|_to_|2)|(char|chr|word|ch)s?_?(2|to)_?(idx|ix|int|id|index|indices|n)\b"
    r"|(idx|ix|int|id|index|n)_?(2|to)_?(char|chr|word|ch|token)|(char|word)_(index|indices)|(index|indices)_(char|word)",
    re.IGNORECASE,
)
_READABLE = (".json", ".txt", ".npy", ".model")
_MOST_CANDIDATES = 50
"""Most candidates that are read; a folder with more is no folder of a model."""


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens in the order of their ids, which run from `first_id` without a gap."""

    kind: str
    """How a text is split into tokens by default: as `char`, `byte`, `word` or `subword`.

    `TextOptions.tokens` overrides it.
    """
    tokens: tuple[str, ...] = field(repr=False)
    """One-to-one; bytes are written as the 256 characters of Latin-1."""
    first_id: int = 0
    """0, or 1 where id 0 is padding or the unknown token (keras Tokenizer, StringLookup)."""
    source: str = "given"
    """Origin of the vocabulary, in words."""
    fixed_ids: bool = False
    """The ids were given, not only the order, so that `fit` may not move them."""
    unknown_first: bool = False
    """Id 0 is taken for [UNK], which is not among the tokens."""
    subword: Subword | None = field(default=None, repr=False, compare=False)
    """The tokenizer that splits a text into subwords, which are the tokens."""
    texts: tuple[run.TextFile, ...] = field(default=(), repr=False, compare=False)
    """The files of the training text that it was taken from, if it was taken from one."""

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
                raise VocabularyError(
                    f"the vocabulary ({source}): the token {name!r} has the ids {ids[name]} and {id_}: "
                    "tokens and ids must be one-to-one"
                )
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
        tokens, kind_said, subword = vocabulary_files.read(path)
        found = cls.from_tokens(tokens, source=os.fspath(path), kind=kind or kind_said)
        return found if subword is None else replace(found, subword=subword)

    @classmethod
    def from_tokenizer(cls, text: str, source: str = "the tokenizer") -> "Vocabulary":
        """Make a vocabulary of a tokenizer of Hugging Face, given as the JSON text of a `tokenizer.json`.

        Raises:
            VocabularyError: the text is none of a tokenizer, or `tokenizers` cannot read it.
        """
        tokenizer = vocabulary_files.huggingface(text, source)
        known = cls.from_tokens(tokenizer.tokens, source, "subword")
        return replace(known, subword=tokenizer)

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
        if kind == "word":
            tokens = sorted(set(text.split()))
        else:
            tokens = list(map(chr, sorted(set(text.encode())))) if kind == "byte" else sorted(set(text))
        return cls(kind=kind, tokens=tuple(tokens), source=f"the text {read.name}", texts=read.files)

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
        """Return the id of a token; None if the vocabulary lacks it.

        >>> Vocabulary.from_tokens(["a", "b"]).fit(3).id_of("[UNK]")
        0
        """
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

    def record(self) -> run.VocabularyRecord:
        """Return what records say of it."""
        return run.VocabularyRecord(size=self.size, sha256=self.sha256, source=self.source)

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
        if ends == width or (spare and ends < width):
            return self
        if ends + 1 == width and not self.fixed_ids and self.size > 0 and not _SPECIAL.fullmatch(self.tokens[0]):
            assumed = f"{self.source}; ids from 1, as the model has one output more: id 0 is taken for [UNK] or padding"
            return replace(self, first_id=1, source=assumed, fixed_ids=True, unknown_first=True)
        advice = "give the one it was trained with, --vocab FILE or --vocab-from TRAINING_TEXT"
        if ends < width:
            cause = "too small: made from less text than in training, or without special tokens ([UNK], padding)"
        elif self.first_id == 1 and self.size == width:
            cause, advice = (
                "its ids begin at 1 and the last has no output",
                "count from 0, or give a list of the tokens",
            )
        else:
            cause = (
                "too large: made from more or other text (case, newlines), or cut in training (num_words, max_tokens)"
            )
        raise VocabularyError(
            f"the vocabulary ({self.source}) has {self.size:,} tokens with ids {self.first_id} to {ends - 1:,}, "
            f"the model has {width:,} outputs (ids 0 to {width - 1:,})",
            cause=cause,
            advice=advice,
        )


def given_vocabulary(given: Any, texts: Paths | None = None) -> Vocabulary | None:
    """Return the vocabulary that options give; None if they give none.

    `given` is a Vocabulary, a vocabulary file, the tokens in the order of their ids, a map from token to id, or a
    lookup layer of Keras; `texts` are training texts whose sorted distinct characters are the vocabulary.

    >>> given_vocabulary(["b", "a"]).tokens
    ('b', 'a')
    """
    if given is not None and texts is not None:
        raise UsageError("both a vocabulary and a text to take it from are given (--vocab, --vocab-from): give one")
    if texts is not None:
        return Vocabulary.from_text(texts, TextOptions())
    if given is None or isinstance(given, Vocabulary):
        return given
    if isinstance(given, str) and is_plainly_text(given):
        raise VocabularyError(f"{named_in_message(given)} is a text and no vocabulary: give sorted(set(text))")
    if hasattr(given, "get_vocabulary"):
        return vocabulary_of_lookup(given)
    return Vocabulary.from_file(given) if isinstance(given, str | os.PathLike) else Vocabulary.from_tokens(given)


def vocabulary_of_lookup(lookup: Any) -> Vocabulary:
    """Return the vocabulary of a StringLookup or TextVectorization layer, whose ids are fixed by the layer."""
    tokens = [str(token) for token in lookup.get_vocabulary()]
    source = f"{type(lookup).__name__} layer {lookup.name}"
    return replace(Vocabulary.from_tokens(tokens, source=source), fixed_ids=True)


def siblings(checkpoint: str | os.PathLike[str]) -> list[Path]:
    """Return the files that may hold the vocabulary of a checkpoint, by their names alone, sorted; no links out of it.

    Searched are the folder that holds the checkpoint and, if the checkpoint is a folder, that too:
    `*vocab*`, `char2idx`, `char_to_int`, `idx2char`, `word_index`, `tokenizer` and the like as .json, .txt or .npy,
    `spm`, `spiece`, `sentencepiece`, `tokenizer` as .model.
    """
    named = _named(Path(checkpoint))
    return [path for path, outside in named if path.suffix.lower() in _READABLE and not outside][:_MOST_CANDIDATES]


def only_vocabulary_beside(checkpoint: str | os.PathLike[str]) -> Vocabulary | None:
    """Return the vocabulary that all readable ones beside a file are equal to; None if there is none, or they differ.

    It is for code that must know the size of the vocabulary before there is a model.
    """
    found: dict[str, Vocabulary] = {}
    for candidate in siblings(checkpoint):
        with suppress(VocabularyError):
            vocabulary = Vocabulary.from_file(candidate)
            found[vocabulary.sha256] = vocabulary
    return next(iter(found.values())) if len(found) == 1 else None


def find_vocabulary(checkpoint: str | os.PathLike[str], width: int) -> Vocabulary:
    """Find the one vocabulary beside a checkpoint that fits a model with so many outputs.

    Raises:
        VocabularyError: none fits (what was tried, and why not), or two that fit differ.
    """
    path, fitting, refused = Path(checkpoint), [], []
    for candidate in siblings(path):
        try:
            fitting.append(Vocabulary.from_file(candidate).fit(width))
        except VocabularyError as error:
            refused.append(str(error))
    # A list of tokens that a tokenizer beside it has with the same ids is dropped, as vocab.json of tokenizer.json.
    tokenizers = [found for found in fitting if found.subword is not None]
    lists = [found for found in fitting if found.subword is None]
    lists = [one for one in lists if not any(one.ids.items() <= all_.ids.items() for all_ in tokenizers)]
    fitting = [*tokenizers, *lists]
    distinct = {(vocabulary.sha256, vocabulary.first_id) for vocabulary in fitting}
    if len(distinct) == 1:
        return fitting[0]
    if distinct:
        names = " and ".join(sorted({vocabulary.source for vocabulary in fitting}))
        raise VocabularyError(
            f"{path}: two vocabularies beside it fit {width:,} outputs and differ: {names}: say which by --vocab FILE"
        )
    for other, outside in _named(path):
        if outside:
            refused.append(
                f"{other} is a link out of its folder and is not followed: give it by --vocab, if you trust it"
            )
        elif other.suffix.lower() in vocabulary_files.PICKLES:
            refused.append(str(vocabulary_files.about_pickle(str(other))))
    tried = "; ".join(refused) or "no file named like a vocabulary (vocab.json, char2idx.json …)"
    raise VocabularyError(
        f"{path}: no vocabulary for its {width:,} outputs beside it (tried: {tried}): "
        "give --vocab FILE (JSON map or list, or one token a line) or --vocab-from TRAINING_TEXT"
    )


def _named(checkpoint: Path) -> list[tuple[Path, bool]]:
    """Return the files beside a checkpoint that are named like a vocabulary, and whether they are links out of there.

    A checkpoint must not choose which files are read.
    """
    found: list[tuple[Path, bool]] = []
    for folder in [checkpoint, checkpoint.parent] if checkpoint.is_dir() else [checkpoint.parent]:
        with suppress(OSError):  # what cannot be listed has no candidates: the error then says what to give
            for entry in sorted(folder.iterdir()):
                named = entry.suffix.lower() in (*_READABLE, *vocabulary_files.PICKLES) and _NAMES.search(entry.stem)
                if named and entry != checkpoint and entry.is_file():
                    found.append((entry, not entry.resolve().is_relative_to(folder.resolve())))
    return found


def _ordered(given: object, source: str) -> tuple[int | None, list[Any]]:
    """Return the tokens of a list or a map in the order of their ids, and the first id, None if no ids were given."""
    if isinstance(given, bytes | bytearray):
        raise VocabularyError(f"the vocabulary ({source}) is bytes: for a model of bytes give Vocabulary.from_bytes()")
    if isinstance(given, str | AbstractSet) or not isinstance(given, Iterable):
        raise VocabularyError(
            f"the vocabulary ({source}) is of type {type(given).__name__}: give a list of tokens in the order "
            "of their ids, such as sorted(set(text)), or a map from token to id"
        )
    tokens = list(given)
    if not tokens:
        raise VocabularyError(f"the vocabulary ({source}) is empty: at least one token is needed")
    if not isinstance(given, Mapping):
        return None, tokens
    pairs = sorted(_pairs(given, source), key=lambda pair: pair[0])
    first, last, wrong = pairs[0][0], pairs[-1][0], ""
    if first not in {0, 1}:
        wrong = f"ids begin at {first}"
    elif odd := next(((at, id_) for at, (id_, _) in enumerate(pairs, first) if id_ != at), None):
        wrong = f"id {odd[0]} is missing" if odd[1] > odd[0] else f"id {odd[1]} is given to two tokens"
    if wrong:
        raise VocabularyError(
            f"the vocabulary ({source}): {wrong}, of {len(pairs):,} ids up to {last:,}: "
            "ids must run from 0 or 1 without a gap, one for each token"
        )
    return first, [token for _, token in pairs]


def _pairs(given: Mapping[Any, Any], source: str) -> list[tuple[int, Any]]:
    """Return (id, token) of a map in either direction: the side with the whole numbers has the ids."""
    if all(map(_is_id, given.values())):
        return [(int(id_), token) for token, id_ in given.items()]
    digits = re.compile("[0-9]{1,9}")  # all keys of JSON are strings
    if all(_is_id(key) or (isinstance(key, str) and digits.fullmatch(key)) for key in given):
        return [(int(id_), token) for id_, token in given.items()]
    odd = next((key, value) for key, value in given.items() if not _is_id(value))
    raise VocabularyError(
        f"the vocabulary ({source}) maps {odd[0]!r} to {odd[1]!r}: give token → id or id → token, "
        "with ids that are whole numbers"
    )


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
    if kind == "byte" and _is_id(token) and 0 <= int(token) < 256:
        return chr(token)
    if isinstance(token, str):
        return str(token)
    if isinstance(token, bytes):
        raise VocabularyError(
            f"the vocabulary ({source}) has the token {token!r} of type bytes: tokens are strings; for the 256 byte "
            "values in their order give Vocabulary.from_bytes()"
        )
    raise VocabularyError(
        f"the vocabulary ({source}) has the token {token!r} of type {type(token).__name__}: tokens are strings"
        + (" or numbers from 0 to 255" if kind == "byte" else "")
    )
