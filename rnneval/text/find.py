"""The vocabulary that was given, or that is beside a checkpoint."""

import os
import re
from pathlib import Path
from typing import Any

from rnneval.errors import UsageError, VocabularyError
from rnneval.options import Paths
from rnneval.text.pieces import TextOptions
from rnneval.text.vocabulary import Vocabulary

_NAMES = re.compile(
    r"vocab|sentencepiece|spiece|spm|token(izer|s\b|_to_|2)|(char|chr|word|ch)s?_?(2|to)_?(idx|ix|int|id|index|indices|n)\b"
    r"|(idx|ix|int|id|index|n)_?(2|to)_?(char|chr|word|ch|token)|(char|word)_(index|indices)|(index|indices)_(char|word)",
    re.IGNORECASE,
)
_READABLE = (".json", ".txt", ".npy", ".model")
_PICKLES = (".pkl", ".pickle", ".p")
_MOST = 50
"""Most candidates that are read; a folder with more is no folder of a model."""


def given_vocabulary(given: Any, texts: Paths | None = None) -> Vocabulary | None:
    """Return the vocabulary that options give; None if they give none.

    Args:
        given: A Vocabulary, a vocabulary file, the tokens in the order of their ids, or a map from token to id.
        texts: Training texts whose sorted distinct characters are the vocabulary.

    Raises:
        UsageError: both are given.
        VocabularyError: the file or the tokens are not a one-to-one map.

    Example:
        >>> given_vocabulary(["b", "a"]).tokens
        ('b', 'a')
    """
    if given is not None and texts is not None:
        raise UsageError("both a vocabulary and a text to take it from are given (--vocab, --vocab-from): give one")
    if texts is not None:
        return Vocabulary.from_text(texts, TextOptions())
    if given is None or isinstance(given, Vocabulary):
        return given
    return Vocabulary.from_file(given) if isinstance(given, str | os.PathLike) else Vocabulary.from_tokens(given)


def siblings(checkpoint: str | os.PathLike[str]) -> list[Path]:
    """Return the files that may hold the vocabulary of a checkpoint, by their names alone, sorted; no links out of it.

    Searched are the folder that holds the checkpoint and, if the checkpoint is a folder, that too:
    `*vocab*`, `char2idx`, `char_to_int`, `idx2char`, `word_index`, `tokenizer` and the like as .json, .txt or .npy,
    `spm`, `spiece`, `sentencepiece`, `tokenizer` as .model.
    """
    return [candidate for candidate in _named(Path(checkpoint), _READABLE) if not _leads_out(candidate)][:_MOST]


def find_vocabulary(checkpoint: str | os.PathLike[str], width: int) -> Vocabulary:
    """Find the one vocabulary beside a checkpoint that fits a model with so many outputs.

    Raises:
        VocabularyError: none fits (what was tried, and why not), or two that fit differ.
    """
    path = Path(checkpoint)
    found, refused = _look(siblings(path), width)
    fitting = _whole(found)
    distinct = {(vocabulary.sha256, vocabulary.first_id): vocabulary for vocabulary in reversed(fitting)}
    if len(distinct) == 1:
        return fitting[0]
    if distinct:
        names = " and ".join(sorted(vocabulary.source for vocabulary in distinct.values()))
        raise VocabularyError(
            f"{path}: two vocabularies beside it fit {width:,} outputs and differ: {names}: say which by --vocab FILE"
        )
    refused += _unread(path, width)
    tried = (
        f"tried: {'; '.join(refused)}" if refused else "no file named like a vocabulary (vocab.json, char2idx.json …)"
    )
    raise VocabularyError(
        f"{path}: no vocabulary for its {width:,} outputs beside it ({tried}): "
        "give --vocab FILE (JSON map or list, or one token a line) or --vocab-from TRAINING_TEXT"
    )


def _whole(fitting: list[Vocabulary]) -> list[Vocabulary]:
    """Drop lists of tokens that a tokenizer beside them has with the same ids, as vocab.json of tokenizer.json."""
    tokenizers = [vocabulary for vocabulary in fitting if vocabulary.subword is not None]
    lists = [vocabulary for vocabulary in fitting if vocabulary.subword is None]
    others = [found for found in lists if not any(found.ids.items() <= whole.ids.items() for whole in tokenizers)]
    return tokenizers + others


def _named(checkpoint: Path, endings: tuple[str, ...]) -> list[Path]:
    folders = [checkpoint, checkpoint.parent] if checkpoint.is_dir() else [checkpoint.parent]
    found = []
    for folder in folders:
        try:
            found += sorted(
                entry for entry in folder.iterdir() if entry.suffix.lower() in endings and entry != checkpoint
            )
        except OSError:  # what cannot be listed has no candidates: the error then says what to give
            continue
    return [entry for entry in found if _NAMES.search(entry.stem) and entry.is_file()]


def _leads_out(candidate: Path) -> bool:
    """Return whether a file is a link out of its folder: a checkpoint must not choose which files are read."""
    return not candidate.resolve().is_relative_to(candidate.parent.resolve())


def _look(candidates: list[Path], width: int) -> tuple[list[Vocabulary], list[str]]:
    """Return the vocabularies that fit, and for each of the others the reason why it does not."""
    fitting, refused = [], []
    for candidate in candidates:
        try:
            fitting.append(Vocabulary.from_file(candidate).fit(width))
        except VocabularyError as error:
            refused.append(str(error))
    return fitting, refused


def _unread(checkpoint: Path, width: int) -> list[str]:
    """Return a message for each link out of the folder, and for each pickle how to turn it into JSON."""
    named = _named(checkpoint, (*_READABLE, *_PICKLES))
    links = [
        f"{candidate} is a link out of its folder and is not followed: give it by --vocab, if you trust it"
        for candidate in named
        if _leads_out(candidate)
    ]
    pickles = [found for found in _named(checkpoint, _PICKLES) if not _leads_out(found)]
    return links + _look(pickles, width)[1]
